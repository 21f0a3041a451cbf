//! The units beside all targets whose accounts have the remediation role, so that stacks which were left there can be deleted.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    desired::{Deployment, OuRef, Profile, Purpose, Remediation, Targets},
    inventory::AccountState::Active,
    stackset_sync::{ObservedProfile, PlanError, plan},
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
    let (observed, desired) = world(Deployment::Auto, &["Gone"]);
    let refused = plan(&observed, &desired).unwrap_err();
    assert!(
        matches!(&refused, PlanError::UnknownOu { target, .. } if target == "Gone"),
        "{refused}"
    );
}
