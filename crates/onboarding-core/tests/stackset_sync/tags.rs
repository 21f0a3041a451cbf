//! Targets that ask for tags: who carries them, who does not, and of whom it is not known.

use std::{collections::BTreeMap, sync::Arc};

use onboarding_core::{
    desired::{Deployment, Targets},
    inventory::{AccountState, InstanceDetailedStatus, InstanceStatus},
    plan::Summary,
    stackset_sync::{PlanError, SyncAction, TargetFilter, plan, targets},
    status::Reason,
};

use crate::world::*;

#[test]
fn an_account_needs_every_tag_with_one_of_its_values() {
    let (here, gone) = (Reason::MissingInstance, Reason::TagMismatch);
    for (asked, carried, reason) in [
        (asks(&[("a", &["1"])]), &[("a", "1"), ("b", "2")][..], here),
        (asks(&[("a", &["1", "2"])]), &[("a", "2")], here),
        (asks(&[("a", &[""])]), &[("a", "")], here),
        (
            asks(&[("a", &["1"]), ("b", &["2"])]),
            &[("a", "1"), ("b", "2")],
            here,
        ),
        (asks(&[("a", &["1"]), ("b", &["2"])]), &[("a", "1")], gone),
        (asks(&[("a", &["1"])]), &[("a", "2")], gone),
        (asks(&[("a", &[""])]), &[], gone),
        (asks(&[("a", &["1"])]), &[], gone),
        // AWS tells capitals apart, in keys and in values.
        (asks(&[("Stage", &["Prod"])]), &[("stage", "Prod")], gone),
        (asks(&[("Stage", &["Prod"])]), &[("Stage", "prod")], gone),
    ] {
        let mut targets = root_targets();
        targets.tags = asked.clone();
        let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
        observed.account_tags = Arc::new(tags(&[(2, carried)]));
        let plan = plan(&observed, &desired(profile(targets))).unwrap();
        assert_eq!(reasons(&plan), [(2, reason)], "{asked:?} {carried:?}");
    }
}

#[test]
fn tags_select_in_the_units_and_leave_listed_and_excluded_accounts_alone() {
    let organization = organization(
        &[0, 0, 0],
        &[
            (1, 1, ACTIVE),
            (2, 1, ACTIVE),
            (3, 1, ACTIVE),
            (4, 2, ACTIVE),
            (5, 2, ACTIVE),
            (6, 3, ACTIVE),
            (7, 3, ACTIVE),
            (8, 1, AccountState::Suspended),
        ],
    );
    let targets = Targets {
        ous: vec!["Unit1".parse().unwrap(), "Unit2".parse().unwrap()],
        tags: asks(&[("stage", &["prod"])]),
        accounts: [id(3), id(6)].into(),
        exclude_ous: Vec::new(),
        exclude_accounts: [id(4)].into(),
    };
    let desired = desired(profile(targets));
    let asked = targets::decided_by_tags(&organization, &desired).unwrap();
    assert_eq!(asked, [id(1), id(2), id(5), id(8)].into());

    let mut observed = observed(organization);
    let stage = [("stage", "prod")];
    observed.account_tags = Arc::new(tags(&[
        (1, &stage),
        (2, &stage),
        (4, &stage),
        (5, &[]),
        (7, &stage),
        (8, &stage),
    ]));
    let plan = plan(&observed, &desired).unwrap();
    assert_eq!(
        reasons(&plan),
        [
            (1, Reason::ManagementAccount),
            (2, Reason::MissingInstance),
            (3, Reason::MissingInstance),
            (4, Reason::Excluded),
            (5, Reason::TagMismatch),
            (6, Reason::MissingInstance),
            (8, Reason::Suspended),
        ]
    );
    assert!(Summary::of(&plan.accounts, &plan.accounts, true).adds_up());
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    let created = &plan.steps.last().unwrap().accounts;
    assert_eq!(*created, [id(2), id(3), id(6)]);
}

