//! What a plan of a rollout refuses, or does not pass over.

use onboarding_core::{
    policy_rollout::moment::{Moment, of_check, of_promotion, of_unstaging, of_wave},
    stackset_sync,
};

use super::*;

/// One that is staged, with no wave begun.
fn staged(waves: Vec<WaveSettings>) -> World {
    let mut world = World::new(6, waves);
    let mut rollout = Rollout::new("r".to_owned(), "default", GOOD, NEXT, NOW);
    rollout.phase = Phase::Rolling;
    world.rollout = Some(rollout);
    world.define();
    world
}

fn soaking(name: &str, accounts: &[u64]) -> WaveSettings {
    WaveSettings {
        soak: 600,
        ..wave(name, listed(accounts))
    }
}

#[test]
fn a_wave_whose_gates_are_not_passed_cannot_be_taken_away() {
    let mut world = staged(vec![soaking("canary", &[3]), wave("all", None)]);
    world.run(&BTreeSet::new());
    world.settings.waves[0].name = "renamed".to_owned();
    world.sync.now += 1_000;
    let planned = world.plan();
    assert_eq!(planned.refusals[0].guard, "wave-taken-away");
    assert!(planned.steps.is_empty());
    world.settings.waves.remove(0);
    assert_eq!(world.plan().refusals[0].guard, "wave-taken-away");
}

#[test]
fn a_wave_whose_accounts_have_left_is_not_passed_over() {
    let mut world = staged(vec![wave("canary", listed(&[3])), wave("all", None)]);
    world.leave(3);
    let planned = world.plan();
    assert_eq!(planned.refusals[0].guard, "empty-wave");
    assert!(planned.steps.is_empty());
}

#[test]
fn a_wave_whose_accounts_an_earlier_one_has_is_passed_over() {
    let mut world = staged(vec![
        wave("canary", listed(&[3])),
        wave("again", listed(&[3])),
        wave("all", None),
    ]);
    let planned = world.run(&BTreeSet::new());
    assert!(!ids(&planned).contains(&"update-wave:default:again"));
    assert_eq!(world.having(NEXT).len(), 6);
}

#[test]
fn what_has_begun_ends_before_a_wave_that_was_put_before_it() {
    let mut world = staged(vec![soaking("canary", &[3]), wave("all", None)]);
    world.run(&BTreeSet::new());
    world.settings.waves.insert(0, wave("early", listed(&[4])));
    assert!(world.plan().steps.is_empty(), "it soaks");
    world.sync.now += 600;
    let planned = world.plan();
    assert_eq!(
        ids(&planned)[..2],
        ["check-wave:default:canary", "update-wave:default:early"]
    );
}

#[test]
fn a_wave_that_nobody_was_left_of_is_drawn_anew_when_the_rollout_goes_on() {
    let mut world = staged(vec![wave("canary", listed(&[3])), wave("all", None)]);
    let rollout = world.rollout.as_mut().unwrap();
    let mut sweep = Sweep::over([id(3)]);
    sweep.members.get_mut(&id(3)).unwrap().outcome = Outcome::Gone;
    rollout.waves.push(WaveProgress {
        name: "canary".to_owned(),
        state: WaveState::Updated,
        sweep,
        known: BTreeSet::new(),
        updated_at: Some(NOW),
    });
    rollout.halt(vec!["nothing was tried out".to_owned()]);
    assert!(rollout.resume());
    assert!(rollout.waves.is_empty());
    // One that comes back may have an override still, which going back takes away.
    let mut back = rollout.clone();
    assert!(back.roll_back());
    assert!(back.reset.unwrap().members.contains_key(&id(3)));
    assert_eq!(ids(&world.plan())[0], "update-wave:default:canary");
}

