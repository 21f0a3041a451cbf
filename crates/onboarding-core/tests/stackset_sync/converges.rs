//! The property that matters most: applying a plan leaves nothing to do, for any organization.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::sync::Arc;

use onboarding_core::{
    access::{self, Accounts},
    desired::{AdoptRule, BillingSource, Deployment, Desired, Profile, Targets},
    ids::{AwsAccountId, OuId},
    inventory::{Account, AccountState, InstanceDetailedStatus, InstanceStatus},
    plan::{Plan, Summary},
    stackset_sync::{BillingRegistration, SyncAction, SyncObserved, TargetFilter, plan},
};
use proptest::prelude::*;

use crate::world::*;

/// What CloudFormation and the provider make of a plan when everything goes well.
pub(crate) fn apply(observed: &mut SyncObserved, desired: &Desired, plan: &Plan) {
    let profile = &desired.profiles[0];
    for action in actions(plan) {
        let below = |observed: &SyncObserved, unit: u32, ous: &[OuId]| {
            observed
                .organization
                .lineage(unit)
                .any(|(_, unit)| ous.contains(&unit.id))
        };
        match action {
            SyncAction::ActivateTrustedAccess => observed.trusted_access = true,
            SyncAction::CreateStackSet {
                auto_deployment, ..
            } => {
                with_stack_set(observed, profile, auto_deployment, Vec::new());
                observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units
                    .clear();
            }
            SyncAction::UpdateStackSet {
                auto_deployment, ..
            } => {
                let instances = std::mem::take(&mut observed.profiles[0].instances);
                let units = observed.profiles[0]
                    .stack_set
                    .as_ref()
                    .unwrap()
                    .organizational_units
                    .clone();
                with_stack_set(observed, profile, auto_deployment, instances);
                observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units = units;
            }
            // Only audits look for drift, and nothing changes by it.
            SyncAction::DetectDrift { .. } => {}
            SyncAction::AwaitOperation { .. } => observed.profiles[0].running.clear(),
            SyncAction::CreateStackInstances { targets, .. } => {
                let units = &mut observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units;
                units.extend(targets.organizational_units.iter().cloned());
                let reached: Vec<Account> = observed
                    .organization
                    .accounts
                    .iter()
                    .filter(|account| account.id != observed.organization.management_account)
                    .filter(|account| {
                        below(observed, account.parent, &targets.organizational_units)
                    })
                    .filter(|account| match targets.filter {
                        TargetFilter::None => true,
                        TargetFilter::Intersection => targets.accounts.contains(&account.id),
                        TargetFilter::Difference => !targets.accounts.contains(&account.id),
                    })
                    .cloned()
                    .collect();
                for account in reached {
                    assert_eq!(
                        account.state, ACTIVE,
                        "{} is not active and must not be deployed to",
                        account.id
                    );
                    let instances = &mut observed.profiles[0].instances;
                    if !instances.iter().any(|instance| {
                        instance.account == account.id && instance.stack_id.is_some()
                    }) {
                        instances.retain(|instance| instance.account != account.id);
                        let number: u64 = account.id.to_string().parse().unwrap();
                        instances.push(instance(
                            number,
                            InstanceStatus::Current,
                            InstanceDetailedStatus::Succeeded,
                        ));
                        if !observed
                            .spot_accounts
                            .iter()
                            .any(|spot| spot.aws_account == Some(account.id))
                        {
                            observed
                                .spot_accounts
                                .push(linked(number, &format!("act-{number:08}")));
                        }
                        let spot = observed
                            .spot_accounts
                            .iter()
                            .find(|spot| spot.aws_account == Some(account.id));
                        let spot = spot.unwrap().id.clone();
                        for grant in &profile.access {
                            let group = observed.user_groups.get_mut(&grant.user_group);
                            let current = group.unwrap().as_mut().unwrap();
                            let added =
                                Accounts::from([(grant.policy.clone(), [spot.clone()].into())]);
                            *current = access::with(&grant.user_group, current, &added).unwrap();
                        }
                        observed.owned_links.insert(account.id, spot);
                    }
                }
            }
            SyncAction::UpdateStackInstances { targets, .. } => {
                for instance in &mut observed.profiles[0].instances {
                    if targets.accounts.contains(&instance.account) {
                        instance.status = InstanceStatus::Current;
                        instance.detailed_status = InstanceDetailedStatus::Succeeded;
                    }
                }
            }
            SyncAction::GrantAccess {
                user_group,
                policies,
            } => {
                let group = observed.user_groups.get_mut(&user_group).unwrap();
                let current = group.as_mut().unwrap();
                *current = access::with(&user_group, current, &policies).unwrap();
            }
            SyncAction::SetUpBillingEngine { spot_account, .. } => {
                let registration = BillingRegistration {
                    connected: true,
                    since: None,
                };
                observed.billing_engine.insert(spot_account, registration);
            }
            SyncAction::EnrollAccount { account, .. } => {
                let number = account.to_string().parse().unwrap();
                let state = &mut observed.profiles[0];
                state
                    .instances
                    .retain(|instance| instance.account != account);
                state.instances.push(instance(
                    number,
                    InstanceStatus::Current,
                    InstanceDetailedStatus::Succeeded,
                ));
                state.external_ids.insert(account, external_id());
                enroll(observed, profile.direct.as_ref().unwrap(), number);
                let_see(observed, profile, account);
            }
            SyncAction::EnrollManagementAccount { account, .. } => {
                observed.profiles[0].management = Some(plain_stack());
                let enrollment = &profile.management.as_ref().unwrap().enrollment;
                enroll(observed, enrollment, account.to_string().parse().unwrap());
                let_see(observed, profile, account);
            }
            SyncAction::RepairStackInstances { .. }
            | SyncAction::DeleteStacks { .. }
            | SyncAction::LinkSpotAccount { .. }
            | SyncAction::RenameSpotAccount { .. }
            | SyncAction::RemoveStrayPolicies { .. }
            | SyncAction::EnableCostIntelligence { .. } => {
                assert_eq!(action.name(), "a step of stackset-sync");
            }
            SyncAction::DeleteStackInstances { targets, .. } => {
                observed.profiles[0]
                    .instances
                    .retain(|instance| !targets.accounts.contains(&instance.account));
            }
        }
    }
    observed.profiles[0]
        .instances
        .sort_by_key(|instance| instance.account);
}

