//! What holds of every plan, whatever the organization, Spot and our state look like.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    inventory::AccountState,
    orphan_cleanup::{CleanupAction, Deleted, Reach, Why},
    status::Standing,
};
use proptest::prelude::*;

use super::world::*;

const ACCOUNTS: u64 = 24;

/// What became of one account.
#[derive(Debug, Clone)]
struct Fate {
    /// None: it left the organization.
    state: Option<AccountState>,
    is_targeted: bool,
    has_instance: bool,
    is_linked: bool,
    has_twin: bool,
    is_ours: bool,
    is_created: bool,
    is_adopted: bool,
    is_protected: bool,
    runs: bool,
    has_tombstone: bool,
    is_out_of_reach: bool,
    age: i64,
}

fn fate() -> impl Strategy<Value = Fate> {
    let state = prop_oneof![
        3 => Just(None),
        3 => Just(Some(AccountState::Active)),
        2 => Just(Some(AccountState::Closed)),
        1 => Just(Some(AccountState::Suspended)),
        1 => Just(Some(AccountState::PendingClosure)),
        1 => Just(Some(AccountState::Unknown)),
    ];
    let often = || prop::bool::weighted(0.8);
    let seldom = || prop::bool::weighted(0.2);
    (
        (state, often(), any::<bool>(), often(), seldom(), often()),
        (
            often(),
            seldom(),
            seldom(),
            seldom(),
            any::<bool>(),
            seldom(),
            0_i64..30,
        ),
    )
        .prop_map(|(one, two)| Fate {
            state: one.0,
            is_targeted: one.1,
            has_instance: one.2,
            is_linked: one.3,
            has_twin: one.4,
            is_ours: one.5,
            is_created: two.0,
            is_adopted: two.1,
            is_protected: two.2,
            runs: two.3,
            has_tombstone: two.4,
            is_out_of_reach: two.5,
            age: two.6,
        })
}

/// What is asked for of accounts that nobody targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outside {
    /// Nothing.
    Kept,
    /// They are cleaned up.
    Removed,
    /// Stacks that were left there as well.
    WithLeftovers,
}

fn outside() -> impl Strategy<Value = Outside> {
    prop_oneof![
        Just(Outside::Kept),
        Just(Outside::Removed),
        Just(Outside::WithLeftovers)
    ]
}

fn world(fates: &[Fate], outside: Outside) -> World {
    let mut world = World::new(ACCOUNTS);
    if outside == Outside::WithLeftovers {
        world.deletes_leftovers();
    }
    world.rules.remove_outside_targets = outside != Outside::Kept;
    world.rules.max_deletions = 1000;
    world.rules.max_per_day = 1000;
    world.desired.removal.max_removals = 1000;
    for (number, fate) in (2..=ACCOUNTS).zip(fates) {
        match fate.state {
            None => world.leaves(&[number]),
            Some(state) => world.becomes(number, state),
        }
        if !fate.is_targeted && fate.state.is_some() {
            world.is_untargeted(number);
        }
        if !fate.has_instance {
            world.without_instance(number);
        }
        if !fate.is_linked {
            let record = world.record(number);
            record.aws_account = None;
            record.unlinked = true;
        }
        if fate.has_twin {
            let twin = linked(number, spot(100 + number));
            world.observed.sync.spot_accounts.push(twin);
        }
        let known = world.observed.known.get_mut(&spot(number)).unwrap();
        known.is_created = fate.is_created;
        known.owner.as_mut().unwrap().is_adopted = fate.is_adopted;
        known.tombstone = fate.has_tombstone.then(|| tombstone(number));
        if !fate.is_ours {
            world.observed.known.remove(&spot(number));
        }
        if fate.is_out_of_reach {
            let why = "not there".to_owned();
            world
                .observed
                .reach
                .insert(spot(number), Reach::Denied(why));
        }
        if fate.is_protected {
            world.desired.protected_accounts.insert(id(number));
        }
        if fate.runs {
            let running = vec!["group".to_owned()];
            world.observed.running.insert(spot(number), running);
        }
    }
    world.observed.previous_spot_count = Some(world.observed.sync.spot_accounts.len());
    world.long_ago();
    for (number, fate) in (2..=ACCOUNTS).zip(fates) {
        if let Some(clock) = world.observed.clocks.get_mut(&spot(number)) {
            clock.first_seen = NOW - fate.age * DAY;
        }
    }
    world
}

/// The world after all steps of its plan, and how much they removed.
fn applied(mut world: World) -> (World, usize) {
    let plan = world.plan();
    let taken_out = plan.steps.iter();
    let taken_out = taken_out.filter(|step| step.action != "delete-spot-account");
    for step in taken_out {
        for account in &step.accounts {
            let instances = &mut world.observed.sync.profiles[0].instances;
            instances.retain(|instance| instance.account != *account);
        }
    }
    for number in deleted(&plan) {
        let account = world.observed.known.remove(&spot(number)).unwrap().account;
        let spot_accounts = &mut world.observed.sync.spot_accounts;
        spot_accounts.retain(|record| record.id != spot(number));
        world.observed.deleted.push(Deleted {
            spot_account: spot(number),
            account: account.unwrap(),
            of_this_run: true,
            is_settled: true,
        });
    }
    let left = world.observed.sync.spot_accounts.len();
    world.observed.previous_spot_count = Some(left);
    (world, plan.steps.len())
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(fate(), usize::try_from(ACCOUNTS - 1).unwrap())
}

