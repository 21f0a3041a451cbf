//! Stacks of ours that were left in active accounts which no profile targets, and the remediation role that deletes them.

use std::collections::BTreeSet;

use onboarding_core::{
    inventory::AccountState,
    orphan_cleanup::{
        Deleted, Due, Evidence, Foreign, LeftStack, Reach, Tried, Why, allowance, due,
        is_the_left_one, still_left, turn, unclear_stacks,
    },
    plan::{Finding, Remembered, Risk, Severity, Unjudged},
    status::Reason,
};

use super::world::*;

/// What is expected when this happened.
type Case<E, T> = (E, fn(&mut T));

fn world() -> World {
    let mut world = World::new(30);
    world.deletes_leftovers();
    world.leaves_its_stack(7);
    world
}

fn steps(world: &World) -> Vec<String> {
    let plan = world.plan();
    plan.steps.into_iter().map(|step| step.id).collect()
}

#[test]
fn a_stack_that_was_left_goes_right_before_its_spot_account() {
    let world = world();
    let plan = world.plan();
    let leftover = format!("delete-leftover-stack:{}", id(7));
    assert_eq!(
        steps(&world),
        [leftover.as_str(), "delete-spot-account:act-00000007"]
    );
    let [first, last] = &plan.steps[..] else {
        panic!("{:?}", plan.steps)
    };
    assert!(first.risk == Risk::High && first.order < last.order);
    assert!(last.preconditions.contains(&format!("step:{leftover}")));
    let changes = first.changes.join("\n");
    for words in [STACK, "us-east-1", "SpotRole"] {
        assert!(changes.contains(words), "{words}: {changes}");
    }
    assert_eq!(
        stands(&plan, 7),
        Some((Reason::Orphaned, "outside-targets".to_owned()))
    );
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    // Whoever can read the account may know that it is gone, and then only the Spot account goes.
    let unclear = unclear_stacks(&world.observed, &world.desired, &world.rules);
    assert_eq!(unclear.unwrap(), [(spot(7), stack(7))]);
    let mut gone = world;
    gone.observed.known.get_mut(&spot(7)).unwrap().tombstone = Some(tombstone(7));
    assert_eq!(steps(&gone), ["delete-spot-account:act-00000007"]);
}

