//! What is not known for certain is not removed: whose account it is, which stack uses it, which listing is right.

use onboarding_core::{orphan_cleanup::Why, status::Reason};

use super::world::*;

#[test]
fn only_instances_of_accounts_whose_spot_account_goes_are_taken_out() {
    let mut world = World::new(60);
    world.leaves(&[3, 4, 5, 6]);
    world.rules.protected_names = vec!["account 4".parse().unwrap()];
    let waits = clock(5, Why::Departed, NOW - DAY);
    world.observed.clocks.insert(spot(5), waits);
    let running = vec!["web".to_owned()];
    world.observed.running.insert(spot(6), running);
    // One that has no Spot account of ours is none of this job's.
    world.observed.known.remove(&spot(7));
    world.leaves(&[7]);
    let plan = world.plan();
    assert_eq!(deleted(&plan), [3]);
    let taken_out: Vec<_> = plan.steps.iter().flat_map(|step| &step.accounts).collect();
    assert_eq!(taken_out, [&id(3), &id(3)]);
    assert_eq!(plan.steps[0].action, "delete-stack-instances");
    assert_eq!(
        plan.steps[0].payload["targets"]["accounts"],
        serde_json::json!([id(3)])
    );
}

#[test]
fn a_default_account_that_spot_does_not_list_stops_everything() {
    let mut world = World::new(30);
    world.leaves(&[7]);
    world.rules.default_account = Some(spot(999));
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1));
    let refusal = &plan.refusals[0];
    assert_eq!(
        (refusal.guard.as_str(), refusal.whole_plan),
        ("default-account", true)
    );
    assert!(refusal.message.contains("act-00000999"), "{refusal:?}");
    world.rules.default_account = Some(spot(1));
    assert_eq!(deleted(&world.plan()), [7]);
}

#[test]
fn another_organization_is_not_one_that_all_accounts_have_left() {
    let mut world = World::new(30);
    world.leaves(&[7]);
    world.observed.previous_organization = Some("o-zyxwvutsrq".parse().unwrap());
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1));
    assert_eq!(plan.refusals[0].guard, "another-organization");
    let way_out = &plan.refusals[0].message;
    assert!(way_out.contains("docs/jobs/orphan-cleanup.md"), "{way_out}");
    assert!(plan.refusals[0].whole_plan);
}

#[test]
fn of_several_links_one_goes_only_where_it_is_known_which_one_is_in_use() {
    // We made both, and only one was linked through us: the other one's link is somebody else's.
    let mut world = World::new(30);
    let twin = linked(7, spot(90));
    world.observed.sync.spot_accounts.push(twin);
    let mut known = ours(7);
    known.owner = None;
    world.observed.known.insert(spot(90), known);
    world.observed.running.insert(spot(90), Vec::new());
    world.rules.duplicates = [spot(90)].into();
    assert_eq!(deleted(&world.plan()), [90]);
    // Links of Spot's own functions, of which our state has no stack: any may be in use.
    for number in [7, 90] {
        let known = world.observed.known.get_mut(&spot(number)).unwrap();
        known.owner = None;
    }
    for number in [7, 90] {
        world.rules.duplicates = [spot(number)].into();
        let plan = world.plan();
        assert!(deleted(&plan).is_empty());
        let found = format!("stack-remains:{}", spot(number));
        let mut findings = plan.findings.iter();
        assert!(findings.any(|finding| finding.id == found), "{plan:?}");
    }
    // Nor where the stack that has linked it is in no stack set of ours, unless it is known to be gone.
    let owner = ours(7).owner;
    world.observed.known.get_mut(&spot(7)).unwrap().owner = owner;
    world.without_instance(7);
    world.rules.duplicates = [spot(7)].into();
    assert!(deleted(&world.plan()).is_empty());
    world.observed.known.get_mut(&spot(7)).unwrap().tombstone = Some(tombstone(7));
    assert_eq!(deleted(&world.plan()), [7]);
}

#[test]
fn a_stack_that_is_not_the_one_that_linked_it_does_not_take_its_spot_account_along() {
    let mut world = World::new(30);
    world.rules.remove_outside_targets = true;
    world.is_untargeted(7);
    let owner = &mut world.observed.known.get_mut(&spot(7)).unwrap().owner;
    owner.as_mut().unwrap().stack = stack(90);
    let plan = world.plan();
    assert_eq!(
        (plan.steps.len(), stands(&plan, 7).unwrap().0),
        (0, Reason::StackRemains)
    );
    // Nor where nothing tells who linked it.
    world.observed.known.get_mut(&spot(7)).unwrap().owner = None;
    let plan = world.plan();
    assert_eq!(
        (plan.steps.len(), stands(&plan, 7).unwrap().0),
        (0, Reason::StackRemains)
    );
}