proptest! {
    #[test]
    fn only_what_is_ours_idle_old_and_unprotected_is_touched(fates in fates(), outside in outside()) {
        let world = world(&fates, outside);
        let plan = world.plan();
        let deleted: Vec<_> = deleted(&plan).into_iter().map(id).collect();
        for step in &plan.steps {
            for account in &step.accounts {
                prop_assert!(!world.desired.protected_accounts.contains(account), "{step:?}");
            }
            if step.action != "delete-spot-account" {
                // Instances and stacks go only where the Spot account goes as well.
                prop_assert!(step.accounts.iter().all(|account| deleted.contains(account)), "{step:?}");
                if step.action == "delete-leftover-stack" {
                    let number: u64 = step.accounts[0].to_string().parse().unwrap();
                    let fate = &fates[usize::try_from(number - 2).unwrap()];
                    prop_assert!(outside == Outside::WithLeftovers, "{step:?}");
                    let is_left = !fate.is_targeted && !fate.has_instance && !fate.has_tombstone;
                    let is_sure = fate.state == Some(AccountState::Active) && fate.is_linked && !fate.has_twin;
                    prop_assert!(is_left && is_sure && !fate.runs && !fate.is_out_of_reach, "{fate:?}");
                    // Its Spot account waits for it.
                    let built = format!("step:{}", step.id);
                    let mut after = plan.steps.iter().filter(|other| other.preconditions.contains(&built));
                    prop_assert!(after.all(|other| other.accounts == step.accounts && other.order > step.order));
                    prop_assert!(plan.steps.iter().any(|other| other.preconditions.contains(&built)));
                }
                continue;
            }
            let action = serde_json::from_value(step.payload.clone()).unwrap();
            let CleanupAction::DeleteSpotAccount { spot_account, why, .. } = action else {
                panic!("{step:?}");
            };
            let number: u64 = spot_account.as_str()[4..].parse().unwrap();
            let fate = &fates[usize::try_from(number - 2).unwrap()];
            prop_assert!(fate.is_ours && fate.is_created && !fate.is_adopted && !fate.runs, "{fate:?}");
            prop_assert!(fate.age >= 14, "{fate:?}");
            let expected = match fate.state {
                None => why == Why::Departed,
                Some(AccountState::Closed) => why == Why::Closed,
                Some(AccountState::Active) if fate.is_linked => {
                    outside != Outside::Kept && !fate.is_targeted && why == Why::OutsideTargets
                }
                Some(AccountState::Active) => matches!(why, Why::NeverLinked | Why::OutsideTargets),
                Some(_) => false,
            };
            prop_assert!(expected, "{why} {fate:?}");
            prop_assert!(!(fate.has_twin && fate.is_linked), "{fate:?}");
        }
        for row in plan.accounts.iter().filter(|row| row.standing == Standing::Due) {
            prop_assert!(plan.steps.iter().any(|step| step.accounts.contains(&row.account)), "{row:?}");
        }
    }

    #[test]
    fn a_shrunk_or_empty_listing_yields_no_step(fates in fates(), which in 0..4) {
        let mut world = world(&fates, Outside::WithLeftovers);
        let accounts = world.observed.sync.organization.accounts.len();
        let listed = world.observed.sync.spot_accounts.len();
        match which {
            0 => world.observed.sync.previous_account_count = Some(accounts * 2),
            1 => world.organization().accounts.clear(),
            2 => world.observed.previous_spot_count = Some(listed * 2),
            _ => world.observed.sync.spot_accounts.clear(),
        }
        let plan = world.plan();
        prop_assert!(plan.steps.is_empty() && plan.refusals.iter().any(|refusal| refusal.whole_plan));
    }

    #[test]
    fn no_run_exceeds_its_limits(
        fates in fates(),
        (run, day, share) in (0_usize..6, 0_usize..6, 0_u8..=100),
        (of_run, of_day, unsettled) in (0_usize..3, 0_usize..3, 0_usize..3),
    ) {
        let mut world = world(&fates, Outside::WithLeftovers);
        world.rules.max_deletions = run;
        world.rules.max_per_day = day;
        world.rules.max_share = f64::from(share) / 100.0;
        let earlier = |of_this_run, is_settled| Deleted {
            spot_account: spot(999),
            account: id(999),
            of_this_run,
            is_settled,
        };
        world.observed.deleted.extend((0..of_run).map(|_| earlier(true, true)));
        world.observed.deleted.extend((0..of_day).map(|_| earlier(false, true)));
        world.observed.deleted.extend((0..unsettled).map(|_| earlier(false, false)));
        let plan = world.plan();
        let count = deleted(&plan).len();
        let stacks = plan.steps.iter().filter(|step| step.action == "delete-leftover-stack");
        prop_assert!(stacks.count() <= count);
        let that_day = of_run + of_day + unsettled;
        prop_assert!(count <= run.saturating_sub(of_run));
        prop_assert!(count <= day.saturating_sub(that_day));
        let ours = world.observed.known.len() + of_run + of_day;
        let share = (ours as f64 * world.rules.max_share).ceil();
        prop_assert!((count + that_day) as f64 <= share.max(that_day as f64));
    }

    #[test]
    fn the_plan_after_apply_is_empty(fates in fates(), outside in outside()) {
        let (mut world, mut steps) = applied(world(&fates, outside));
        // What was deleted last may have been the other of two.
        for _ in 0..2 {
            if steps > 0 {
                (world, steps) = applied(world);
            }
        }
        prop_assert_eq!(world.plan().steps.len(), 0);
    }
}