#[test]
fn a_person_deletes_what_may_be_used_or_be_another_ones() {
    let stays: [Case<&str, World>; 10] = [
        ("nobody asked for it", |world| {
            world.desired.remediation = None;
        }),
        ("the role is not meant to be there", |world| {
            let remediation = world.desired.remediation.as_mut().unwrap();
            remediation.leftover_units.clear();
        }),
        ("the stack is not one of a stack set of ours", |world| {
            let known = world.observed.known.get_mut(&spot(7)).unwrap();
            let by_hand = stack(7).as_str().replace(STACK, "Spot");
            known.owner.as_mut().unwrap().stack = by_hand.parse().unwrap();
        }),
        (
            "it is one of another profile, which the configuration has no more",
            |world| {
                let known = world.observed.known.get_mut(&spot(7)).unwrap();
                let other = stack(7).as_str().replace("onboarding-", "onboarding-2-");
                known.owner.as_mut().unwrap().stack = other.parse().unwrap();
            },
        ),
        (
            "it is one of another profile, whose name reads like a UUID's",
            |world| {
                let known = world.observed.known.get_mut(&spot(7)).unwrap();
                let other = stack(7).as_str().replace("onboarding-", "onboarding-cafe-");
                known.owner.as_mut().unwrap().stack = other.parse().unwrap();
            },
        ),
        ("it is one of another account", |world| {
            let known = world.observed.known.get_mut(&spot(7)).unwrap();
            known.owner.as_mut().unwrap().stack = stack(8);
        }),
        ("nothing tells which one it is", |world| {
            world
                .observed
                .known
                .get_mut(&spot(7))
                .unwrap()
                .owner
                .as_mut()
                .unwrap()
                .stack = format!(
                "arn:aws:cloudformation:us-east-1:{}:stack/spot-onboarding/direct",
                id(7)
            )
            .parse()
            .unwrap();
        }),
        ("the account has another stack of ours", |world| {
            let mut instance = world.observed.sync.profiles[0].instances[0].clone();
            instance.account = id(7);
            instance.stack_id = Some(stack(70).as_str().into());
            world.observed.sync.profiles[0].instances.push(instance);
        }),
        ("its Spot account is not linked any more", |world| {
            let record = world.record(7);
            record.aws_account = None;
            record.unlinked = true;
        }),
        ("a tombstone says that somebody else may use it", |world| {
            let mut tombstone = tombstone(7);
            tombstone.reason = onboarding_core::custom_resource::TombstoneReason::HeldByAnother;
            let known = world.observed.known.get_mut(&spot(7)).unwrap();
            known.tombstone = Some(tombstone);
        }),
    ];
    for (name, happened) in stays {
        let mut world = world();
        happened(&mut world);
        let plan = world.plan();
        let leftover = plan.steps.iter();
        let leftover = leftover.filter(|step| step.action == "delete-leftover-stack");
        assert_eq!(leftover.count(), 0, "{name}");
        assert!(deleted(&plan).is_empty(), "{name}");
        assert_eq!(stands(&plan, 7).unwrap().0, Reason::StackRemains, "{name}");
    }
    // The hint is for whoever has not heard of it.
    let mut off = world();
    off.desired.remediation = None;
    let words = off.plan().findings[0].message.clone();
    assert!(words.contains("remediation.leftover_stacks"), "{words}");
}

#[test]
fn what_keeps_a_spot_account_keeps_the_stack_that_was_left() {
    let kept: [Case<Reason, World>; 5] = [
        (Reason::Protected, |world| {
            world.desired.protected_accounts.insert(id(7));
        }),
        (Reason::Protected, |world| {
            world.rules.protected_ous = vec!["Unit1".parse().unwrap()];
        }),
        (Reason::StillRunning, |world| {
            let names = vec!["Elastigroup web".to_owned()];
            world.observed.running.insert(spot(7), names);
        }),
        (Reason::OverLimit, |world| world.rules.max_deletions = 0),
        (Reason::Suspended, |world| {
            world.becomes(7, AccountState::Suspended);
        }),
    ];
    for (reason, happened) in kept {
        let mut world = world();
        happened(&mut world);
        assert_eq!(steps(&world), Vec::<String>::new(), "{reason}");
        assert_eq!(stands(&world.plan(), 7).unwrap().0, reason);
    }
    let mut waits = world();
    let clock = clock(7, Why::OutsideTargets, NOW - 13 * DAY);
    waits.observed.clocks.insert(spot(7), clock);
    assert_eq!(waits.plan_now().steps.len(), 0);
    assert_eq!(stands(&waits.plan_now(), 7).unwrap().0, Reason::GracePeriod);
    waits.observed.clocks.get_mut(&spot(7)).unwrap().first_seen -= DAY;
    assert_eq!(waits.plan_now().steps.len(), 2);
    // With the word of a listing that shrank, nothing goes.
    let mut shrunk = world();
    shrunk.observed.previous_spot_count = Some(400);
    assert_eq!(steps(&shrunk), Vec::<String>::new());
}