#[test]
fn what_is_staged_brings_nothing_else_along() {
    for phase in [Phase::Staging, Phase::Rolling] {
        let mut world = staged(vec![wave("all", None)]);
        world.rollout.as_mut().unwrap().phase = phase;
        assert!(world.plan().refusals.is_empty());
        let stack_set = world.sync.profiles[0].stack_set.as_mut().unwrap();
        stack_set
            .tags
            .insert("owner".to_owned(), "another".to_owned());
        let planned = world.plan();
        assert_eq!(planned.refusals[0].guard, "definition-differs");
        assert!(planned.refusals[0].message.contains("tags"));
        assert!(planned.steps.is_empty());
    }
}

#[test]
fn while_a_version_is_staged_no_other_job_updates_the_stack_set() {
    let world = staged(vec![wave("all", None)]);
    let plan = |world: &World| {
        let mut sync = world.observed().sync;
        sync.profiles[0].stack_set.as_mut().unwrap().description = Some("another".to_owned());
        stackset_sync::plan(&sync, &world.desired()).unwrap()
    };
    let planned = plan(&world);
    assert_eq!(planned.refusals[0].guard, "rollout-open");
    assert!(planned.steps.is_empty(), "{:?}", ids(&planned));
    let mut free = world;
    free.rollout = None;
    free.define();
    assert_eq!(ids(&plan(&free)), ["update-stack-set:default"]);
}

#[test]
fn an_end_that_was_interrupted_is_gone_through_again() {
    let mut world = staged(vec![wave("all", None)]);
    let rollout = world.rollout.as_mut().unwrap();
    rollout.phase = Phase::Finishing;
    rollout.reset = Some(Sweep::over([id(3)]));
    world.define();
    assert_eq!(ids(&world.plan()), ["clear-overrides:default"]);
    let instances = &mut world.sync.profiles[0].instances;
    instances[2].status = InstanceStatus::Outdated;
    assert_eq!(
        ids(&world.plan()),
        ["promote:default", "clear-overrides:default"]
    );
}

#[test]
fn who_is_between_two_versions_is_known() {
    let mut rollout = Rollout::new("r".to_owned(), "default", GOOD, NEXT, NOW);
    rollout.phase = Phase::Rolling;
    let mut sweep = Sweep::over([id(3), id(4)]);
    sweep.asked.insert(id(3));
    sweep.operation = Some("one".to_owned());
    rollout.waves.push(WaveProgress {
        name: "canary".to_owned(),
        state: WaveState::Begun,
        sweep,
        known: BTreeSet::new(),
        updated_at: None,
    });
    assert!(rollout.is_changing(id(3)) && !rollout.is_changing(id(4)));
    assert_eq!(rollout.operations().collect::<Vec<_>>(), ["one"]);
    // Going back does not make the operation undone.
    assert!(rollout.roll_back());
    assert!(rollout.is_changing(id(3)));
    let sweep = &mut rollout.waves[0].sweep;
    sweep.settle(|_, asked| asked.clone());
    assert!(!rollout.is_changing(id(3)));
    assert_eq!(rollout.operations().count(), 0);
}

#[test]
fn who_left_while_the_rollout_went_back_does_not_keep_it_from_ending() {
    let mut world = staged(vec![soaking("canary", &[3]), wave("all", None)]);
    world.run(&BTreeSet::new());
    assert!(world.rollout.as_mut().unwrap().roll_back());
    world.leave(3);
    assert_eq!(
        ids(&world.plan()),
        ["revert:default", "check-revert:default", "unstage:default"]
    );
}

/// With one wave in this state.
fn with_wave(state: WaveState) -> Rollout {
    let mut rollout = Rollout::new("r".to_owned(), "default", GOOD, NEXT, NOW);
    rollout.phase = Phase::Rolling;
    rollout.waves.push(WaveProgress {
        name: "canary".to_owned(),
        state,
        sweep: Sweep::over([id(3)]),
        known: BTreeSet::new(),
        updated_at: None,
    });
    rollout
}

