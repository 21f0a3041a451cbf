//! The stack set itself: made, changed, waited for, or refused.

use onboarding_core::{
    desired::Targets,
    inventory::{AccountState, InstanceDetailedStatus, InstanceStatus},
    stackset_sync::{ObservedProfile, PlanError, RunningOperation, SyncAction, TargetFilter, plan},
    status::{Reason, Standing},
    template::Deletion,
};

use crate::world::*;

#[test]
fn the_first_run_creates_the_stack_set_and_all_instances_in_one_operation() {
    let profile = profile(root_targets());
    let observed = observed(organization(
        &[0, 1],
        &[
            (1, 0, ACTIVE),
            (2, 1, ACTIVE),
            (3, 2, ACTIVE),
            (4, 2, AccountState::Suspended),
        ],
    ));
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert_eq!(
        reasons(&plan),
        [
            (1, Reason::ManagementAccount),
            (2, Reason::MissingInstance),
            (3, Reason::MissingInstance),
            (4, Reason::Suspended)
        ]
    );
    let actions = actions(&plan);
    assert!(matches!(
        actions[0],
        SyncAction::CreateStackSet {
            auto_deployment: true,
            ..
        }
    ));
    let SyncAction::CreateStackInstances { targets, .. } = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(actions.len(), 2);
    assert_eq!(targets.organizational_units, [ou(0)]);
    // The suspended account must not get an instance that cannot be undone.
    assert_eq!(
        (targets.filter, targets.accounts.as_slice()),
        (TargetFilter::Difference, &[id(4)][..])
    );
}

#[test]
fn an_enrolled_organization_plans_nothing() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(1, 0, ACTIVE), (2, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![instance(
            2,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )],
    );
    observed.spot_accounts = vec![linked(2, "act-22222222")];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert!(plan.findings.is_empty());
    assert_eq!(reasons(&plan)[1], (2, Reason::Enrolled));
}

#[test]
fn stacks_that_leave_are_kept_unless_they_take_their_spot_account_with_them() {
    let mut profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(1, 0, ACTIVE)]));
    with_stack_set(&mut observed, &profile, true, Vec::new());
    assert!(
        !plan(&observed, &desired(profile.clone()))
            .unwrap()
            .steps
            .iter()
            .any(|step| step.id.starts_with("update"))
    );
    profile.deletion = Deletion::Stack;
    let changed = plan(&observed, &desired(profile)).unwrap();
    assert!(
        matches!(
            &actions(&changed)[..],
            [
                SyncAction::UpdateStackSet {
                    deployment: true,
                    auto_deployment: true,
                    ..
                },
                ..
            ]
        ),
        "{:?}",
        changed.steps
    );
}

#[test]
fn a_changed_definition_is_rolled_out_by_one_update() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE), (3, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![
            instance(
                2,
                InstanceStatus::Current,
                InstanceDetailedStatus::Succeeded,
            ),
            instance(3, InstanceStatus::Outdated, InstanceDetailedStatus::Pending),
        ],
    );
    observed.spot_accounts = vec![linked(2, "act-22222222"), linked(3, "act-33333333")];
    observed.profiles[0].template_digest = Some("older".to_owned());
    let changed = plan(&observed, &desired(profile.clone())).unwrap();
    assert!(matches!(
        actions(&changed)[..],
        [SyncAction::UpdateStackSet {
            definition: true,
            deployment: false,
            ..
        }]
    ));
    assert_eq!(changed.steps[0].accounts, [id(2), id(3)]);
    // The definition is right, but an instance never got it: only that one is updated.
    observed.profiles[0].template_digest = Some(profile.definition.template_digest.clone());
    let behind = plan(&observed, &desired(profile)).unwrap();
    let SyncAction::UpdateStackInstances { targets, .. } = &actions(&behind)[0] else {
        panic!("{behind:?}")
    };
    assert_eq!(targets.accounts, [id(3)]);
}

#[test]
fn a_service_token_that_would_change_voids_the_plan() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    with_stack_set(&mut observed, &profile, true, vec![]);
    observed.profiles[0].service_token_changes = vec!["SpotAccount".to_owned()];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(plan.steps.is_empty());
    assert!(plan.refusals[0].whole_plan && plan.refusals[0].message.contains("SpotAccount"));
}

#[test]
fn a_running_operation_is_awaited_first() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![instance(
            2,
            InstanceStatus::Outdated,
            InstanceDetailedStatus::Running,
        )],
    );
    observed.profiles[0].running = vec![RunningOperation {
        id: "op-1".to_owned(),
        action: "CREATE".to_owned(),
    }];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(
        matches!(&actions(&plan)[..], [SyncAction::AwaitOperation { operation_id, .. }] if operation_id == "op-1")
    );
    assert_eq!(plan.accounts[0].standing, Standing::Pending);
}

#[test]
fn trusted_access_off_is_a_prerequisite_unless_it_may_be_switched_on() {
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    observed.trusted_access = false;
    let mut desired = desired(profile(root_targets()));
    assert_eq!(plan(&observed, &desired), Err(PlanError::TrustedAccessOff));
    desired.activate_trusted_access = true;
    assert_eq!(
        actions(&plan(&observed, &desired).unwrap())[0],
        SyncAction::ActivateTrustedAccess
    );
}

#[test]
fn operations_side_by_side_know_how_many_accounts_share_spots_limit() {
    let mut desired = desired(profile(Targets {
        ous: vec!["Unit1".parse().unwrap()],
        ..Targets::default()
    }));
    let mut second = profile(Targets {
        ous: vec!["Unit2".parse().unwrap()],
        ..Targets::default()
    });
    second.name = "second".to_owned();
    second.stack_set = "second".parse().unwrap();
    desired.profiles.push(second);
    let mut observed = observed(organization(
        &[0, 0],
        &[(2, 1, ACTIVE), (3, 1, ACTIVE), (4, 2, ACTIVE)],
    ));
    observed.profiles.push(ObservedProfile::default());
    let plan = plan(&observed, &desired).unwrap();
    let shares: Vec<(usize, usize)> = plan
        .steps
        .iter()
        .zip(actions(&plan))
        .filter_map(|(step, action)| match action {
            SyncAction::CreateStackInstances {
                accounts_at_once, ..
            } => Some((step.accounts.len(), accounts_at_once)),
            _ => None,
        })
        .collect();
    assert_eq!(shares, [(2, 3), (1, 3)]);
}
