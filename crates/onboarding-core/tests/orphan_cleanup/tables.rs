//! Each kind of orphan, each thing that keeps one, each limit.

use std::collections::BTreeMap;

use onboarding_core::{
    inventory::{AccountState, SpotAccountRecord},
    orphan_cleanup::{
        Deleted, OrphanClock, SentCreation, Why, add_late, most_a_day, unclear_stacks,
    },
    plan::Severity,
    status::Reason,
};

use super::world::*;

#[test]
fn a_departed_account_loses_its_instance_and_then_its_spot_account() {
    let mut world = World::new(30);
    world.leaves(&[7]);
    let plan = world.plan();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        steps,
        [
            "delete-stack-instances:default:1",
            "delete-spot-account:act-00000007"
        ]
    );
    let last = &plan.steps[1];
    assert!(
        last.preconditions
            .contains(&"step:delete-stack-instances:default:1".to_owned()),
        "{last:?}"
    );
    assert_eq!(
        stands(&plan, 7),
        Some((Reason::Orphaned, "departed".to_owned()))
    );
    assert_eq!(stands(&plan, 8), Some((Reason::InUse, String::new())));
    assert!(plan.refusals.is_empty());

    world.without_instance(7);
    let plan = world.plan();
    assert_eq!((plan.steps.len(), deleted(&plan)), (1, vec![7]));
}

#[test]
fn nothing_goes_before_the_grace_period_and_its_clock_begins_when_it_was_first_seen() {
    let mut world = World::new(30);
    world.leaves(&[7]);
    world.without_instance(7);
    let kept = |first_seen| {
        let clock = clock(7, Why::Departed, first_seen);
        let last_seen = NOW;
        BTreeMap::from([(spot(7), OrphanClock { last_seen, ..clock })])
    };
    for (age, due) in [(13, false), (14, true)] {
        let since = NOW - age * DAY;
        let clock = clock(7, Why::Departed, since);
        world.observed.clocks.insert(spot(7), clock);
        let plan = world.plan_now();
        assert_eq!(!deleted(&plan).is_empty(), due, "{age}");
        assert_eq!(world.clocks(), kept(since));
    }
    world.observed.clocks.clear();
    let (reason, detail) = stands(&world.plan_now(), 7).unwrap();
    assert_eq!(reason, Reason::GracePeriod);
    assert!(detail.ends_with("14 d 0 h"), "{detail}");
    assert_eq!(world.clocks(), kept(NOW));
}

#[test]
fn the_grace_period_begins_anew_for_another_reason_or_owner_and_where_nobody_looked() {
    let mut world = World::new(30);
    world.leaves(&[7]);
    world.without_instance(7);
    let long = clock(7, Why::Departed, NOW - 30 * DAY);
    let mut due = |clock: OrphanClock| {
        world.observed.clocks = BTreeMap::from([(spot(7), clock)]);
        let is_due = deleted(&world.plan_now()) == [7];
        let first_seen = world.clocks()[&spot(7)].first_seen;
        assert_eq!(first_seen == NOW, !is_due);
        (is_due, stands(&world.plan_now(), 7).unwrap().1)
    };
    let seen = |last_seen| OrphanClock {
        last_seen,
        ..long.clone()
    };
    assert!(due(long.clone()).0 && due(seen(NOW - 3 * DAY)).0);
    // Nobody looked for longer than may be: it may have come back and left again.
    let (is_due, why) = due(seen(NOW - 3 * DAY - 1));
    assert!(!is_due && why.contains("began anew"), "{why}");
    assert!(
        why.contains("3 d 0 h") && why.contains("`max_gap`"),
        "{why}"
    );
    // It was closed, of another account, or another stack's, when it was seen last.
    for other in [
        clock(7, Why::Closed, NOW - 30 * DAY),
        OrphanClock {
            account: id(8),
            ..long.clone()
        },
        OrphanClock {
            owner: Some(stack(90)),
            ..long.clone()
        },
        OrphanClock {
            owner: None,
            ..long.clone()
        },
    ] {
        assert!(!due(other.clone()).0, "{other:?}");
    }
}

