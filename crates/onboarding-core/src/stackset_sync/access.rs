//! Who may see the accounts in Spot: one step for each user group that lacks accounts which a profile grants it.
//!
//! The provider grants an account right after it has linked it. What it could not do, or what somebody undid, is found
//! here. Only accounts whose link is ours by our own state are granted: a link that was kept is somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use super::{SyncObserved, actions::SyncAction, steps};
use crate::{
    access::{self, Accounts},
    desired::{AccessGrant, Desired},
    ids::{AwsAccountId, UserGroupId},
    plan::{Finding, Plan, Risk, Severity},
    status::Reason,
};

/// What a user group shall have, and which AWS accounts that is for.
#[derive(Default)]
struct Wanted {
    policies: Accounts,
    accounts: BTreeSet<AwsAccountId>,
}

/// Adds the steps of all groups, and a finding for each group that cannot be given anything.
pub(super) fn plan(observed: &SyncObserved, desired: &Desired, plan: &mut Plan) {
    for (group, wanted) in wanted(observed, desired, plan) {
        let found = |message: String| {
            Finding {
            id: format!("user-group:{group}"),
            severity: Severity::Error,
            account: None,
            account_name: None,
            ou_path: None,
            reason: "user-group".to_owned(),
            message,
            fix: Some(
                "needs a person: see in Spot that the group is there and its token may read it, or name another one in the \
                 profile's access"
                    .to_owned(),
            ),
            ..Finding::default()
        }
        };
        let current = match observed.user_groups.get(&group) {
            Some(Ok(current)) => current,
            Some(Err(why)) => {
                plan.findings.push(found(format!(
                    "user group {group} cannot be read, so its members are not given any account: {why}; is its id right?"
                )));
                continue;
            }
            None => continue,
        };
        let missing = access::missing(current, &wanted.policies);
        if missing.is_empty() {
            continue;
        }
        if let Err(error) = access::with(&group, current, &missing) {
            plan.findings.push(found(error.to_string()));
            continue;
        }
        let lacking: BTreeSet<_> = missing.values().flatten().collect();
        let accounts: Vec<AwsAccountId> = wanted
            .accounts
            .into_iter()
            .filter(|account| {
                let ours = observed.owned_links.get(account);
                ours.is_some_and(|ours| lacking.contains(ours))
            })
            .collect();
        steps::push(
            plan,
            format!("grant-access:{group}"),
            &SyncAction::GrantAccess {
                user_group: group.clone(),
                policies: missing.clone(),
            },
            accounts,
            format!("user group {group} may not see {} accounts", lacking.len()),
            Risk::Low,
            steps::order::AT_SPOT,
        );
    }
}

/// What each group shall have, from the accounts that are enrolled and whose link is ours.
fn wanted(
    observed: &SyncObserved,
    desired: &Desired,
    plan: &Plan,
) -> BTreeMap<UserGroupId, Wanted> {
    let grants: BTreeMap<&str, &BTreeSet<AccessGrant>> = desired
        .profiles
        .iter()
        .map(|profile| (profile.name.as_str(), &profile.access))
        .collect();
    let mut wanted: BTreeMap<UserGroupId, Wanted> = BTreeMap::new();
    for row in &plan.accounts {
        let (Some(spot_account), Some(grants)) = (&row.spot_account, grants.get(&*row.profile))
        else {
            continue;
        };
        if row.reason != Reason::Enrolled
            || observed.owned_links.get(&row.account) != Some(spot_account)
        {
            continue;
        }
        for grant in *grants {
            let wanted = wanted.entry(grant.user_group.clone()).or_default();
            wanted.accounts.insert(row.account);
            let accounts = wanted.policies.entry(grant.policy.clone()).or_default();
            accounts.insert(spot_account.clone());
        }
    }
    wanted
}
