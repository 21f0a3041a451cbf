//! Whatever happens to accounts between two looks, and wherever a run breaks off, between two steps or in the middle of one:
//! `stackset-sync` and `enroll` bring every active account to exactly one linked Spot account with a role, or say why a person must,
//! and then have nothing left to do. `orphan-cleanup` beside them takes nothing that anybody needs, and leaves nothing of who is gone.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

mod cleanup;
mod model;

use std::collections::BTreeSet;

use onboarding_core::{
    stackset_sync::past_links::{LEFTOVER, is_about_links},
    status::Reason,
};
use proptest::{prelude::*, test_runner::TestCaseError};

use self::model::{Model, Setting, number_of};
use crate::world::*;

/// What may happen to an account, by number; those that are not there join.
#[derive(Debug, Clone, Copy)]
enum Change {
    Join(u64),
    Move(u64),
    Rename(u64),
    Suspend(u64),
    Activate(u64),
    Close(u64),
    Leave(u64),
    /// At Spot: the link is taken away, the account deleted, renamed, its product switched off.
    Unlink(u64),
    DeleteAtSpot(u64),
    RenameAtSpot(u64),
    SwitchOff(u64),
    /// In the account: the role that Spot uses is deleted, or changed; stacks that no stack set has are deleted.
    DeleteRole(u64),
    TamperWithRole(u64),
    DeleteLeftovers(u64),
    /// Its stack instance is taken out, and the stack is kept.
    TakeOut(u64),
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    To(Change),
    /// A run of one job breaks off after so many steps; the next one may have reached some of its accounts.
    Run {
        job: Job,
        steps: usize,
        reaches: Option<usize>,
    },
    /// A whole run, in which this happens after so many steps.
    Meets {
        job: Job,
        change: Change,
        after: usize,
    },
}

/// Whose run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Sync,
    Enroll,
    CleanUp,
}

