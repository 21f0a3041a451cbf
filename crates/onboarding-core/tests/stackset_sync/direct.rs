//! Accounts that the runner enrolls by itself, and the management account.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    desired::{AdoptRule, Deployment, Profile},
    inventory::{InstanceDetailedStatus, InstanceStatus, StackInstance},
    stackset_sync::{
        DeployedInstance, InstanceOperation, PlainStack, PlanError, RetryState, SyncAction,
        SyncObserved, plan,
    },
    status::{Reason, Standing},
};

use crate::world::*;

fn direct() -> Profile {
    Profile {
        direct: Some(enrollment()),
        deployment: Some(Deployment::Runner),
        ..profile(root_targets())
    }
}

fn current(account: u64) -> StackInstance {
    instance(
        account,
        InstanceStatus::Current,
        InstanceDetailedStatus::Succeeded,
    )
}

/// Account 2 beside the management account, with a stack set as it should be.
fn world(profile: &Profile, instances: Vec<StackInstance>) -> SyncObserved {
    let mut observed = observed(organization(&[], &[(1, 0, ACTIVE), (2, 0, ACTIVE)]));
    with_stack_set(&mut observed, profile, false, instances);
    observed
}

fn reason_of(observed: &SyncObserved, profile: &Profile, account: u64) -> (Reason, Standing) {
    let plan = plan(observed, &desired(profile.clone())).unwrap();
    let row = plan.accounts.iter().find(|row| row.account == id(account));
    row.map(|row| (row.reason, row.standing)).unwrap()
}

#[test]
fn each_account_is_a_step_of_its_own_after_the_stack_set() {
    let profile = direct();
    let observed = observed(organization(
        &[0],
        &[(1, 0, ACTIVE), (2, 0, ACTIVE), (3, 1, ACTIVE)],
    ));
    let plan = plan(&observed, &desired(profile)).unwrap();
    let steps: Vec<_> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        steps,
        [
            "create-stack-set:default",
            "enroll-account:default:000000000002",
            "enroll-account:default:000000000003"
        ]
    );
    for step in &plan.steps[1..] {
        assert_eq!(step.preconditions, ["step:create-stack-set:default"]);
    }
    assert!(matches!(
        &actions(&plan)[0],
        SyncAction::CreateStackSet {
            auto_deployment: false,
            ..
        }
    ));
    assert!(matches!(
        &actions(&plan)[1],
        SyncAction::EnrollAccount { unit, instance: None, .. } if *unit == ou(0)
    ));
}

#[test]
fn a_current_stack_is_not_the_end_of_it() {
    let profile = direct();
    let mut observed = world(&profile, vec![current(2)]);
    let reason = |observed: &SyncObserved| reason_of(observed, &profile, 2).0;
    // Whatever else is missing: without an external ID there is no role.
    assert_eq!(reason(&observed), Reason::ExternalIdMissing);
    observed.profiles[0]
        .external_ids
        .insert(id(2), external_id());
    assert_eq!(reason(&observed), Reason::EnrollmentUnfinished);
    enroll(&mut observed, &enrollment(), 2);
    assert_eq!(reason(&observed), Reason::Enrolled);
    assert!(
        plan(&observed, &desired(profile.clone()))
            .unwrap()
            .steps
            .is_empty()
    );
    // A product that was added since, or a crash before the last request.
    let more = Profile {
        direct: Some(onboarding_core::desired::DirectEnrollment {
            cost_intelligence: false,
            ..enrollment()
        }),
        ..profile.clone()
    };
    assert_eq!(
        reason_of(&observed, &more, 2).0,
        Reason::EnrollmentUnfinished
    );
    // Somebody took the override away.
    observed.profiles[0].external_ids.clear();
    assert_eq!(reason(&observed), Reason::ExternalIdMissing);
    // Somebody unlinked it at Spot: a person is to say why.
    observed.profiles[0]
        .external_ids
        .insert(id(2), external_id());
    observed.spot_accounts.clear();
    assert_eq!(reason(&observed), Reason::NotLinked);
}

#[test]
fn without_our_state_a_linked_account_counts_as_enrolled() {
    let profile = direct();
    let mut observed = world(&profile, vec![current(2)]);
    observed.profiles[0]
        .external_ids
        .insert(id(2), external_id());
    observed.spot_accounts = vec![linked(2, "act-2")];
    assert_eq!(reason_of(&observed, &profile, 2).0, Reason::Enrolled);
}

#[test]
fn what_failed_at_spot_waits_for_its_clock_and_says_why() {
    let profile = direct();
    for (failures, of_this_run, next_due, expected) in [
        (
            1,
            true,
            NOW + 900,
            (Reason::EnrollmentFailed, Standing::Failed),
        ),
        (1, false, NOW + 900, (Reason::RetryLater, Standing::Skipped)),
        (1, false, NOW - 1, (Reason::EnrollmentFailed, Standing::Due)),
        (3, false, NOW - 1, (Reason::Quarantined, Standing::Skipped)),
    ] {
        for instances in [vec![], vec![current(2)]] {
            let mut observed = world(&profile, instances);
            let clock = RetryState {
                failures,
                next_due,
                of_this_run,
                reason: Some("the Spot organization is full".into()),
            };
            observed.profiles[0].retries.insert(id(2), clock);
            assert_eq!(reason_of(&observed, &profile, 2), expected);
            let plan = plan(&observed, &desired(profile.clone())).unwrap();
            let row = plan.accounts.iter().find(|row| row.account == id(2));
            let detail = row.unwrap().detail.as_deref().unwrap();
            assert!(detail.contains("the Spot organization is full"), "{detail}");
            let is_due = expected.1 == Standing::Due;
            assert_eq!(plan.steps.len(), usize::from(is_due), "{:?}", plan.steps);
        }
    }
}