/// The provider lets user groups see an account right after it has linked it.
fn let_see(observed: &mut SyncObserved, profile: &Profile, account: AwsAccountId) {
    let spot = observed.owned_links[&account].clone();
    for grant in &profile.access {
        let group = observed.user_groups.get_mut(&grant.user_group).unwrap();
        let current = group.as_mut().unwrap();
        let added = Accounts::from([(grant.policy.clone(), [spot.clone()].into())]);
        *current = access::with(&grant.user_group, current, &added).unwrap();
    }
}

#[test]
fn a_unit_without_accounts_is_deployed_to_once_whether_aws_lists_it_or_not() {
    for listed in [true, false] {
        let mut profile = profile(Targets {
            ous: vec!["Unit1".parse().unwrap(), "Unit2".parse().unwrap()],
            ..Targets::default()
        });
        let mut observed = observed(organization(&[0, 0, 0], &[(1, 0, ACTIVE), (2, 1, ACTIVE)]));
        let run = |observed: &mut SyncObserved, profile: &Profile| -> Vec<OuId> {
            let desired = desired(profile.clone());
            let plan = plan(observed, &desired).unwrap();
            apply(observed, &desired, &plan);
            let state = &mut observed.profiles[0];
            let mut deployed_to = Vec::new();
            for action in actions(&plan) {
                if let SyncAction::CreateStackInstances { targets, .. } = action {
                    deployed_to.extend(targets.organizational_units);
                }
            }
            state.deployed_units.extend(deployed_to.iter().cloned());
            if !listed {
                let units = &mut state.stack_set.as_mut().unwrap().organizational_units;
                units.retain(|unit| *unit == ou(1));
            }
            deployed_to
        };
        // AWS's auto-deployment reaches the empty unit because an operation named it.
        assert_eq!(run(&mut observed, &profile), [ou(1), ou(2)], "{listed}");
        assert!(run(&mut observed, &profile).is_empty(), "{listed}");
        profile.targets.ous.push("Unit3".parse().unwrap());
        assert_eq!(run(&mut observed, &profile), [ou(3)], "{listed}");
        assert!(run(&mut observed, &profile).is_empty(), "{listed}");
    }
}