#[test]
fn an_account_that_may_come_back_waits_without_a_clock() {
    for (state, expected, orphan) in [
        (AccountState::Suspended, Reason::Suspended, false),
        (AccountState::PendingClosure, Reason::PendingClosure, false),
        (AccountState::Unknown, Reason::StateUnknown, false),
        (AccountState::Closed, Reason::Orphaned, true),
        (AccountState::Active, Reason::InUse, false),
    ] {
        let mut world = World::new(30);
        world.becomes(7, state);
        world.without_instance(7);
        let plan = world.plan();
        assert_eq!(stands(&plan, 7).unwrap().0, expected, "{state:?}");
        assert_eq!(
            deleted(&plan),
            if orphan { vec![7] } else { vec![] },
            "{state:?}"
        );
        let kept = world.clocks();
        assert_eq!(kept.contains_key(&spot(7)), orphan, "{state:?}");
    }
}

#[test]
fn what_is_not_ours_is_reported_and_never_deleted() {
    let mut world = World::new(30);
    world.leaves(&[2, 3, 4, 5]);
    // Somebody else had linked it, we only linked it, it is linked elsewhere by now, we never saw it.
    let owner = &mut world.observed.known.get_mut(&spot(2)).unwrap().owner;
    owner.as_mut().unwrap().is_adopted = true;
    world.observed.known.get_mut(&spot(3)).unwrap().is_created = false;
    world.record(4).aws_account = Some(id(9));
    world.observed.known.remove(&spot(5));
    let plan = world.plan();
    assert!(deleted(&plan).is_empty());
    for (number, reason) in [
        (2, Some(Reason::NotOurs)),
        (3, Some(Reason::NotOurs)),
        (4, Some(Reason::LinkedElsewhere)),
    ] {
        assert_eq!(stands(&plan, number).map(|(reason, _)| reason), reason);
    }
    let found: Vec<(&str, Severity)> = plan
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.severity))
        .collect();
    assert!(found.contains(&("unknown-spot-account:act-00000005", Severity::Info)));
    assert!(found.contains(&("not-ours:act-00000002", Severity::Warning)));

    // Once the default account is named, what we linked and did not make may go, and that one never.
    world.rules.default_account = Some(spot(1));
    assert_eq!(deleted(&world.plan()), [3]);
    world.rules.default_account = Some(spot(3));
    assert!(deleted(&world.plan()).is_empty());
}

#[test]
fn what_is_protected_stays_also_after_its_account_left() {
    let protected = |protect: fn(&mut World)| {
        let mut world = World::new(30);
        world.leaves(&[7]);
        world.without_instance(7);
        protect(&mut world);
        let plan = world.plan();
        assert!(deleted(&plan).is_empty());
        let (reason, detail) = stands(&plan, 7).unwrap();
        assert_eq!(reason, Reason::Protected);
        detail
    };
    let by = [
        protected(|world| {
            world.desired.protected_accounts.insert(id(7));
        }),
        protected(|world| world.rules.protected_names = vec!["ACCOUNT 7".parse().unwrap()]),
        protected(|world| world.rules.protected_names = vec!["name 7".parse().unwrap()]),
        protected(|world| world.rules.protected_ous = vec!["Unit1".parse().unwrap()]),
        protected(|world| world.rules.protected_ous = vec![ou(1).as_str().parse().unwrap()]),
        protected(|world| world.rules.protected_ous = vec!["root".parse().unwrap()]),
        protected(|world| {
            world.rules.protected_ous = vec!["Unit2".parse().unwrap()];
            world.observed.places.clear();
        }),
    ];
    assert!(
        by[0].contains("protected_accounts") && by[3].contains("Unit1"),
        "{by:?}"
    );
    let mut world = World::new(30);
    world.rules.protected_ous = vec!["Unit9".parse().unwrap()];
    let error =
        onboarding_core::orphan_cleanup::plan(&world.observed, &world.desired, &world.rules);
    assert!(error.unwrap_err().to_string().contains("Unit9"));
}

#[test]
fn what_runs_keeps_the_spot_account_and_is_named() {
    let mut world = World::new(30);
    world.leaves(&[7, 8]);
    world.without_instance(7);
    world.without_instance(8);
    let running = vec!["web".to_owned(), "cluster".to_owned()];
    world.observed.running.insert(spot(7), running);
    let plan = world.plan();
    assert_eq!(deleted(&plan), [8]);
    let (reason, detail) = stands(&plan, 7).unwrap();
    assert_eq!(reason, Reason::StillRunning);
    assert!(detail.contains("web, cluster"), "{detail}");
    assert_eq!(plan.findings[0].id, "still-running:act-00000007");
    // Not asked is not idle.
    world.observed.running.clear();
    assert!(deleted(&world.plan()).is_empty());
}