#[test]
fn a_wave_begins_in_the_window_and_after_the_gates_of_the_one_before() {
    let passed = with_wave(WaveState::Passed);
    assert_eq!(of_wave(&passed, "all", NEXT, true, false), Moment::Now);
    // The run was planned while it was open, and an earlier wave took hours.
    assert_eq!(of_wave(&passed, "all", NEXT, false, false), Moment::Closed);
    assert_eq!(of_wave(&passed, "all", GOOD, true, false), Moment::Moved);
    for state in [WaveState::Begun, WaveState::Updated] {
        assert_eq!(
            of_wave(&with_wave(state), "all", NEXT, true, false),
            Moment::Moved
        );
    }
    // The next operation of one that has begun waits for the window; the one under way is not cut off.
    let begun = with_wave(WaveState::Begun);
    assert_eq!(
        of_wave(&begun, "canary", NEXT, false, false),
        Moment::Closed
    );
    assert_eq!(of_wave(&begun, "canary", NEXT, false, true), Moment::Now);
    for phase in [Phase::RollingBack, Phase::Halted, Phase::Finishing] {
        let mut other = begun.clone();
        other.phase = phase;
        assert_eq!(of_wave(&other, "canary", NEXT, true, true), Moment::Moved);
    }
}

#[test]
fn gates_that_are_asked_too_late_halt_nothing() {
    assert_eq!(
        of_check(&with_wave(WaveState::Begun), "canary"),
        Moment::Moved
    );
    let mut updated = with_wave(WaveState::Updated);
    assert_eq!(of_check(&updated, "canary"), Moment::Now);
    assert_eq!(of_check(&updated, "all"), Moment::Moved);
    assert!(updated.roll_back());
    assert_eq!(of_check(&updated, "canary"), Moment::Moved);
}

#[test]
fn a_version_becomes_everybodys_in_the_window_and_after_all_gates() {
    let passed = with_wave(WaveState::Passed);
    assert_eq!(of_promotion(&passed, NEXT, true), Moment::Now);
    assert_eq!(of_promotion(&passed, NEXT, false), Moment::Closed);
    for state in [WaveState::Begun, WaveState::Updated] {
        assert_eq!(of_promotion(&with_wave(state), NEXT, true), Moment::Moved);
    }
    let mut begun = passed;
    begun.phase = Phase::Finishing;
    assert_eq!(of_promotion(&begun, NEXT, false), Moment::Now, "it goes on");
    begun.phase = Phase::RollingBack;
    assert_eq!(of_promotion(&begun, NEXT, true), Moment::Moved);
}

#[test]
fn a_version_leaves_the_template_when_nobody_has_it() {
    let mut rollout = with_wave(WaveState::Passed);
    assert_eq!(of_unstaging(&rollout), Moment::Moved);
    assert!(rollout.roll_back());
    for (outcome, moment) in [
        (Outcome::Due, Moment::Moved),
        (Outcome::Failed, Moment::Moved),
        (Outcome::Cancelled, Moment::Moved),
        (Outcome::Updated, Moment::Now),
        (Outcome::Gone, Moment::Now),
    ] {
        let reset = rollout.reset.as_mut().unwrap();
        reset.members.get_mut(&id(3)).unwrap().outcome = outcome;
        assert_eq!(of_unstaging(&rollout), moment, "{outcome:?}");
    }
}

#[test]
fn a_rollout_says_where_it_is() {
    let mut canary = wave("canary", listed(&[3]));
    canary.soak = 600;
    let mut world = World::new(3, vec![canary, wave("all", None)]);
    let place = |world: &World| world.rollout.as_ref().unwrap().place();
    world.rollout = Some(Rollout::new("r".to_owned(), "default", GOOD, NEXT, 0));
    assert_eq!(place(&world), "that of version next after good is staging");
    world.rollout = None;
    world.run(&BTreeSet::new());
    assert_eq!(
        place(&world),
        "that of version next after good is rolling, and its last wave, \"canary\", is updated"
    );
}
