//! Runs that events ask for, on both databases.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use onboarding_core::events::{About, EventKind, Hint, Woken};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Journal as _, NewRun, RunEnd, RunId, RunStatus},
    state::{EVENT, Pace, RunRow, State, Taken, UnbegunEnd, WakeUp},
};

on_both!(
    a_burst_makes_one_run_whoever_hears_of_it,
    a_stream_of_events_cannot_put_a_run_off,
    what_did_not_begin_leaves_its_place_to_what_came_later,
    what_comes_while_the_job_runs_waits_for_its_end,
    a_run_makes_room_for_one_that_is_due_and_no_sooner,
    the_spans_that_asked_are_kept_and_no_more_than_a_few,
    what_a_run_of_ours_changes_is_told_from_what_others_do,
);

const PACE: Pace = Pace {
    quiet: Duration::from_secs(30),
    longest: Duration::from_secs(300),
};

fn now() -> Timestamp {
    "2027-01-01T10:15:01Z".parse().unwrap()
}

fn hint(account: u64) -> Hint {
    Hint {
        kind: EventKind::AccountJoined,
        about: About::Account(format!("{account:012}").parse().unwrap()),
        id: None,
        time: None,
    }
}

fn job<'a>(name: &'a str, hints: &[Hint], at: Timestamp) -> WakeUp<'a> {
    WakeUp {
        job: name,
        kind: "stackset-sync",
        woken: Woken::by(hints, at.as_millisecond()),
    }
}

async fn wake(state: &State, hints: &[Hint], at: Timestamp) {
    state
        .wake(&[job("sync", hints, at)], PACE, None, at)
        .await
        .unwrap();
}

async fn take(state: &State, at: Timestamp) -> Option<Taken> {
    let known = ["sync", "enroll"].map(str::to_owned).into();
    let taken = state.take_up(at, "test", &known, || false);
    taken.await.unwrap()
}

async fn runs(state: &State) -> Vec<RunRow> {
    let mut runs = state.list_runs(None, 100).await.unwrap();
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    runs
}

async fn a_burst_makes_one_run_whoever_hears_of_it(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let hints: Vec<Hint> = (0..100).map(hint).collect();
    // Both at once, again and again.
    for (number, pair) in hints.chunks(2).enumerate() {
        let at = now() + i64::try_from(number).unwrap().milliseconds();
        tokio::join!(wake(&one, &pair[..1], at), wake(&other, &pair[1..], at));
    }
    one.wake(&[job("enroll", &hints[..1], now())], PACE, None, now())
        .await
        .unwrap();
    let waiting = runs(&one).await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    let sync = waiting.iter().find(|run| run.job == "sync").unwrap();
    assert_eq!((&*sync.woken_by, &*sync.state), (EVENT, "queued"));
    let events = sync.events.clone().unwrap();
    assert_eq!(events.to_string(), "100 account-joined");
    assert_eq!(events.since, now().as_millisecond());

    // Half a minute after the last of them, once.
    assert!(take(&one, now() + 29.seconds()).await.is_none());
    let later = now() + 31.seconds();
    let taken = [
        take(&one, later).await.unwrap(),
        take(&other, later).await.unwrap(),
    ];
    assert_ne!(taken[0].job, taken[1].job);
    assert!(taken.iter().all(|taken| taken.woken_by == EVENT));
    assert!(take(&one, later).await.is_none());
}

async fn a_stream_of_events_cannot_put_a_run_off(place: Place) {
    let state = place.open().await;
    for second in (0..290).step_by(10) {
        wake(&state, &[hint(1)], now() + i64::from(second).seconds()).await;
        assert!(
            take(&state, now() + i64::from(second).seconds())
                .await
                .is_none()
        );
    }
    wake(&state, &[hint(1)], now() + 299.seconds()).await;
    assert!(take(&state, now() + 300.seconds()).await.is_some());
    assert_eq!(runs(&state).await.len(), 1);
}

async fn what_comes_while_the_job_runs_waits_for_its_end(place: Place) {
    let state = place.open().await;
    wake(&state, &[hint(1)], now()).await;
    let first = take(&state, now() + 30.seconds()).await.unwrap();
    // It may have looked already: the next look is not this one's.
    wake(&state, &[hint(2)], now() + 31.seconds()).await;
    wake(&state, &[hint(3)], now() + 32.seconds()).await;
    let late = now() + 10.minutes();
    assert!(take(&state, late).await.is_none());
    let done = UnbegunEnd {
        state: "done",
        ..UnbegunEnd::default()
    };
    state.end_unbegun(first.run, done, late).await.unwrap();
    drop(first);
    assert!(take(&state, late).await.is_some());
    let kinds: Vec<String> = runs(&state)
        .await
        .iter()
        .map(|run| run.events.clone().unwrap().to_string())
        .collect();
    assert_eq!(kinds, ["1 account-joined", "2 account-joined"]);
}

