//! Who may see a Spot account: the members of a user group have access policies, each of them in some accounts.
//!
//! Spot changes a group's policies only as a whole (`PUT /setup/access/userGroup/{userGroupId}/policyMapping`). So what is
//! there is read first and sent back with what is added, and nothing is sent when a part of it could not be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{AccessPolicyId, SpotAccountId, UserGroupId};

/// An access policy of a user group, as Spot has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The policy's id, as Spot writes it.
    pub policy: String,
    /// Where the members have it.
    pub accounts: PolicyAccounts,
}

/// Where the members of a user group have one of its access policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyAccounts {
    /// In the organization: policies of that type know no accounts.
    Organization,
    /// In all accounts, those that are made later included.
    All,
    /// In these, as Spot writes them.
    These(BTreeSet<String>),
    /// Spot did not say.
    Unknown,
}

/// Access policies, and the accounts in which the members of a user group shall have them.
pub type Accounts = BTreeMap<AccessPolicyId, BTreeSet<SpotAccountId>>;

/// A user group that cannot be given anything, because Spot did not say what it has, and would take that away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Spot does not say in which accounts user group {group} has access policy {policy}, and would forget them; add the \
     accounts to the group in Spot's console"
)]
pub struct UnknownAccounts {
    /// The group.
    pub group: UserGroupId,
    /// The policy whose accounts are not known.
    pub policy: String,
}

/// Of what is wanted, what a group does not have yet.
#[must_use]
pub fn missing(current: &[GroupPolicy], wanted: &Accounts) -> Accounts {
    let has = |policy: &AccessPolicyId, account: &SpotAccountId| {
        current
            .iter()
            .filter(|one| one.policy == policy.as_str())
            .any(|one| match &one.accounts {
                PolicyAccounts::Organization | PolicyAccounts::All => true,
                PolicyAccounts::These(accounts) => accounts.contains(account.as_str()),
                PolicyAccounts::Unknown => false,
            })
    };
    let lacking = wanted.iter().map(|(policy, accounts)| {
        let lacking = accounts.iter().filter(|account| !has(policy, account));
        (policy.clone(), lacking.cloned().collect::<BTreeSet<_>>())
    });
    lacking
        .filter(|(_, accounts)| !accounts.is_empty())
        .collect()
}

/// All that a group has, with what is added.
///
/// # Errors
/// [`UnknownAccounts`]: sending it would take away what could not be read.
pub fn with(
    group: &UserGroupId,
    current: &[GroupPolicy],
    added: &Accounts,
) -> Result<Vec<GroupPolicy>, UnknownAccounts> {
    let unknown = current
        .iter()
        .find(|one| one.accounts == PolicyAccounts::Unknown);
    if let Some(one) = unknown {
        return Err(UnknownAccounts {
            group: group.clone(),
            policy: one.policy.clone(),
        });
    }
    let mut all = current.to_vec();
    for (policy, accounts) in added {
        let accounts = accounts.iter().map(|account| account.as_str().to_owned());
        let has_it = all
            .iter_mut()
            .find(|one| one.policy == policy.as_str())
            .map(|one| &mut one.accounts);
        match has_it {
            Some(PolicyAccounts::These(known)) => known.extend(accounts),
            Some(_) => {}
            None => all.push(GroupPolicy {
                policy: policy.as_str().to_owned(),
                accounts: PolicyAccounts::These(accounts.collect()),
            }),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(id: &str, accounts: PolicyAccounts) -> GroupPolicy {
        GroupPolicy {
            policy: id.to_owned(),
            accounts,
        }
    }

    fn these(accounts: &[&str]) -> PolicyAccounts {
        PolicyAccounts::These(accounts.iter().map(|one| (*one).to_owned()).collect())
    }

    fn wanted(pairs: &[(&str, &[&str])]) -> Accounts {
        pairs
            .iter()
            .map(|(policy, accounts)| {
                let accounts = accounts.iter().map(|one| one.parse().unwrap());
                (policy.parse().unwrap(), accounts.collect())
            })
            .collect()
    }

    #[test]
    fn only_what_is_missing_is_added_and_nothing_is_taken_away() {
        let group = "ugr-1".parse().unwrap();
        let current = [
            policy("pol-viewer", these(&["act-1", "act-theirs"])),
            policy("pol-admin", PolicyAccounts::Organization),
            policy("pol-all", PolicyAccounts::All),
        ];
        let wanted = wanted(&[
            ("pol-viewer", &["act-1", "act-2"]),
            ("pol-admin", &["act-2"]),
            ("pol-all", &["act-2"]),
            ("pol-new", &["act-2"]),
        ]);
        let missing = super::missing(&current, &wanted);
        let ids: Vec<_> = missing.keys().map(AccessPolicyId::as_str).collect();
        assert_eq!(ids, ["pol-new", "pol-viewer"]);
        assert_eq!(missing.values().map(BTreeSet::len).sum::<usize>(), 2);
        let all = with(&group, &current, &missing).unwrap();
        assert_eq!(
            all,
            [
                policy("pol-viewer", these(&["act-1", "act-2", "act-theirs"])),
                policy("pol-admin", PolicyAccounts::Organization),
                policy("pol-all", PolicyAccounts::All),
                policy("pol-new", these(&["act-2"])),
            ]
        );
        assert!(super::missing(&all, &wanted).is_empty());
    }

    #[test]
    fn what_could_not_be_read_is_never_overwritten() {
        let group: UserGroupId = "ugr-1".parse().unwrap();
        let current = [
            policy("pol-viewer", these(&[])),
            policy("pol-other", PolicyAccounts::Unknown),
        ];
        let wanted = wanted(&[("pol-viewer", &["act-1"])]);
        let refused = with(&group, &current, &missing(&current, &wanted)).unwrap_err();
        assert_eq!(refused.policy, "pol-other");
    }
}
