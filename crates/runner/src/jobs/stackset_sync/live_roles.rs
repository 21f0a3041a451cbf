//! The ledger's fourth source: what is really in the accounts that this run changed. Never of all accounts: a run that
//! changes nothing asks no account anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    desired::{Profile, Purpose},
    ids::{AwsAccountId, RoleArn, SpotAccountId},
    inventory::{AccountState, LinkEvidence, OrganizationSnapshot, RoleReading, SpotAccountRecord},
    stackset_sync::spot_links::{Link, SpotLinks},
};
use onboarding_provider::Intents as _;

use super::StackSetSync;

/// Accounts that are read at the same time.
const AT_ONCE: usize = 16;

/// How long one observation reads: two of the calls are Spot's, whose limit is about 60 a minute, and observing must end
/// within the job's timeout. What was not read by then is not judged.
const LONGEST: Duration = Duration::from_secs(900);

impl StackSetSync {
    /// Notes that an operation has changed these accounts.
    pub(super) fn note_changes(&self, profile: &Profile, accounts: &[AwsAccountId]) {
        if self.home.access.is_some() && profile.purpose == Purpose::Enrollment {
            let accounts = accounts.iter().map(|account| (*account, None));
            self.changed.lock().extend(accounts);
        }
    }

    /// What Spot uses the changed accounts with, and what there is of it in them; each is read once after its change. Only
    /// accounts that are active let anybody in, and a link that was kept is not ours to judge.
    pub(super) async fn live_roles(
        &self,
        organization: &OrganizationSnapshot,
        spot_accounts: &[SpotAccountRecord],
        kept: &BTreeSet<AwsAccountId>,
    ) -> BTreeMap<AwsAccountId, Arc<LinkEvidence>> {
        let links = SpotLinks::new(spot_accounts);
        let is_ours_to_read = |id: &AwsAccountId| {
            let account = organization.account(*id);
            account.is_some_and(|account| account.state == AccountState::Active)
                && !kept.contains(id)
        };
        let unread: Vec<(AwsAccountId, SpotAccountId)> = self
            .changed
            .lock()
            .iter()
            .filter(|(account, read)| read.is_none() && is_ours_to_read(account))
            .filter_map(|(account, _)| match links.of(*account) {
                Link::One(spot) => Some((*account, spot.clone())),
                Link::None | Link::Several(_) => None,
            })
            .collect();
        let all = unread.len();
        let reading = stream::iter(unread)
            .map(|(account, spot)| async move { (account, self.evidence(account, &spot).await) })
            .buffer_unordered(AT_ONCE)
            .for_each(async |(account, evidence)| {
                if let Some(evidence) = evidence {
                    self.changed
                        .lock()
                        .insert(account, Some(Arc::new(evidence)));
                }
            });
        if tokio::time::timeout(LONGEST, reading).await.is_err() {
            tracing::warn!(
                accounts = all,
                "not all live roles of the changed accounts could be read in time"
            );
        }
        let changed = self.changed.lock();
        let read = changed
            .iter()
            .filter_map(|(account, read)| Some((*account, read.clone()?)));
        read.collect()
    }

    /// None when nobody can tell which role Spot uses.
    async fn evidence(&self, account: AwsAccountId, spot: &SpotAccountId) -> Option<LinkEvidence> {
        let access = self.home.access.as_ref()?;
        let stored_role = self.stored_role(account, spot).await?;
        let external_id = match self.home.spot.external_id(spot).await {
            Ok(Some(id)) => Some(id),
            _ => {
                let remembered = self
                    .home
                    .state
                    .database()
                    .external_id(spot)
                    .await
                    .ok()
                    .flatten();
                remembered.map(|remembered| remembered.external_id)
            }
        };
        let role = if stored_role.account() == Some(account) {
            match access.role(account, stored_role.role_name()).await {
                Ok(Some(role)) => RoleReading::Present(Box::new(role)),
                Ok(None) => RoleReading::Absent,
                Err(error) => {
                    tracing::warn!(cloud.account.id = %account, reason = %error, "the role of a changed account could not be read");
                    RoleReading::Denied(error.to_string())
                }
            }
        } else {
            RoleReading::Absent
        };
        Some(LinkEvidence {
            stored_role,
            external_id,
            role,
        })
    }

    /// The role that Spot says it uses, else the one that we linked last.
    async fn stored_role(&self, account: AwsAccountId, spot: &SpotAccountId) -> Option<RoleArn> {
        match self.home.spot.stored_role(spot).await {
            Ok(Some(role)) => return Some(role),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(cloud.account.id = %account, reason = %error, "the role that Spot uses could not be read");
            }
        }
        let owner = self
            .home
            .state
            .database()
            .owner(spot)
            .await
            .ok()
            .flatten()?;
        Some(owner.role)
    }
}