pub(crate) fn states() -> impl Strategy<Value = AccountState> {
    prop_oneof![
        8 => Just(ACTIVE),
        1 => Just(AccountState::Suspended),
        1 => Just(AccountState::Closed),
        1 => Just(AccountState::Unknown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn applying_a_plan_leaves_no_due_step_and_the_numbers_add_up(
        parents in proptest::collection::vec(0usize..3, 0..6),
        accounts in proptest::collection::btree_map(1u64..200, (0usize..7, states()), 1..60),
        linked_before in proptest::collection::btree_set(1u64..200, 0..5),
        linked_twice in proptest::collection::btree_set(1u64..200, 0..3),
        excluded in proptest::collection::btree_set(1u64..200, 0..3),
        tagged in proptest::option::of(proptest::collection::btree_map(1u64..200, any::<bool>(), 0..60)),
        relink in any::<bool>(),
        is_direct in any::<bool>(),
        with_management in any::<bool>(),
    ) {
        let parents: Vec<usize> = parents.iter().enumerate().map(|(index, parent)| *parent.min(&index)).collect();
        let accounts: Vec<(u64, usize, AccountState)> =
            accounts.into_iter().map(|(number, (unit, state))| (number, unit.min(parents.len()), state)).collect();
        let mut observed = observed(organization(&parents, &accounts));
        for number in linked_before.iter().chain(&linked_twice) {
            observed.spot_accounts.push(linked(*number, &format!("act-a{number:07}")));
        }
        for number in &linked_twice {
            observed.spot_accounts.push(linked(*number, &format!("act-b{number:07}")));
        }
        let mut targets = root_targets();
        targets.exclude_accounts = excluded.iter().map(|number| id(*number)).collect();
        // None: no tags are asked for. An account without an entry is one whose tags are not known.
        if let Some(tagged) = &tagged {
            targets.tags = asks(&[("stage", &["prod"])]);
            let carried: &dyn Fn(bool) -> &'static [(&'static str, &'static str)] =
                &|right| if right { &[("stage", "prod")] } else { &[("stage", "test")] };
            observed.account_tags = Arc::new(
                tagged.iter().flat_map(|(number, right)| tags(&[(*number, carried(*right))])).collect(),
            );
        }
        let mut profile = profile(targets);
        profile.adopt = if relink { AdoptRule::Relink } else { AdoptRule::KeepLink };
        if is_direct {
            profile.direct = Some(enrollment());
            profile.deployment = Some(Deployment::Runner);
        }
        let is_targeted = observed.organization.account(id(1)).is_some() && !excluded.contains(&1) && tagged.is_none();
        if with_management && is_targeted {
            profile.management = Some(management(&profile));
        }
        profile.access = [grant()].into();
        observed.user_groups.insert(grant().user_group, Ok(Vec::new()));
        let mut desired = desired(profile);
        // A management account that this run enrolls gets its billing with the next one.
        desired.billing_engine = (!with_management).then(|| BillingSource {
            bucket: "reports".to_owned(),
            region: "us-east-1".parse().unwrap(),
            path_prefix: "cur".to_owned(),
        });

        let before = plan(&observed, &desired).unwrap();
        let planned = Summary::of(&before.accounts, &before.accounts, true);
        prop_assert!(planned.adds_up(), "{planned:?}");
        apply(&mut observed, &desired, &before);
        let after = plan(&observed, &desired).unwrap();
        prop_assert!(after.steps.is_empty(), "{:?}", after.steps);
        let summary = Summary::of(&before.accounts, &after.accounts, false);
        prop_assert!(summary.adds_up(), "{summary:?}");
        prop_assert_eq!(summary.changed, planned.planned);
        prop_assert_eq!(summary.targeted, planned.targeted);
        // Whoever was linked before, and is not to be taken over, was left alone.
        for row in &after.accounts {
            let number: u64 = row.account.to_string().parse().unwrap();
            let mistagged = tagged.as_ref().is_some_and(|tagged| tagged.get(&number) != Some(&true));
            if mistagged || linked_twice.contains(&number) || excluded.contains(&number) || (!relink && linked_before.contains(&number)) {
                prop_assert!(number != 1 || observed.profiles[0].management.is_none());
                prop_assert!(!observed.profiles[0].instances.iter().any(|instance| instance.account == row.account));
            }
        }
    }
}