#[test]
fn where_the_role_cannot_be_used_a_person_gets_the_command_and_why() {
    let mut world = world();
    world.long_ago();
    let asked = due(&world.observed, &world.desired, &world.rules).unwrap();
    let expected = Due {
        spot_account: spot(7),
        leftover: Some(stack(7)),
        is_begun: false,
    };
    assert_eq!(asked, [expected]);
    let why = "the role cannot be assumed".to_owned();
    world.observed.reach.insert(spot(7), Reach::Denied(why));
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.refusals.is_empty());
    assert_eq!(stands(&plan, 7).unwrap().0, Reason::StackRemains);
    let [finding] = &plan.findings[..] else {
        panic!("{:?}", plan.findings)
    };
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.fix.as_deref(), Reason::StackRemains.fix());
    let command = format!(
        "aws cloudformation delete-stack --region us-east-1 --stack-name {}",
        stack(7)
    );
    for words in [command.as_str(), "the role cannot be assumed"] {
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn a_stack_that_is_not_to_be_deleted_is_told_and_one_that_was_not_looked_at_needs_nobody() {
    let mut world = world();
    let why = "its termination protection is on".to_owned();
    world.observed.reach.insert(spot(7), Reach::Kept(why));
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.refusals.is_empty());
    let [finding] = &plan.findings[..] else {
        panic!("{:?}", plan.findings)
    };
    let words = &finding.message;
    assert!(
        words.contains("its termination protection is on"),
        "{words}"
    );
    assert!(!words.contains("delete-stack"), "{words}");
    let why = "looked at on another day".to_owned();
    world.observed.reach.insert(spot(7), Reach::Unknown(why));
    world.observed.running.remove(&spot(7));
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.refusals.is_empty() && plan.findings.is_empty());
    let (reason, words) = stands(&plan, 7).unwrap();
    assert_eq!(reason, Reason::StackRemains);
    assert!(words.contains("looked at on another day"), "{words}");
}

#[test]
fn a_stack_that_could_not_be_deleted_before_lets_the_others_go_first() {
    let mut world = world();
    world.observed.reach.insert(spot(7), Reach::FailedBefore);
    assert_eq!(deleted(&world.plan()), [7]);
    world.leaves_its_stack(8);
    world.rules.max_deletions = 1;
    assert_eq!(deleted(&world.plan()), [8]);
    // Also when it was begun: each try would use up the day's only one.
    world.rules.max_per_day = 1;
    world.observed.deleted = vec![begun(7)];
    assert_eq!(deleted(&world.plan()), Vec::<u64>::new());
    world.rules.max_deletions = 2;
    world.rules.max_per_day = 2;
    assert_eq!(deleted(&world.plan()), [7, 8]);
}

/// When a stack was tried, and whether that is known to have failed.
fn tried(at: i64, has_failed: bool) -> Tried {
    Tried { at, has_failed }
}

#[test]
fn a_try_that_came_to_nothing_lets_the_others_go_first_however_its_stack_looks() {
    let mut world = world();
    world.leaves_its_stack(8);
    world.rules.max_deletions = 1;
    world.long_ago();
    world.observed.clocks.get_mut(&spot(7)).unwrap().first_seen -= DAY;
    let order = |world: &World| {
        let asked = due(&world.observed, &world.desired, &world.rules).unwrap();
        let asked = asked.into_iter().map(|one| one.spot_account);
        asked.collect::<Vec<_>>()
    };
    for (last, first) in [
        (tried(NOW - 2 * DAY, false), 8),
        (tried(NOW - DAY, false), 8),
        (tried(NOW - 3600, true), 8),
        // Whoever asked may have died: it is followed.
        (tried(NOW - 3600, false), 7),
    ] {
        world.observed.tried = [(spot(7), last)].into();
        assert_eq!(deleted(&world.plan_now()), [first], "{last:?}");
        assert_eq!(order(&world)[0], spot(first), "{last:?}");
    }
    // Where nothing else waits it is tried again.
    world.observed.tried = [(spot(7), tried(NOW - 2 * DAY, true))].into();
    world.rules.max_deletions = 2;
    assert_eq!(deleted(&world.plan_now()), [7, 8]);
}