#[test]
fn the_oldest_go_first_and_the_limits_of_run_day_and_share_hold() {
    let mut world = World::new(60);
    let gone = [3, 4, 5, 6];
    world.leaves(&gone);
    for number in gone {
        world.without_instance(number);
        let age = i64::try_from(number).unwrap();
        let clock = clock(number, Why::Departed, NOW - (20 + age) * DAY);
        world.observed.clocks.insert(spot(number), clock);
    }
    let limited = |world: &World, guard: &str, expected: &[u64]| {
        let plan = world.plan();
        let mut deleted = deleted(&plan);
        deleted.sort_unstable();
        assert_eq!(deleted, expected);
        assert_eq!(plan.refusals[0].guard, guard, "{:?}", plan.refusals);
        assert!(!plan.refusals[0].whole_plan);
        let left = gone.iter().filter(|number| !expected.contains(number));
        for number in left {
            assert_eq!(stands(&plan, *number).unwrap().0, Reason::OverLimit);
        }
    };
    world.rules.max_deletions = 2;
    limited(&world, "max-deletions", &[5, 6]);
    let earlier = |of_this_run| Deleted {
        spot_account: spot(90),
        account: id(90),
        of_this_run,
        is_settled: true,
    };
    world.observed.deleted = vec![earlier(true)];
    limited(&world, "max-deletions", &[6]);
    world.observed.deleted = vec![earlier(false)];
    limited(&world, "max-deletions", &[5, 6]);
    world.rules.max_per_day = 2;
    limited(&world, "max-per-day", &[6]);
    world.rules.max_per_day = 10;
    world.rules.max_deletions = 10;
    // 59 are ours, and one more was deleted today: 3 of 60.
    world.rules.max_share = 0.05;
    limited(&world, "max-percent", &[5, 6]);
    assert_eq!(most_a_day(&world.observed, &world.rules, 59), 3);
    // What may have been deleted uses the limits up as well, and is not said to be gone.
    world.observed.deleted[0].is_settled = false;
    limited(&world, "max-percent", &[5, 6]);
    world.rules.max_per_day = 2;
    limited(&world, "max-per-day", &[6]);
    assert_eq!(most_a_day(&world.observed, &world.rules, 59), 2);
    world.observed.deleted[0].of_this_run = true;
    assert_eq!(stands(&world.plan(), 90), None);
    world.observed.deleted[0] = earlier(false);
    world.rules.max_per_day = 10;
    world.rules.max_share = 0.0;
    limited(&world, "max-percent", &[]);
    assert_eq!(stands(&world.plan(), 90), None);
    world.observed.deleted = vec![earlier(true)];
    assert_eq!(stands(&world.plan(), 90).unwrap().0, Reason::CleanedUp);
}

#[test]
fn of_several_links_only_the_one_that_a_person_names_goes() {
    let mut world = World::new(30);
    let second = spot(90);
    let record = linked(7, second.clone());
    world.observed.sync.spot_accounts.push(record);
    world.observed.previous_spot_count = Some(world.observed.sync.spot_accounts.len());
    let mut known = ours(7);
    known.owner.as_mut().unwrap().stack = stack(90);
    world.observed.known.insert(second.clone(), known);
    world.observed.running.insert(second.clone(), Vec::new());
    let plan = world.plan();
    assert_eq!(stands(&plan, 7).unwrap().0, Reason::LinkedToSeveral);
    assert_eq!(
        (deleted(&plan), plan.findings[0].severity),
        (vec![], Severity::Error)
    );

    world.rules.duplicates = [second.clone()].into();
    assert_eq!(deleted(&world.plan()), [90]);
    // Not all of them, and not the one that the live stack has linked.
    world.rules.duplicates = [second, spot(7)].into();
    assert!(deleted(&world.plan()).is_empty());
    world.rules.duplicates = [spot(7)].into();
    let plan = world.plan();
    assert_eq!(
        (deleted(&plan), stands(&plan, 7).unwrap().0),
        (vec![], Reason::StackRemains)
    );
}

