//! The units beside all targets whose accounts have the remediation role, so that stacks which were left there can be deleted.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    desired::{Deployment, OuRef, Profile, Purpose, Remediation, Targets},
    inventory::AccountState::Active,
    stackset_sync::{ObservedProfile, clocks::unsettled, plan},
};

use super::world::*;

/// Accounts 2, 3 and 4 are in units 1, 2 and 3, and unit 1 is targeted. With the remediation role in these units as well.
fn world(
    deployment: Deployment,
    units: &[&str],
) -> (
    onboarding_core::stackset_sync::SyncObserved,
    onboarding_core::desired::Desired,
) {
    let accounts = [
        (1, 0, Active),
        (2, 1, Active),
        (3, 2, Active),
        (4, 3, Active),
    ];
    let mut observed = observed(organization(&[0, 0, 0], &accounts));
    observed.remediation = Some(ObservedProfile {
        is_ours: true,
        ..ObservedProfile::default()
    });
    let targets = Targets {
        ous: vec![OuRef::Id(ou(1))],
        ..Targets::default()
    };
    let mut desired = desired(profile(targets));
    desired.remediation = Some(Remediation {
        profile: Profile {
            name: "remediation-role".to_owned(),
            purpose: Purpose::RemediationRole,
            stack_set: "spot-onboarding-remediation-role".parse().unwrap(),
            deployment: Some(deployment),
            ..profile(Targets::default())
        },
        max_roles: 5,
        leftover_units: units.iter().map(|unit| unit.parse().unwrap()).collect(),
    });
    (observed, desired)
}

/// The accounts that the role is made in, and those that are enrolled.
fn deployed(deployment: Deployment, units: &[&str]) -> (Vec<u64>, Vec<u64>) {
    let (observed, desired) = world(deployment, units);
    let plan = plan(&observed, &desired).unwrap();
    let of = |step: &str| -> Vec<u64> {
        let steps = plan.steps.iter().filter(|one| one.id.starts_with(step));
        let accounts = steps.flat_map(|step| &step.accounts);
        accounts
            .map(|account| account.to_string().parse().unwrap())
            .collect()
    };
    (
        of("create-stack-instances:remediation-role"),
        of("create-stack-instances:default"),
    )
}

#[test]
fn the_role_is_where_accounts_go_that_no_profile_targets_and_nothing_else_is() {
    for deployment in [Deployment::Runner, Deployment::Auto] {
        assert_eq!(deployed(deployment, &[]), (vec![2], vec![2]));
        assert_eq!(deployed(deployment, &["Unit2"]), (vec![2, 3], vec![2]));
        assert_eq!(deployed(deployment, &["root"]), (vec![2, 3, 4], vec![2]));
    }
}

#[test]
fn a_protected_account_beside_all_targets_does_not_get_the_role() {
    let (observed, mut desired) = world(Deployment::Runner, &["root"]);
    desired.protected_accounts.insert(id(3));
    let plan = plan(&observed, &desired).unwrap();
    let steps = plan.steps.iter();
    let mut accounts = steps.flat_map(|step| &step.accounts);
    assert!(accounts.all(|account| *account != id(3)));
}

#[test]
fn a_unit_that_is_not_there_keeps_the_role_as_it_is_and_everything_else_goes_on() {
    for deployment in [Deployment::Runner, Deployment::Auto] {
        assert_eq!(deployed(deployment, &["Unit2", "Gone"]), (vec![], vec![2]));
        let (observed, desired) = world(deployment, &["Unit2", "Gone"]);
        let plan = plan(&observed, &desired).unwrap();
        let of_role = |step: &&onboarding_core::plan::Step| step.id.contains("remediation-role");
        assert_eq!(plan.steps.iter().filter(of_role).count(), 0);
        let mut found = plan.findings.iter();
        let found = found
            .find(|one| one.reason == "remediation-role-units")
            .unwrap();
        assert!(found.message.contains("Gone"), "{}", found.message);
        let unsettled = unsettled(&observed, &desired).unwrap();
        assert!(!unsettled.contains_key("remediation-role"), "{unsettled:?}");
    }
}
