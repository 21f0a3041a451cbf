//! What an earlier plan still covers of a later one.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    desired::Deployment,
    ids::AwsAccountId,
    inventory::{AccountState, InstanceDetailedStatus, InstanceStatus},
    plan::{
        Plan, Summary,
        consent::{consented, limit},
    },
    stackset_sync::{SyncConsent, plan},
    status::{Reason, Standing},
};
use proptest::prelude::*;

use crate::{
    converges::{apply, states},
    world::*,
};

fn worked_on(plan: &Plan) -> BTreeSet<AwsAccountId> {
    let accounts = plan.steps.iter().flat_map(|step| step.accounts.iter());
    accounts.copied().collect()
}

#[test]
fn an_account_that_joined_is_left_out_and_the_rest_goes_on() {
    for deployment in [Deployment::Auto, Deployment::Runner] {
        let mut profile = profile(root_targets());
        profile.deployment = Some(deployment);
        let desired = desired(profile);
        let world = |accounts: &[(u64, usize, AccountState)]| {
            plan(&observed(organization(&[], accounts)), &desired).unwrap()
        };
        let earlier = consented(&world(&[(2, 0, ACTIVE), (3, 0, ACTIVE), (5, 0, ACTIVE)]));
        let mut now = world(&[
            (2, 0, ACTIVE),
            (3, 0, AccountState::Suspended),
            (4, 0, ACTIVE),
            (5, 0, ACTIVE),
        ]);
        let moved = limit(&mut now, &earlier, &SyncConsent);
        assert_eq!(worked_on(&now), [id(2), id(5)].into(), "{deployment:?}");
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert_eq!(moved[0].accounts, [id(4)].into());
        let row = now
            .accounts
            .iter()
            .find(|row| row.account == id(4))
            .unwrap();
        assert_eq!(
            (row.standing, row.reason),
            (Standing::Skipped, Reason::Moved)
        );
        assert!(Summary::of(&now.accounts, &now.accounts, true).adds_up());
    }
}

#[test]
fn a_definition_is_only_updated_from_where_it_was() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    let current = instance(
        2,
        InstanceStatus::Current,
        InstanceDetailedStatus::Succeeded,
    );
    with_stack_set(&mut observed, &profile, true, vec![current]);
    let desired = desired(profile);
    observed.profiles[0].template_digest = Some("one".to_owned());
    let earlier = consented(&plan(&observed, &desired).unwrap());
    assert_eq!(earlier[0].step.action, "update-stack-set");
    let mut same = plan(&observed, &desired).unwrap();
    assert_eq!(limit(&mut same, &earlier, &SyncConsent), []);
    assert_eq!(same.steps.len(), 1);
    observed.profiles[0].template_digest = Some("another".to_owned());
    let mut now = plan(&observed, &desired).unwrap();
    let moved = limit(&mut now, &earlier, &SyncConsent);
    assert_eq!(now.steps, []);
    assert!(
        moved[0].is_due && moved[0].why.contains("not so any more"),
        "{moved:?}"
    );
}

#[test]
fn instances_are_not_created_with_a_definition_that_was_left_out() {
    let desired = desired(profile(root_targets()));
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    let whole = consented(&plan(&observed, &desired).unwrap());
    let instances: Vec<_> = whole
        .into_iter()
        .filter(|step| step.step.action == "create-stack-instances")
        .collect();
    observed.now += 1;
    let mut now = plan(&observed, &desired).unwrap();
    let moved = limit(&mut now, &instances, &SyncConsent);
    assert_eq!(now.steps, []);
    assert_eq!(moved.len(), 2, "{moved:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_done_that_was_not_looked_at(
        before in proptest::collection::btree_map(2u64..60, (0usize..3, states()), 1..40),
        changed in proptest::collection::btree_map(2u64..60, (0usize..3, states()), 0..10),
        gone in proptest::collection::btree_set(2u64..60, 0..5),
        deployed in proptest::collection::btree_set(2u64..60, 0..10),
        auto in any::<bool>(),
    ) {
        let mut profile = profile(root_targets());
        profile.deployment = Some(if auto { Deployment::Auto } else { Deployment::Runner });
        let mut desired = desired(profile.clone());
        desired.removal.max_removals = 100;
        let world = |accounts: &BTreeMap<u64, (usize, AccountState)>| {
            let listed: Vec<_> = accounts.iter().map(|(number, (unit, state))| (*number, *unit, *state)).collect();
            let mut observed = observed(organization(&[0, 1], &listed));
            let current = deployed.iter().map(|number| instance(*number, InstanceStatus::Current, InstanceDetailedStatus::Succeeded));
            with_stack_set(&mut observed, &profile, auto, current.collect());
            observed.spot_accounts = deployed.iter().map(|number| linked(*number, &format!("act-a{number:07}"))).collect();
            observed
        };
        let mut after = before.clone();
        after.extend(changed);
        after.retain(|number, _| !gone.contains(number));

        let earlier = plan(&world(&before), &desired).unwrap();
        let looked_at = consented(&earlier);
        let mut same = earlier.clone();
        prop_assert_eq!(limit(&mut same, &looked_at, &SyncConsent), []);
        prop_assert_eq!(&same, &earlier);

        let mut observed = world(&after);
        let whole = plan(&observed, &desired).unwrap();
        let mut now = whole.clone();
        let moved = limit(&mut now, &looked_at, &SyncConsent);
        prop_assert!(worked_on(&now).is_subset(&worked_on(&earlier)));
        prop_assert!(Summary::of(&now.accounts, &now.accounts, true).adds_up());
        // What is left out is told, and nothing else.
        let left: BTreeSet<AwsAccountId> = moved.iter().flat_map(|moved| moved.accounts.iter().copied()).collect();
        let missing: BTreeSet<AwsAccountId> = worked_on(&whole).difference(&worked_on(&now)).copied().collect();
        prop_assert_eq!(left, missing);
        // Nor does anything happen to another account when the steps are applied.
        let instances = |observed: &onboarding_core::stackset_sync::SyncObserved| -> BTreeSet<AwsAccountId> {
            observed.profiles[0].instances.iter().map(|instance| instance.account).collect()
        };
        let there = instances(&observed);
        apply(&mut observed, &desired, &now);
        let touched: BTreeSet<AwsAccountId> = instances(&observed).symmetric_difference(&there).copied().collect();
        prop_assert!(touched.is_subset(&worked_on(&earlier)), "{touched:?}");
    }
}