#[test]
fn a_link_that_the_runner_made_itself_is_never_taken_for_one_whose_stack_is_gone() {
    let mut world = World::new(30);
    let own = format!(
        "arn:aws:cloudformation:us-east-1:{}:stack/spot-onboarding/direct",
        id(7)
    );
    let owner = &mut world.observed.known.get_mut(&spot(7)).unwrap().owner;
    owner.as_mut().unwrap().stack = own.parse().unwrap();
    // Of two, it may be the one of the live stack.
    let twin = linked(7, spot(90));
    world.observed.sync.spot_accounts.push(twin);
    world.rules.duplicates = [spot(7)].into();
    let plan = world.plan();
    assert_eq!(
        (deleted(&plan), stands(&plan, 7).unwrap().0),
        (vec![], Reason::StackRemains)
    );
    // Nobody asks CloudFormation for a stack of that id.
    world.observed.sync.spot_accounts.pop();
    world.is_untargeted(7);
    world.without_instance(7);
    world.rules.remove_outside_targets = true;
    assert_eq!(stands(&world.plan(), 7).unwrap().0, Reason::StackRemains);
    let unclear = unclear_stacks(&world.observed, &world.desired, &world.rules);
    assert_eq!(unclear.unwrap(), []);
}

#[test]
fn one_that_was_never_linked_goes_when_its_account_does_not_need_it() {
    let unlinked = |world: &mut World, number: u64| {
        let record = world.record(number);
        record.aws_account = None;
        record.unlinked = true;
        let known = world.observed.known.get_mut(&spot(number)).unwrap();
        known.owner = None;
    };
    // The next enrollment takes it.
    let mut world = World::new(30);
    unlinked(&mut world, 7);
    assert!(deleted(&world.plan()).is_empty());
    // The account has got another one.
    let other: SpotAccountRecord = linked(7, spot(90));
    world.observed.sync.spot_accounts.push(other);
    let plan = world.plan();
    assert_eq!(deleted(&plan), [7]);
    // No profile targets it.
    let mut world = World::new(30);
    unlinked(&mut world, 7);
    world.is_untargeted(7);
    world.without_instance(7);
    assert_eq!(deleted(&world.plan()), [7]);
    // One that we had linked was unlinked by somebody: its stack and role may be there still, whoever targets the account.
    let mut world = World::new(30);
    let owner = world.observed.known[&spot(7)].owner.clone();
    unlinked(&mut world, 7);
    world.observed.known.get_mut(&spot(7)).unwrap().owner = owner;
    let other: SpotAccountRecord = linked(7, spot(90));
    world.observed.sync.spot_accounts.push(other);
    assert!(deleted(&world.plan()).is_empty());
    world.observed.sync.spot_accounts.pop();
    world.is_untargeted(7);
    world.without_instance(7);
    assert!(deleted(&world.plan()).is_empty());
}

/// A Spot account that is listed beside those of the world, and that nothing runs in.
fn listed(world: &mut World, number: u64, name: String, unlinked: bool) {
    world.observed.sync.spot_accounts.push(SpotAccountRecord {
        id: spot(number),
        name: name.into(),
        aws_account: None,
        unlinked,
    });
    world.observed.running.insert(spot(number), Vec::new());
}

/// A creation for an account that was given up at a moment.
fn sent(number: u64, name: String, at: i64) -> SentCreation {
    SentCreation {
        account: id(number),
        name,
        at,
    }
}

#[test]
fn what_a_creation_of_ours_made_late_is_ours_and_goes() {
    let mut world = World::new(30);
    listed(&mut world, 90, id(7).to_string(), true);
    listed(&mut world, 91, format!("aws-{}", id(8)), true);
    // Of another cloud, with another name, or for an account that our state has nothing for.
    listed(&mut world, 92, id(9).to_string(), false);
    listed(&mut world, 93, format!("{}-old", id(10)), true);
    listed(&mut world, 94, id(77).to_string(), true);
    assert!(deleted(&world.plan()).is_empty());
    let creations = [7, 9, 10, 77].map(|number| sent(number, id(number).to_string(), NOW));
    let creations = [&creations[..], &[sent(8, format!("aws-{}", id(8)), NOW)]].concat();
    add_late(&mut world.observed, &creations);
    assert!(deleted(&world.plan_now()).is_empty(), "the grace period");
    assert_eq!(world.clocks().len(), 2);
    assert_eq!(deleted(&world.plan()), [90, 91]);
    // While its AWS account has no linked one, the next enrollment may take it.
    let record = world.record(7);
    record.aws_account = None;
    record.unlinked = true;
    world.observed.known.get_mut(&spot(7)).unwrap().owner = None;
    assert_eq!(deleted(&world.plan()), [91]);
}

