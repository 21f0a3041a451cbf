//! Who may see accounts in Spot: what user groups lack of the accounts that we have linked.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    access::{GroupPolicy, PolicyAccounts},
    desired::Desired,
    inventory::{InstanceDetailedStatus, InstanceStatus},
    plan::Severity,
    stackset_sync::{SyncAction, SyncObserved, plan},
};

use crate::world::*;

/// Accounts 2 and 3 are enrolled by us, account 4's link is somebody else's; the group has what is given.
fn world(group: Result<PolicyAccounts, &str>) -> (SyncObserved, Desired) {
    let mut profile = profile(root_targets());
    profile.access = BTreeSet::from([grant()]);
    let mut observed = observed(organization(
        &[],
        &[(2, 0, ACTIVE), (3, 0, ACTIVE), (4, 0, ACTIVE)],
    ));
    let current = |number| {
        instance(
            number,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    };
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![current(2), current(3), current(4)],
    );
    observed.spot_accounts = vec![
        linked(2, "act-22222222"),
        linked(3, "act-33333333"),
        linked(4, "act-44444444"),
    ];
    for (number, spot) in [(2, "act-22222222"), (3, "act-33333333")] {
        observed
            .owned_links
            .insert(id(number), spot.parse().unwrap());
    }
    let group = group.map_err(str::to_owned).map(|accounts| {
        vec![GroupPolicy {
            policy: VIEWER.to_owned(),
            accounts,
        }]
    });
    observed.user_groups = BTreeMap::from([(GROUP.parse().unwrap(), group)]);
    let desired = desired(profile);
    (observed, desired)
}

fn these(accounts: &[&str]) -> PolicyAccounts {
    PolicyAccounts::These(accounts.iter().map(|one| (*one).to_owned()).collect())
}

#[test]
fn a_group_is_granted_the_accounts_that_we_linked_and_that_it_lacks() {
    let (observed, desired) = world(Ok(these(&["act-22222222"])));
    let plan = plan(&observed, &desired).unwrap();
    let [
        SyncAction::GrantAccess {
            user_group,
            policies,
        },
    ] = &actions(&plan)[..]
    else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(user_group.as_str(), GROUP);
    let accounts: Vec<_> = policies
        .values()
        .flatten()
        .map(|one| one.as_str())
        .collect();
    assert_eq!(accounts, ["act-33333333"]);
    assert_eq!(plan.steps[0].accounts, [id(3)]);
}

#[test]
fn a_group_that_has_everything_needs_no_step() {
    for has in [
        these(&["act-22222222", "act-33333333", "act-99999999"]),
        PolicyAccounts::All,
        PolicyAccounts::Organization,
    ] {
        let (observed, desired) = world(Ok(has));
        let plan = plan(&observed, &desired).unwrap();
        assert_eq!((plan.steps, plan.findings), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_group_that_cannot_be_read_is_a_finding() {
    for (group, words) in [
        (Err("status 400: no such group"), "no such group"),
        (Ok(PolicyAccounts::Unknown), "would forget them"),
    ] {
        let (observed, desired) = world(group);
        let plan = plan(&observed, &desired).unwrap();
        assert_eq!(plan.steps, []);
        let [finding] = &plan.findings[..] else {
            panic!("{:?}", plan.findings);
        };
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}
