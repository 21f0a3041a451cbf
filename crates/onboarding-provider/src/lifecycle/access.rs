//! Who may see a Spot account: user groups are given access policies in it right after its link.
//!
//! A link never fails because of it: an account that nobody sees yet is enrolled all the same, and `stackset-sync` finds
//! what a group lacks. A group is changed as a whole, so everything that waits for it is granted with one change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    access::Accounts,
    desired::AccessGrant,
    ids::{AccessPolicyId, SpotAccountId, UserGroupId},
};
use parking_lot::Mutex;
use spot_api::SpotClient;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::{Instant, timeout},
};

use crate::provider::Provider;

/// Why a group was not changed, for everyone whose account waited for it.
type Refusal = Arc<str>;

/// An account that a group shall see.
struct Waiting {
    policies: BTreeSet<AccessPolicyId>,
    account: SpotAccountId,
    granted: oneshot::Sender<Result<(), Refusal>>,
}

/// The accounts that wait for their groups.
#[derive(Default)]
pub(crate) struct AccessQueue {
    waiting: Mutex<BTreeMap<UserGroupId, Vec<Waiting>>>,
    /// Held by who changes a group, with all that waits for it.
    turn: tokio::sync::Mutex<()>,
}

impl AccessQueue {
    async fn grant(
        &self,
        spot: &SpotClient,
        group: &UserGroupId,
        policies: &BTreeSet<AccessPolicyId>,
        account: &SpotAccountId,
    ) -> Result<(), Refusal> {
        loop {
            let (granted, mut outcome) = oneshot::channel();
            let waiting = Waiting {
                policies: policies.clone(),
                account: account.clone(),
                granted,
            };
            self.waiting
                .lock()
                .entry(group.clone())
                .or_default()
                .push(waiting);
            let _turn = self.turn.lock().await;
            // Somebody else took it along.
            if let Ok(outcome) = outcome.try_recv() {
                return outcome;
            }
            let all = self.waiting.lock().remove(group).unwrap_or_default();
            let mut wanted = Accounts::new();
            for one in &all {
                for policy in &one.policies {
                    let accounts = wanted.entry(policy.clone()).or_default();
                    accounts.insert(one.account.clone());
                }
            }
            if !wanted.is_empty() {
                let result = spot.grant_access(group, &wanted).await;
                let result = result.map(drop).map_err(|error| error.to_string().into());
                for one in all {
                    // Who does not wait any more has no use for it.
                    drop(one.granted.send(result.clone()));
                }
            }
            match outcome.try_recv() {
                Ok(outcome) => return outcome,
                // Who had taken it along was interrupted.
                Err(TryRecvError::Closed | TryRecvError::Empty) => {}
            }
        }
    }
}

impl Provider {
    /// Lets user groups see an account. Tells what could not be granted, for the answer.
    pub(super) async fn grant_access(
        &self,
        account: &SpotAccountId,
        grants: &BTreeSet<AccessGrant>,
    ) -> Option<String> {
        let mut groups: BTreeMap<&UserGroupId, BTreeSet<AccessPolicyId>> = BTreeMap::new();
        for grant in grants {
            let policies = groups.entry(&grant.user_group).or_default();
            policies.insert(grant.policy.clone());
        }
        let granting = async {
            let mut refused = Vec::new();
            for (group, policies) in &groups {
                let granted = self.access.grant(&self.spot, group, policies, account);
                if let Err(why) = granted.await {
                    refused.push(why.to_string());
                }
            }
            refused
        };
        // The link is answered in time, whatever becomes of this.
        let left = spot_api::urgency::deadline().saturating_duration_since(Instant::now());
        let limit = self.settings.access_patience.min(left / 2);
        let refused = match timeout(limit, granting).await {
            Ok(refused) if refused.is_empty() => return None,
            Ok(refused) => refused.join("; "),
            Err(_) => "Spot did not answer in time".to_owned(),
        };
        tracing::warn!(
            spot.account_id = %account,
            reason = refused,
            "the account is linked, and not all user groups may see it"
        );
        Some(format!(
            "linked, and not all user groups may see it, which stackset-sync will grant: {refused}"
        ))
    }
}
