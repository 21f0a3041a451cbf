//! Targets: which accounts a profile means, and what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::BTreeMap;

use onboarding_core::{
    desired::{Deployment, OuRef, Targets},
    ids::OuId,
    inventory::{AccountTags, InstanceDetailedStatus, InstanceStatus},
    plan::Plan,
    stackset_sync::{
        ObservedProfile, PlanError, SyncAction, TargetFilter, plan,
        targets::{self, Missing},
    },
    status::Reason,
};

use crate::world::*;

#[test]
fn excludes_turn_auto_deployment_off_and_asking_for_both_is_refused() {
    let mut targets = root_targets();
    targets.exclude_ous = vec!["Unit1".parse().unwrap()];
    let mut both = profile(targets.clone());
    both.deployment = Some(Deployment::Auto);
    let observed = observed(organization(&[0], &[(2, 0, ACTIVE), (3, 1, ACTIVE)]));
    assert!(matches!(
        plan(&observed, &desired(both)),
        Err(PlanError::AutoIgnoresSelection { .. })
    ));
    let plan = plan(&observed, &desired(profile(targets))).unwrap();
    assert_eq!(
        reasons(&plan),
        [(2, Reason::MissingInstance), (3, Reason::Excluded)]
    );
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
fn two_profiles_on_one_account_are_a_configuration_error() {
    let mut desired = desired(profile(root_targets()));
    let mut second = profile(Targets {
        ous: vec!["Unit1".parse().unwrap()],
        ..Targets::default()
    });
    second.name = "second".to_owned();
    desired.profiles.push(second);
    let mut observed = observed(organization(&[0], &[(2, 0, ACTIVE), (3, 1, ACTIVE)]));
    observed.profiles.push(ObservedProfile::default());
    let error = plan(&observed, &desired).unwrap_err();
    assert!(error.to_string().contains("000000000003"), "{error}");
}

#[test]
fn unknown_and_ambiguous_targets_say_what_is_there() {
    let observed = observed(organization(&[0, 1], &[(2, 0, ACTIVE)]));
    let unknown = profile(Targets {
        ous: vec!["unit1".parse().unwrap()],
        ..Targets::default()
    });
    let error = plan(&observed, &desired(unknown)).unwrap_err().to_string();
    assert!(error.contains("nearest: \"Unit1\""), "{error}");
    let misspelt = profile(Targets {
        ous: vec!["Uint1/Untt2".parse().unwrap()],
        ..Targets::default()
    });
    let error = plan(&observed, &desired(misspelt)).unwrap_err().to_string();
    assert!(error.contains("nearest: \"Unit1/Unit2\""), "{error}");
}

#[test]
fn one_account_is_selected_as_all_of_them_are() {
    let organization = organization(
        &[0, 1, 0],
        &[
            (2, 0, ACTIVE),
            (3, 1, ACTIVE),
            (4, 2, ACTIVE),
            (5, 3, ACTIVE),
        ],
    );
    for (ous, accounts, exclude_ous, exclude_accounts) in [
        (vec!["root"], vec![], vec![], vec![]),
        (vec!["Unit1"], vec![], vec![], vec![]),
        (vec!["Unit1/Unit2"], vec![2], vec![], vec![]),
        (vec!["root"], vec![4], vec!["Unit1"], vec![5]),
        (vec!["root", "Unit1"], vec![], vec!["Unit3"], vec![2]),
        (
            vec!["ou-root-00000003"],
            vec![],
            vec!["Unit1/Unit2"],
            vec![],
        ),
    ] {
        let refs = |names: Vec<&str>| -> Vec<OuRef> {
            names
                .into_iter()
                .map(|name| name.parse().unwrap())
                .collect()
        };
        let plain = Targets {
            ous: refs(ous),
            accounts: accounts.into_iter().map(id).collect(),
            exclude_ous: refs(exclude_ous),
            exclude_accounts: exclude_accounts.into_iter().map(id).collect(),
            tags: BTreeMap::new(),
        };
        let tagged = Targets {
            tags: asks(&[("stage", &["prod"])]),
            ..plain.clone()
        };
        let known = tags(&[(3, &[("stage", "prod")]), (5, &[("stage", "test")])]);
        for (targets, tags) in [
            (&plain, &AccountTags::new()),
            (&tagged, &known),
            (&tagged, &AccountTags::new()),
        ] {
            let desired = desired(profile(targets.clone()));
            let resolved = targets::resolve(&organization, tags, &desired).unwrap();
            let decided = targets::decided_by_tags(&organization, &desired).unwrap();
            for (index, account) in organization.accounts.iter().enumerate() {
                let lineage: Vec<(OuId, Option<&str>)> = organization
                    .lineage(account.parent)
                    .map(|(_, unit)| (unit.id.clone(), Some(&*unit.name)))
                    .collect();
                let one = targets::selects(targets, account.id, &lineage, tags.get(&account.id));
                let here = format!("{} {targets:?} {tags:?}", account.id);
                match one {
                    Ok(one) => assert_eq!(one, resolved.profiles[0].targeted[index], "{here}"),
                    Err(missing) => {
                        assert_eq!(missing, Missing::Tags, "{here}");
                        assert!(!resolved.profiles[0].targeted[index], "{here}");
                    }
                }
                let without = targets::selects(targets, account.id, &lineage, None);
                assert_eq!(
                    without == Err(Missing::Tags),
                    decided.contains(&account.id),
                    "{here}"
                );
            }
        }
    }
}

/// A profile of one unit, whose stack set was deployed to another one, too.
fn beyond(auto: bool, deployment: Deployment) -> Plan {
    let mut profile = profile(Targets {
        ous: vec!["Unit1".parse().unwrap()],
        ..Targets::default()
    });
    profile.deployment = Some(deployment);
    let accounts = [(1, 0, ACTIVE), (2, 1, ACTIVE), (3, 2, ACTIVE)];
    let mut observed = observed(organization(&[0, 0], &accounts));
    let current = instance(
        2,
        InstanceStatus::Current,
        InstanceDetailedStatus::Succeeded,
    );
    with_stack_set(&mut observed, &profile, auto, vec![current]);
    let stack_set = observed.profiles[0].stack_set.as_mut().unwrap();
    stack_set.organizational_units = vec![ou(1), ou(2)];
    observed.spot_accounts = vec![linked(2, "act-00000002")];
    plan(&observed, &desired(profile)).unwrap()
}

#[test]
fn units_that_automatic_deployment_follows_and_no_profile_targets_are_told_or_refused() {
    // It deploys there already: a person has to say what should become of it.
    let told = beyond(true, Deployment::Auto);
    let findings: Vec<&str> = told.findings.iter().map(|one| &*one.reason).collect();
    assert_eq!(findings, ["stack-set-targets-more"]);
    assert!(told.findings[0].message.contains("ou-root-00000002"));
    assert!(!told.findings[0].message.contains("ou-root-00000001"));
    assert!(told.refusals.is_empty(), "{:?}", told.refusals);
    // It would begin to.
    let refused = beyond(false, Deployment::Auto);
    let guards: Vec<&str> = refused.refusals.iter().map(|one| &*one.guard).collect();
    assert_eq!(guards, ["auto-deployment-targets"]);
    assert!(refused.refusals[0].whole_plan);
    assert!(refused.refusals[0].message.contains("ou-root-00000002"));
    // Without it, units that are left over do nothing.
    let left = beyond(false, Deployment::Runner);
    assert!(left.findings.is_empty() && left.refusals.is_empty());
}