fn job() -> impl Strategy<Value = Job> {
    prop_oneof![
        2 => Just(Job::Sync),
        2 => Just(Job::Enroll),
        1 => Just(Job::CleanUp),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let account = || 2..6_u64;
    prop_oneof![
        4 => account().prop_map(Change::Join),
        3 => account().prop_map(Change::Move),
        1 => account().prop_map(Change::Rename),
        1 => account().prop_map(Change::Suspend),
        1 => account().prop_map(Change::Activate),
        1 => account().prop_map(Change::Close),
        1 => account().prop_map(Change::Leave),
        1 => account().prop_map(Change::Unlink),
        1 => account().prop_map(Change::DeleteAtSpot),
        1 => account().prop_map(Change::RenameAtSpot),
        1 => account().prop_map(Change::SwitchOff),
        1 => account().prop_map(Change::DeleteRole),
        1 => account().prop_map(Change::TamperWithRole),
        1 => account().prop_map(Change::DeleteLeftovers),
        3 => account().prop_map(Change::TakeOut),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        18 => change().prop_map(Event::To),
        7 => (job(), 0..4_usize, prop::option::of(0..3_usize))
            .prop_map(|(job, steps, reaches)| Event::Run { job, steps, reaches }),
        5 => (job(), change(), 0..3_usize)
            .prop_map(|(job, change, after)| Event::Meets { job, change, after }),
    ]
}

/// Lets all of it happen, then runs all jobs until nothing happens any more.
fn converges(setting: Setting, events: &[Event]) -> Result<(), TestCaseError> {
    let mut model = Model::new(setting);
    for event in events {
        model.happens(*event);
        // Never two of ours for one account.
        let mut linked = BTreeSet::new();
        for at_spot in model.spot.values() {
            prop_assert!(at_spot.linked.is_none_or(|number| linked.insert(number)));
        }
    }
    // Once nothing happens any more, a few whole runs of each settle it.
    for _ in 0..4 {
        for job in [Job::CleanUp, Job::Sync, Job::Enroll] {
            model.whole(job);
        }
    }
    for job in [Job::CleanUp, Job::Sync] {
        let rest = model.whole(job);
        prop_assert!(rest.steps.is_empty(), "{job:?}: {:#?}", rest.steps);
    }
    let rest = model.whole(Job::Enroll);
    prop_assert!(rest.steps.is_empty(), "{:#?}", rest.steps);
    // Of whoever is gone, nothing of ours is left at Spot; what Spot's functions made may be its default account.
    let gone = model.spot_accounts_of_the_gone();
    prop_assert!(setting == Setting::Hosted || gone.is_empty(), "{gone:?}");
    for row in &rest.accounts {
        let number = number_of(row.account);
        if model.is_outside(number) {
            continue;
        }
        if model
            .members
            .get(&number)
            .is_none_or(|one| one.state != ACTIVE)
        {
            continue;
        }
        let told: BTreeSet<&str> = rest
            .findings
            .iter()
            .filter(|finding| finding.account == Some(row.account))
            .map(|finding| &*finding.reason)
            .collect();
        // Where nothing may be made anew, or linked again, a person is told.
        let is_left = match row.reason {
            Reason::Enrolled => false,
            Reason::NotLinked | Reason::Drifted => {
                matches!(setting, Setting::Hosted | Setting::Direct)
                    || model.lost_its_own_role(number)
            }
            Reason::StackRemains => setting == Setting::Direct,
            _ => return Err(TestCaseError::fail(format!("{row:?}"))),
        };
        prop_assert!(is_left || row.reason == Reason::Enrolled, "{row:?}");
        prop_assert_eq!(
            is_left,
            told.iter().any(|reason| !is_about_links(reason)),
            "{:?}: {:?}",
            row,
            told
        );
        if is_left {
            continue;
        }
        let spot = model.link(number).unwrap();
        prop_assert_eq!(&model.spot[spot].name, &model.members[&number].name);
        prop_assert!(model.has_sound_role(number) && model.spot[spot].cost_intelligence);
        // Of stacks that are left over, every one is told, and none of its own.
        let named: BTreeSet<&str> = rest
            .findings
            .iter()
            .filter(|one| one.reason == LEFTOVER && one.account == Some(row.account))
            .filter_map(|finding| finding.resource.as_deref())
            .collect();
        let leftovers = model.leftovers(number);
        let leftovers: BTreeSet<&str> = leftovers.iter().map(String::as_str).collect();
        if setting != Setting::Hosted {
            prop_assert_eq!(named, leftovers);
        }
    }
    // Neither a link nor the stack that made it is left where nobody targets an account.
    let mut outside = model.members.keys().filter(|one| model.is_outside(**one));
    prop_assert!(outside.all(|number| model.link(*number).is_none()));
    // Nobody else is missing from the rows.
    let rows: BTreeSet<u64> = rest
        .accounts
        .iter()
        .map(|row| number_of(row.account))
        .collect();
    let mut members = model.members.keys();
    prop_assert!(members.all(|number| rows.contains(number) || model.is_untargeted(*number)));
    Ok(())
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..40)
}

proptest! {
    #[test]
    fn any_interleaving_converges(events in events()) {
        converges(Setting::Queue, &events)?;
    }

    #[test]
    fn any_interleaving_converges_where_spot_serves_the_stacks(events in events()) {
        converges(Setting::Hosted, &events)?;
    }

    #[test]
    fn any_interleaving_converges_where_the_runner_enrolls(events in events()) {
        converges(Setting::Direct, &events)?;
    }

    #[test]
    fn any_interleaving_converges_with_two_profiles(events in events()) {
        converges(Setting::Two, &events)?;
    }

    #[test]
    fn any_interleaving_converges_where_the_remediation_role_deletes_what_was_left(
        events in events(),
    ) {
        converges(Setting::Outside, &events)?;
    }
}