#[test]
fn stacks_that_could_not_be_deleted_take_turns() {
    let mut world = world();
    world.leaves_its_stack(8);
    world.rules.max_deletions = 1;
    for number in [7, 8] {
        let reach = &mut world.observed.reach;
        reach.insert(spot(number), Reach::FailedBefore);
    }
    let days = |seven: i64, eight: i64| {
        [
            (spot(7), tried(NOW - seven * DAY, true)),
            (spot(8), tried(NOW - eight * DAY, true)),
        ]
    };
    for (last, first) in [
        (days(1, 2).to_vec(), 8),
        (days(2, 1).to_vec(), 7),
        // One that no run of ours has tried.
        (days(1, 2)[..1].to_vec(), 8),
        (Vec::new(), 7),
    ] {
        world.observed.tried = last.into_iter().collect();
        assert_eq!(deleted(&world.plan()), [first]);
    }
}

/// A run before this one wrote down that the Spot account of a number is deleted, and nobody has seen what became of it.
fn begun(number: u64) -> Deleted {
    Deleted {
        spot_account: spot(number),
        account: id(number),
        of_this_run: false,
        is_settled: false,
    }
}

#[test]
fn what_was_begun_goes_first_and_is_not_counted_against_itself() {
    let mut world = world();
    world.rules.max_deletions = 1;
    world.rules.max_per_day = 1;
    world.leaves_its_stack(8);
    world.long_ago();
    world.observed.clocks.get_mut(&spot(7)).unwrap().first_seen -= DAY;
    assert_eq!(deleted(&world.plan_now()), [7]);
    world.observed.deleted = vec![begun(8)];
    assert_eq!(allowance(&world.observed, &world.rules, 29), 0);
    assert_eq!(deleted(&world.plan_now()), [8]);
    let asked = due(&world.observed, &world.desired, &world.rules).unwrap();
    let asked: Vec<_> = asked
        .iter()
        .map(|one| (one.is_begun, &one.spot_account))
        .collect();
    assert_eq!(asked, [(true, &spot(8)), (false, &spot(7))]);
    // Another one has used the day up.
    world.observed.deleted.push(begun(9));
    assert_eq!(deleted(&world.plan_now()), Vec::<u64>::new());
}

#[test]
fn of_many_stacks_the_oldest_and_each_day_others_are_looked_at() {
    let one = |number| Due {
        spot_account: spot(number),
        leftover: (number != 5).then(|| stack(number)),
        is_begun: number == 1,
    };
    let due: Vec<Due> = (1..=30).map(one).collect();
    let on_day = |day: i64| turn(&due, 10, day * DAY + 3600);
    // All of them, but for the one that waits for no stack.
    assert_eq!(turn(&due, 28, 0).len(), 29);
    // Whichever the rhythm of the runs is.
    for days in [1, 2, 7] {
        let mut looked_at = BTreeSet::new();
        for day in (20_000..20_000 + 40 * days).step_by(usize::try_from(days).unwrap()) {
            let now = on_day(day);
            assert_eq!((now.len(), &now), (11, &turn(&due, 10, day * DAY)));
            for oldest in [1, 2, 3, 4, 6, 7] {
                assert!(now.contains(&spot(oldest)), "{day} {oldest}");
            }
            looked_at.extend(now);
        }
        assert_eq!(looked_at.len(), 29, "{days}");
    }
    assert_eq!(turn(&due, 0, 0).len(), 1);
    assert_eq!(turn(&[], 10, 0).len(), 0);
}