async fn what_did_not_begin_leaves_its_place_to_what_came_later(place: Place) {
    let state = place.open().await;
    wake(&state, &[hint(1)], now()).await;
    let first = take(&state, now() + 30.seconds()).await.unwrap();
    wake(&state, &[hint(2)], now() + 31.seconds()).await;
    state.put_back(first.run, 5).await.unwrap();
    let states: Vec<String> = runs(&state)
        .await
        .into_iter()
        .map(|run| run.state)
        .collect();
    assert_eq!(states, ["skipped", "queued"]);
}

async fn a_run_makes_room_for_one_that_is_due_and_no_sooner(place: Place) {
    let state = place.open().await;
    wake(&state, &[hint(1)], now()).await;
    let goes_on = take(&state, now() + 30.seconds()).await.unwrap();
    let asked_to_end = async || state.cancelled_by(goes_on.run).await.unwrap();
    let make_room = async |jobs: &[&'static str], at| state.make_room(jobs, at).await.unwrap();
    let nobody: [&str; 0] = [];
    // Nothing waits, or it is not due yet.
    assert_eq!(make_room(&["sync"], now() + 31.seconds()).await, nobody);
    wake(&state, &[hint(2)], now() + 31.seconds()).await;
    assert_eq!(make_room(&["sync"], now() + 60.seconds()).await, nobody);
    // It would be left out: the job is paused.
    let due = now() + 61.seconds();
    state.pause_job("sync", "ada", None, due).await.unwrap();
    assert_eq!(make_room(&["sync"], due).await, nobody);
    assert_eq!(asked_to_end().await, None);
    assert!(state.resume_job("sync", due).await.unwrap());
    assert_eq!(make_room(&["enroll"], due).await, nobody);
    assert_eq!(make_room(&["enroll", "sync"], due).await, ["sync"]);
    assert_eq!(asked_to_end().await.as_deref(), Some("an event"));
    // Once is enough.
    assert_eq!(make_room(&["sync"], due).await, nobody);
}

async fn the_spans_that_asked_are_kept_and_no_more_than_a_few(place: Place) {
    let state = place.open().await;
    wake(&state, &[hint(1)], now()).await;
    let span = |number: usize| format!("00-{number:032}-{number:016}-01");
    for number in 0..12 {
        let hints = [hint(1)];
        let waking = [job("sync", &hints, now())];
        state
            .wake(&waking, PACE, Some(&span(number)), now())
            .await
            .unwrap();
    }
    let taken = take(&state, now() + 30.seconds()).await.unwrap();
    let kept: Vec<String> = (0..8).map(span).collect();
    assert_eq!(taken.asked_in, kept);
}

/// The kinds whose runs are asked for.
const CHANGING: [&str; 2] = ["stackset-sync", "enroll"];

/// A run of ten minutes from `now` on, with a step where it changes something.
async fn run(state: &State, name: &str, kind: &str, changes: bool) {
    let run = NewRun {
        id: RunId::new(),
        claim: None,
        job: name.to_owned(),
        kind: kind.to_owned(),
        trigger: "schedule".to_owned(),
        tick: None,
        dry_run: false,
        plan: None,
        at: now().as_millisecond(),
        trace_id: None,
        asked: Asked::default(),
    };
    let begun = state.begin_run(&run).await.unwrap();
    if changes {
        let steps = [super::prune::step("create")];
        state
            .plan_run(begun.key, &steps, &Default::default())
            .await
            .unwrap();
    }
    let end = RunEnd {
        status: RunStatus::Done,
        exit: 0,
        summary: Default::default(),
        findings: &[],
        looked: false,
        unjudged: None,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: None,
        notifications: &[],
        plan: None,
        again: false,
        at: (now() + 10.minutes()).as_millisecond(),
    };
    let going_on = state
        .was_changing(&CHANGING, now() + 1.minute(), Duration::ZERO)
        .await
        .unwrap();
    let is_told = changes && CHANGING.contains(&kind);
    assert_eq!(going_on, is_told, "{name}");
    state.end_run(begun.key, end).await.unwrap();
}

async fn what_a_run_of_ours_changes_is_told_from_what_others_do(place: Place) {
    let state = place.open().await;
    run(&state, "looks", "stackset-sync", false).await;
    run(&state, "ticket", "ticket-for-each-account", true).await;
    run(&state, "changes", "enroll", true).await;
    let grace = Duration::from_secs(300);
    for (at, expected) in [
        (now() - 1.second(), false),
        (now(), true),
        (now() + 10.minutes(), true),
        (now() + 15.minutes(), true),
        (now() + 15.minutes() + 1.second(), false),
    ] {
        assert_eq!(
            state.was_changing(&CHANGING, at, grace).await.unwrap(),
            expected,
            "{at}"
        );
    }
    // What waits has done nothing yet.
    wake(&state, &[hint(1)], now()).await;
    let late = now() + 1.hour();
    let is_ours = state.was_changing(&CHANGING, late, grace).await.unwrap();
    assert!(!is_ours);
}