#[test]
fn tags_make_the_runner_deploy_and_asking_for_auto_deployment_is_refused() {
    let mut targets = root_targets();
    targets.tags = asks(&[("stage", &["prod"])]);
    let mut both = profile(targets.clone());
    both.deployment = Some(Deployment::Auto);
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE), (3, 0, ACTIVE)]));
    observed.account_tags = Arc::new(tags(&[(2, &[("stage", "prod")]), (3, &[])]));
    let error = plan(&observed, &desired(both)).unwrap_err();
    assert!(matches!(error, PlanError::AutoIgnoresSelection { .. }));
    assert!(error.to_string().contains("tags"), "{error}");
    let plan = plan(&observed, &desired(profile(targets))).unwrap();
    let actions = actions(&plan);
    assert!(matches!(
        actions[0],
        SyncAction::CreateStackSet {
            auto_deployment: false,
            ..
        }
    ));
    let SyncAction::CreateStackInstances { targets, .. } = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (targets.filter, targets.accounts.as_slice()),
        (TargetFilter::Intersection, &[id(2)][..])
    );
}

#[test]
fn nothing_is_taken_out_for_want_of_a_tag_whether_it_is_gone_or_was_not_read() {
    let mut targets = root_targets();
    targets.tags = asks(&[("stage", &["prod"])]);
    let profile = profile(targets);
    let mut observed = observed(organization(
        &[],
        &[(2, 0, ACTIVE), (3, 0, ACTIVE), (4, 0, ACTIVE)],
    ));
    let instances = (2..=4)
        .map(|number| {
            instance(
                number,
                InstanceStatus::Current,
                InstanceDetailedStatus::Succeeded,
            )
        })
        .collect();
    with_stack_set(&mut observed, &profile, false, instances);
    for number in 2..=4 {
        let link = linked(number, &format!("act-a{number:07}"));
        observed.owned_links.insert(id(number), link.id.clone());
        observed.spot_accounts.push(link);
    }
    observed.account_tags = Arc::new(tags(&[(2, &[("stage", "prod")]), (3, &[])]));
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert_eq!(
        reasons(&plan),
        [
            (2, Reason::Enrolled),
            (3, Reason::OutsideTargets),
            (4, Reason::TagsUnknown),
        ]
    );
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    // Who lost its tag is a person's decision; of whom nothing is known, nothing is said.
    let found: Vec<_> = plan
        .findings
        .iter()
        .map(|finding| finding.account)
        .collect();
    assert_eq!(found, [Some(id(3))]);
}

#[test]
fn profiles_share_a_unit_by_tags_and_not_an_account() {
    let with = |stage: &str| Targets {
        tags: asks(&[("stage", &[stage])]),
        ..root_targets()
    };
    let mut desired = desired(profile(with("prod")));
    let mut second = profile(with("test"));
    second.name = "second".to_owned();
    desired.profiles.push(second);
    let mut observed = observed(organization(
        &[],
        &[(2, 0, ACTIVE), (3, 0, ACTIVE), (4, 0, ACTIVE)],
    ));
    observed.profiles.push(observed.profiles[0].clone());
    observed.account_tags = Arc::new(tags(&[
        (2, &[("stage", "prod")]),
        (3, &[("stage", "test")]),
        (4, &[]),
    ]));
    let rows = plan(&observed, &desired).unwrap().accounts;
    let rows: Vec<(&str, Reason)> = rows.iter().map(|row| (&*row.profile, row.reason)).collect();
    assert_eq!(
        rows,
        [
            ("default", Reason::MissingInstance),
            ("second", Reason::MissingInstance),
            ("default", Reason::TagMismatch),
        ]
    );
    desired.profiles[1].targets = Targets {
        tags: asks(&[("stage", &["prod", "test"])]),
        ..root_targets()
    };
    let error = plan(&observed, &desired).unwrap_err();
    assert!(matches!(error, PlanError::Overlap { .. }), "{error}");
    // Also when only one of them is asked for.
    let second = desired.profiles.pop().unwrap();
    observed.profiles.pop();
    let other = (second.name, second.targets);
    desired.other_profiles = BTreeMap::from([other]);
    let error = plan(&observed, &desired).unwrap_err();
    assert!(matches!(error, PlanError::Overlap { .. }), "{error}");
    desired.other_profiles.clear();
    assert!(plan(&observed, &desired).is_ok());
}