#[test]
fn an_instance_gets_the_external_id_by_the_least_that_does() {
    let other = "spotinst:aws:extid:other".parse().unwrap();
    let instance = |external_id, is_current| DeployedInstance {
        external_id,
        is_current,
    };
    for (instance, expected) in [
        (None, InstanceOperation::Create),
        (Some(instance(None, true)), InstanceOperation::Update),
        (Some(instance(None, false)), InstanceOperation::Update),
        (Some(instance(Some(other), true)), InstanceOperation::Update),
        (
            Some(instance(Some(external_id()), false)),
            InstanceOperation::Create,
        ),
        (
            Some(instance(Some(external_id()), true)),
            InstanceOperation::None,
        ),
    ] {
        assert_eq!(
            InstanceOperation::for_external_id(instance.as_ref(), &external_id()),
            expected
        );
    }
}

#[test]
fn more_accounts_than_the_ceiling_are_refused_as_a_whole() {
    let profile = direct();
    let accounts: Vec<_> = (1..=5).map(|number| (number, 0, ACTIVE)).collect();
    let mut observed = observed(organization(&[], &accounts));
    let mut desired = desired(profile);
    // The management account does not count, nor does one that stays linked elsewhere.
    observed.spot_accounts = vec![linked(5, "act-5")];
    desired.direct_ceiling = 3;
    assert!(plan(&observed, &desired).unwrap().refusals.is_empty());
    desired.direct_ceiling = 2;
    let plan = plan(&observed, &desired).unwrap();
    assert_eq!(plan.refusals[0].guard, "direct-ceiling");
    assert!(plan.refusals[0].message.contains("3 accounts"));
    assert!(plan.steps.is_empty());
}

#[test]
fn a_stack_set_of_another_provider_is_never_updated() {
    for (was_direct, profile) in [(false, direct()), (true, profile(root_targets()))] {
        let mut observed = world(&profile, vec![current(2)]);
        observed.profiles[0].is_direct = was_direct;
        let plan = plan(&observed, &desired(profile)).unwrap();
        assert_eq!(plan.refusals[0].guard, "provider-changed");
        assert!(plan.steps.is_empty());
    }
}

#[test]
fn the_management_account_is_enrolled_by_its_stack_whatever_the_provider() {
    for base in [direct(), profile(root_targets())] {
        let profile = Profile {
            management: Some(management(&base)),
            ..base
        };
        let mut observed = world(&profile, Vec::new());
        let reason = |observed: &SyncObserved| reason_of(observed, &profile, 1).0;
        observed.profiles[0].management_changes = vec!["add SpotRole (AWS::IAM::Role)".to_owned()];
        assert_eq!(reason(&observed), Reason::MissingInstance);
        let planned = plan(&observed, &desired(profile.clone())).unwrap();
        let step = planned
            .steps
            .iter()
            .find(|step| step.action == "enroll-management-account")
            .unwrap();
        assert_eq!(step.accounts, [id(1)]);
        assert!(step.reason.contains("add SpotRole (AWS::IAM::Role)"));
        // No operation of the stack set names it.
        for action in actions(&planned) {
            if let SyncAction::CreateStackInstances { targets, .. } = action {
                assert!(!targets.accounts.contains(&id(1)), "{targets:?}");
            }
        }
        let mut with = |stack: PlainStack| {
            observed.profiles[0].management = Some(stack);
            reason(&observed)
        };
        assert_eq!(with(plain_stack()), Reason::EnrollmentUnfinished);
        let without_id = PlainStack {
            external_id: None,
            ..plain_stack()
        };
        assert_eq!(with(without_id), Reason::ExternalIdMissing);
        let blocked = PlainStack {
            status: "ROLLBACK_COMPLETE".to_owned(),
            blocked: Some("delete it".to_owned()),
            ..plain_stack()
        };
        assert_eq!(with(blocked), Reason::StackBlocked);
        let changing = PlainStack {
            status: "CREATE_IN_PROGRESS".to_owned(),
            ..plain_stack()
        };
        assert_eq!(with(changing), Reason::Enrolling);
        enroll(&mut observed, &enrollment(), 1);
        let mut with = |stack: PlainStack| {
            observed.profiles[0].management = Some(stack);
            reason(&observed)
        };
        assert_eq!(with(plain_stack()), Reason::Enrolled);
        let outdated = PlainStack {
            is_current: false,
            ..plain_stack()
        };
        assert_eq!(with(outdated), Reason::InstanceOutdated);
    }
}

#[test]
fn a_management_account_that_is_linked_elsewhere_is_kept() {
    let profile = Profile {
        management: Some(management(&direct())),
        ..direct()
    };
    let mut observed = world(&profile, Vec::new());
    observed.spot_accounts = vec![linked(1, "act-1")];
    assert_eq!(
        reason_of(&observed, &profile, 1).0,
        Reason::EnrolledElsewhere
    );
    let relink = Profile {
        adopt: AdoptRule::Relink,
        ..profile
    };
    assert_eq!(reason_of(&observed, &relink, 1).0, Reason::MissingInstance);
}

#[test]
fn a_management_account_that_is_not_targeted_is_an_error_of_the_configuration() {
    let mut profile = Profile {
        management: Some(management(&direct())),
        ..direct()
    };
    profile.targets.exclude_accounts.insert(id(1));
    let observed = world(&profile, Vec::new());
    assert!(matches!(
        plan(&observed, &desired(profile)),
        Err(PlanError::ManagementNotTargeted { .. })
    ));
}