#[test]
fn what_only_has_the_name_of_ours_is_a_strangers() {
    let plain = |number| id(number).to_string();
    let mut world = World::new(30);
    // No creation of ours; one of another name; one so long ago that what it made would have been seen; and one for two.
    for (number, account) in [(90, 7), (91, 8), (92, 9), (93, 10), (94, 10)] {
        listed(&mut world, number, plain(account), true);
    }
    let creations = [
        sent(8, format!("aws-{}", id(8)), NOW),
        sent(9, plain(9), NOW - 31 * DAY),
        sent(10, plain(10), NOW),
    ];
    let before = world.observed.known.clone();
    add_late(&mut world.observed, &creations);
    assert_eq!(world.observed.known, before);
    let plan = world.plan();
    assert!(deleted(&plan).is_empty());
    let strangers = plan.findings.iter();
    let strangers = strangers.filter(|one| one.reason == "unknown-spot-account");
    let strangers: Vec<_> = strangers
        .map(|one| (one.id.as_str(), one.severity))
        .collect();
    let expected = (90..=94).map(|number| format!("unknown-spot-account:{}", spot(number)));
    let expected: Vec<String> = expected.collect();
    let expected = expected.iter().map(|id| (id.as_str(), Severity::Info));
    assert_eq!(strangers, expected.collect::<Vec<_>>());
    // Seen soon after the creation, it stays what it was.
    let clock = OrphanClock {
        owner: None,
        account: id(9),
        ..clock(9, Why::NeverLinked, NOW - 20 * DAY)
    };
    world.observed.clocks.insert(spot(92), clock);
    add_late(&mut world.observed, &creations);
    assert_eq!(deleted(&world.plan_now()), [92]);
}

#[test]
fn an_account_that_nobody_targets_is_cleaned_up_only_where_that_is_asked_for() {
    let mut world = World::new(30);
    world.is_untargeted(7);
    let plan = world.plan();
    assert_eq!(
        (plan.steps.len(), stands(&plan, 7).unwrap().0),
        (0, Reason::OutsideTargets)
    );
    world.rules.remove_outside_targets = true;
    let plan = world.plan();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    let instance = format!("delete-stack:default:{}", id(7));
    assert_eq!(
        steps,
        [instance.as_str(), "delete-spot-account:act-00000007"]
    );
    assert_eq!(plan.steps[0].action, "delete-stacks");
    let stacks = &plan.steps[0].payload["stacks"];
    assert_eq!(stacks[id(7).to_string()], stack(7).as_str());
    assert!(
        plan.steps[1]
            .preconditions
            .contains(&format!("step:{instance}"))
    );

    // Without the instance, only a tombstone tells that the stack is gone.
    world.without_instance(7);
    let plan = world.plan();
    assert_eq!(
        (plan.steps.len(), stands(&plan, 7).unwrap().0),
        (0, Reason::StackRemains)
    );
    assert!(
        plan.findings[0]
            .message
            .contains("aws cloudformation delete-stack")
    );
    world.observed.known.get_mut(&spot(7)).unwrap().tombstone = Some(tombstone(7));
    assert_eq!(deleted(&world.plan()), [7]);
}

#[test]
fn a_listing_that_is_empty_or_shrank_removes_nothing() {
    let shrinks = |shrink: fn(&mut World), whole: bool| {
        let mut world = World::new(40);
        world.leaves(&[7]);
        world.without_instance(7);
        assert_eq!(deleted(&world.plan()), [7]);
        shrink(&mut world);
        let plan = world.plan();
        assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1));
        assert_eq!(plan.refusals[0].guard, "shrink-guard");
        assert!(plan.refusals[0].whole_plan);
        assert_eq!(plan.accounts.is_empty(), whole);
        plan.refusals[0].message.clone()
    };
    let by = [
        shrinks(
            |world| world.observed.sync.previous_account_count = Some(400),
            true,
        ),
        shrinks(|world| world.organization().accounts.clear(), true),
        shrinks(|world| world.observed.previous_spot_count = Some(400), true),
        shrinks(|world| world.observed.sync.spot_accounts.clear(), true),
        shrinks(|world| world.observed.previous_spot_count = None, false),
        shrinks(
            |world| world.observed.sync.previous_account_count = None,
            false,
        ),
    ];
    assert!(by[2].contains("the Spot organization lists"), "{by:?}");
    // What was never compared stands in nobody's way where nothing would be removed.
    let mut world = World::new(40);
    world.observed.previous_spot_count = None;
    assert!(world.plan().refusals.is_empty());
}