#[test]
fn what_is_read_right_before_has_the_last_word_about_a_stack() {
    let fine = Evidence {
        protected: None,
        state: Some(AccountState::Active),
        in_scope: false,
        instance: None,
        linked: vec![linked(7, spot(7))],
    };
    let judged = |evidence: &Evidence| still_left(&spot(7), id(7), evidence, &[]);
    assert_eq!(judged(&fine), Ok(()));
    let running = ["Ocean cluster web".to_owned()];
    let refused = still_left(&spot(7), id(7), &fine, &running).unwrap_err();
    assert!(refused.contains("Ocean cluster web run in"), "{refused}");
    let changes: [Case<&str, Evidence>; 7] = [
        ("protected", |it| it.protected = Some("by name".to_owned())),
        ("targeted again", |it| it.in_scope = true),
        ("targeted again, or not active", |it| {
            it.state = Some(AccountState::Suspended);
        }),
        ("targeted again, or not active", |it| it.state = None),
        ("has an instance", |it| {
            it.instance = Some("spot-onboarding".parse().unwrap());
        }),
        ("is linked to act-00000008 as well", |it| {
            it.linked.push(linked(7, spot(8)));
        }),
        ("is not linked to", |it| it.linked.clear()),
    ];
    for (words, change) in changes {
        let mut evidence = fine.clone();
        change(&mut evidence);
        let refused = judged(&evidence).unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn a_stack_is_the_one_that_was_left_as_far_as_cloudformation_tells() {
    let role = ours(7).owner.unwrap().role;
    let fine = LeftStack {
        name: STACK,
        role: Some(role.as_str()),
        spot_account: Some("act-00000007"),
        is_protected: false,
    };
    let judged = |found: LeftStack<'_>| is_the_left_one(&stack(7), &role, &spot(7), found);
    assert_eq!(judged(fine), Ok(()));
    // It has no outputs while it could not be deleted, and none of a Spot account that it did not ask for.
    let silent = LeftStack {
        role: None,
        spot_account: None,
        ..fine
    };
    assert_eq!(judged(silent), Ok(()));
    let name = LeftStack {
        name: "StackSet-other-1",
        ..fine
    };
    assert!(matches!(judged(name), Err(Foreign::Name(_))));
    let other = LeftStack {
        role: Some("arn:aws:iam::000000000007:role/Other"),
        ..fine
    };
    assert!(matches!(judged(other), Err(Foreign::Role(_))));
    let other = LeftStack {
        spot_account: Some("act-00000008"),
        ..fine
    };
    assert!(matches!(judged(other), Err(Foreign::SpotAccount(_))));
    let protected = LeftStack {
        is_protected: true,
        ..fine
    };
    let words = judged(protected).unwrap_err().to_string();
    let command = "aws cloudformation update-termination-protection --no-enable-termination-protection --region us-east-1";
    assert!(words.contains(command), "{words}");
}

#[test]
fn what_a_run_did_not_look_at_is_not_gone() {
    let mut world = world();
    for number in [8, 9, 10] {
        world.leaves_its_stack(number);
    }
    world.long_ago();
    world.rules.max_deletions = 1;
    // The second is out of reach, the third is looked at on another day, and the fourth, after as many as may go, was not asked for.
    let (denied, later) = (
        Reach::Denied("no role".to_owned()),
        Reach::Unknown(String::new()),
    );
    world.observed.reach = [(spot(8), denied), (spot(9), later)].into();
    let asked = [spot(7), spot(8)];
    world.observed.running.retain(|id, _| asked.contains(id));
    let plan = world.plan_now();
    assert_eq!(deleted(&plan), [7]);
    assert_eq!(
        plan.unjudged.parts.keys().copied().collect::<Vec<_>>(),
        [id(9), id(10)]
    );
    let known = |number: u64, reason: &str| {
        let account = Some(id(number));
        let finding = Finding {
            id: format!("{reason}:{}", spot(number)),
            reason: reason.to_owned(),
            account,
            ..Finding::default()
        };
        Remembered {
            finding,
            profiles: BTreeSet::new(),
        }
    };
    let unjudged = Unjudged::of(&plan);
    for reason in ["stack-remains", "still-running"] {
        for (number, stays) in [(7, false), (8, false), (9, true), (10, true)] {
            let is_kept = unjudged.has(&known(number, reason));
            assert_eq!(is_kept, stays, "{reason} {number}");
        }
    }
    assert!(!unjudged.has(&known(10, "linked-to-several")));
}
