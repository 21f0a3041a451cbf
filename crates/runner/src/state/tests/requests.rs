//! Requests for runs, on both databases.

use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan as _};
use onboarding_core::{
    notify::{Event, Notice, Notification},
    plan::Summary,
};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Claim, Journal as _, JournalError, NewRun, RunEnd, RunId, RunKey, RunStatus},
    schedule::{Decision, Skipped},
    state::{Cancelled, Looked, NewRequest, State, Taken, UnbegunEnd},
};

on_both!(
    a_tick_gets_one_run_whoever_looks,
    what_is_due_is_taken_up_once_and_one_run_of_a_job_at_a_time,
    what_another_one_is_taking_up_keeps_nobody_from_the_next,
    a_run_that_was_taken_up_is_begun_under_its_fence,
    what_could_not_begin_for_a_moment_is_asked_for_again,
    a_run_that_died_is_asked_for_again_and_not_forever,
    a_run_that_did_not_begin_waits_again_and_has_not_died,
    a_dry_run_of_a_daemon_is_found_dead_like_any_other,
    a_job_that_only_looks_and_dies_again_and_again_is_told_of,
    what_somebody_cancelled_is_not_asked_for_again_when_it_dies,
    a_run_that_was_put_off_is_asked_for_again,
    a_run_that_the_state_stopped_is_asked_for_again_and_has_not_died,
    an_end_whose_answer_was_lost_is_the_end_all_the_same,
    what_somebody_cancelled_is_not_asked_for_again_when_it_is_put_off,
    what_nobody_knows_waits_for_somebody_who_does_and_not_forever,
    what_a_clock_that_was_ahead_has_missed_is_still_to_come,
    a_run_that_waits_is_taken_away_and_one_that_goes_on_is_told,
    a_paused_job_is_known_with_who_and_why,
);

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

fn now() -> Timestamp {
    at("2027-01-01T10:15:01Z")
}

fn look(before: Option<&str>, decisions: Vec<Decision>) -> Looked {
    Looked {
        job: "sync".to_owned(),
        kind: "stackset-sync".to_owned(),
        schedule: "@every 15m UTC".to_owned(),
        before: before.map(at),
        until: now(),
        decisions,
    }
}

fn queued(tick: &str) -> Decision {
    Decision::Queue {
        tick: at(tick),
        due_at: at(tick),
    }
}

fn request(job: &str) -> NewRequest<'_> {
    NewRequest {
        job,
        kind: "stackset-sync",
        woken_by: "event",
        asked: Asked {
            retry_failed: true,
            fix: false,
        },
        due_at: now(),
        asked_in: None,
    }
}

pub(super) fn new_run(job: &str) -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "stackset-sync".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: None,
        at: now().as_millisecond(),
        trace_id: None,
    }
}

fn begun(taken: &Taken) -> NewRun {
    NewRun {
        id: taken.run.id,
        claim: Some(Claim {
            key: taken.run,
            hold: taken.hold.clone(),
            span: tracing::Span::none(),
        }),
        trigger: taken.woken_by.clone(),
        tick: taken.tick,
        ..new_run(&taken.job)
    }
}

async fn take(state: &State) -> Option<Taken> {
    let known = ["sync", "audit", "later"].map(str::to_owned).into();
    let taken = state.take_up(now(), "test", &known, || false);
    taken.await.unwrap()
}

/// The same, once the job's lock is free: a session of a server ends a moment after it is dropped.
async fn take_soon(state: &State) -> Taken {
    loop {
        if let Some(taken) = take(state).await {
            return taken;
        }
        tokio::task::yield_now().await;
    }
}

/// The states of the runs of all jobs, the newest last, with why.
async fn states(state: &State) -> Vec<(String, Option<String>)> {
    let mut runs = state.list_runs(None, 100).await.unwrap();
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    runs.into_iter().map(|run| (run.state, run.error)).collect()
}

async fn a_tick_gets_one_run_whoever_looks(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    one.note_looks(&[look(None, vec![])], at("2027-01-01T10:00:00Z"))
        .await
        .unwrap();
    let standings = other.standings().await.unwrap();
    assert_eq!(standings["sync"].looked_until, Some(now()));
    assert_eq!(
        standings["sync"].schedule.as_deref(),
        Some("@every 15m UTC")
    );
    // Two that look at the same time: what the first has decided stands, whatever the second thinks.
    let later = |decisions| Looked {
        before: Some(now()),
        until: now() + 15.minutes(),
        ..look(None, decisions)
    };
    let tick = "2027-01-01T10:30:00Z";
    one.note_looks(&[later(vec![queued(tick)])], now())
        .await
        .unwrap();
    let skip = Decision::Skip {
        tick: at(tick),
        why: Skipped::StillRunning("r".to_owned()),
    };
    other
        .note_looks(&[later(vec![skip.clone()])], now())
        .await
        .unwrap();
    assert_eq!(states(&one).await, [("queued".to_owned(), None)]);
    // Even one that knows nothing of the first cannot give a tick a second run.
    let forgetful = Looked {
        before: Some(now() + 15.minutes()),
        until: now() + 16.minutes(),
        ..look(None, vec![queued(tick), skip])
    };
    other.note_looks(&[forgetful], now()).await.unwrap();
    assert_eq!(states(&one).await.len(), 1);
    let skipped = Decision::Skip {
        tick: at("2027-01-01T10:31:00Z"),
        why: Skipped::StillRunning("r".to_owned()),
    };
    let next = Looked {
        before: Some(now() + 16.minutes()),
        until: now() + 17.minutes(),
        ..look(None, vec![skipped])
    };
    other.note_looks(&[next], now()).await.unwrap();
    let states = states(&one).await;
    assert_eq!(states[1].0, "skipped");
    assert!(
        states[1].1.as_ref().unwrap().contains("run r"),
        "{states:?}"
    );
}

async fn what_is_due_is_taken_up_once_and_one_run_of_a_job_at_a_time(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let first = one.ask_for_run(&request("sync"), now()).await.unwrap();
    one.ask_for_run(&request("sync"), now()).await.unwrap();
    let audit = one.ask_for_run(&request("audit"), now()).await.unwrap();
    let later = NewRequest {
        due_at: now() + 1.second(),
        ..request("later")
    };
    one.ask_for_run(&later, now()).await.unwrap();

    // By job, the one that waits longest; the names decide where that is the same.
    let taken = [take(&one).await.unwrap(), take(&other).await.unwrap()];
    let by_job = |job: &str| taken.iter().find(|taken| taken.job == job).unwrap();
    assert_eq!(by_job("sync").run.id, first);
    assert_eq!(by_job("audit").run.id, audit);
    assert!(by_job("sync").asked.retry_failed);
    assert_eq!(by_job("sync").woken_by, "event");
    assert_eq!(by_job("sync").run.fence, 1);
    // The second of the same job waits for the first, wherever that runs; the other is not due yet.
    assert!(take(&one).await.is_none());
    assert!(take(&other).await.is_none());
    let skipped = UnbegunEnd {
        state: "skipped",
        why: "over",
        ..UnbegunEnd::default()
    };
    for taken in taken {
        let ended = one.end_unbegun(taken.run, skipped, now());
        ended.await.unwrap();
    }
    let second = loop {
        // A session of a server ends a moment after it is dropped.
        if let Some(taken) = take(&other).await {
            break taken;
        }
        tokio::task::yield_now().await;
    };
    assert_ne!(second.run.id, first);
}

async fn what_another_one_is_taking_up_keeps_nobody_from_the_next(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let jobs = ["a", "b", "c", "d", "e", "last"];
    for (at, job) in jobs.iter().enumerate() {
        let due_at = now() - i64::try_from(jobs.len() - at).unwrap().seconds();
        let request = NewRequest {
            due_at,
            ..request(job)
        };
        other.ask_for_run(&request, now()).await.unwrap();
    }
    let known = jobs.map(str::to_owned).into();
    let mut locks = Vec::new();
    for job in &jobs[..5] {
        locks.push(one.lock_job(job).await.unwrap());
    }
    // Waiting for one of them takes two seconds.
    let begun = Instant::now();
    let taken = other.take_up(now(), "other", &known, || false);
    let taken = taken.await.unwrap().unwrap();
    let took = begun.elapsed();
    assert_eq!(taken.job, "last");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // With nothing else to do, the first one is waited for, unless we are to end.
    let ending = other.take_up(now(), "other", &known, || true);
    assert!(ending.await.unwrap().is_none());
    let waiting = other.take_up(now(), "other", &known, || false);
    let (taken, ()) = tokio::join!(waiting, async { locks.clear() });
    assert_eq!(taken.unwrap().unwrap().job, "a");
}

async fn a_run_that_was_taken_up_is_begun_under_its_fence(place: Place) {
    let state = place.open().await;
    let id = state.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&state).await.unwrap();
    let begun_run = state.begin_run(&begun(&taken)).await.unwrap();
    assert_eq!((begun_run.key.id, begun_run.key.fence), (id, 1));
    assert_eq!(begun_run.interrupted, []);
    // Somebody runs it by hand meanwhile.
    let by_hand = NewRun {
        id: RunId::new(),
        claim: None,
        ..begun(&taken)
    };
    assert!(matches!(
        state.begin_run(&by_hand).await,
        Err(JournalError::AlreadyRunning { .. })
    ));
    // Taken away from us.
    let mut stale = begun(&taken);
    stale.claim.as_mut().unwrap().key.fence = 0;
    assert!(matches!(
        state.begin_run(&stale).await,
        Err(JournalError::Fenced(_))
    ));
    let told = [Notification {
        target: "a".to_owned(),
        notice: Notice::new(Event::RunFailed, "sync", 0, "it broke".to_owned(), ""),
        quiet: 1,
        give_up_after: 1,
    }];
    let failed = UnbegunEnd {
        state: "failed",
        exit: 5,
        why: "no credentials",
        told: &told,
        again: false,
    };
    let ended = state.end_unbegun(taken.run, failed, now());
    ended.await.unwrap();
    assert_eq!(state.notifications(9).await.unwrap()[0].count, 1);
    assert_eq!(
        states(&state).await,
        [("failed".to_owned(), Some("no credentials".to_owned()))]
    );
    let figures = state.figures().await.unwrap();
    assert_eq!(figures.jobs["sync"].ends.exit_code, Some(5));
    // The answer to that may have been lost.
    let again = state.end_unbegun(taken.run, failed, now());
    again.await.unwrap();
    let later = now() + 1.second();
    let again = state.end_unbegun(taken.run, failed, later).await;
    // Whoever has it now tells of it.
    assert!(matches!(again, Err(JournalError::Fenced(_))));
    assert_eq!(state.notifications(9).await.unwrap()[0].count, 1);
}

async fn what_could_not_begin_for_a_moment_is_asked_for_again(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&state).await.unwrap();
    let away = UnbegunEnd {
        state: "failed",
        exit: 1,
        why: "the state was away",
        again: true,
        ..UnbegunEnd::default()
    };
    state.end_unbegun(taken.run, away, now()).await.unwrap();
    drop(taken);
    assert_eq!(take_soon(&state).await.woken_by, "resume");
}

/// The runs that are found dead once a process has ended.
async fn dead(state: &State) -> Vec<RunId> {
    loop {
        let dead = state.ask_again_for_dead(now()).await.unwrap();
        if !dead.is_empty() {
            return dead;
        }
        tokio::task::yield_now().await;
    }
}

async fn a_dry_run_of_a_daemon_is_found_dead_like_any_other(place: Place) {
    let (dying, living) = (place.open().await, place.open().await);
    dying.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&dying).await.unwrap();
    let only_looks = NewRun {
        dry_run: true,
        ..begun(&taken)
    };
    dying.begin_run(&only_looks).await.unwrap();
    let standing = living.standings().await.unwrap()["sync"].clone();
    assert_eq!(standing.running, Some(taken.run.id.to_string()));
    let run = taken.run.id;
    drop((taken, only_looks));
    assert_eq!(dead(&living).await, [run]);
    assert_eq!(
        states(&living).await,
        [
            ("interrupted".to_owned(), None),
            ("queued".to_owned(), None)
        ]
    );

    // One that somebody began by hand has no lock that would tell. It is over when it is old.
    let by_hand = NewRun {
        id: RunId::new(),
        claim: None,
        dry_run: true,
        ..new_run("audit")
    };
    living.begin_run(&by_hand).await.unwrap();
    for (age, state) in [(23, "running"), (25, "interrupted")] {
        let then = now() + age.hours();
        let ended = living.end_old_dry_runs(then - 24.hours(), then);
        ended.await.unwrap();
        let runs = living.list_runs(Some("audit"), 1).await.unwrap();
        assert_eq!(runs[0].state, state);
    }
}

async fn a_job_that_only_looks_and_dies_again_and_again_is_told_of(place: Place) {
    let (dying, living) = (place.open().await, place.open().await);
    dying.ask_for_run(&request("sync"), now()).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        assert!(living.dying_jobs(0).await.unwrap().is_empty());
        let taken = take(&dying).await.unwrap();
        let only_looks = NewRun {
            dry_run: true,
            ..begun(&taken)
        };
        dying.begin_run(&only_looks).await.unwrap();
        last = Some(taken.run.id.to_string());
        drop((taken, only_looks));
        dead(&living).await;
    }
    let told = living.dying_jobs(0).await.unwrap();
    assert_eq!(told.get("sync"), last.as_ref());
}

async fn what_somebody_cancelled_is_not_asked_for_again_when_it_dies(place: Place) {
    let (dying, living) = (place.open().await, place.open().await);
    dying.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&dying).await.unwrap();
    let id = taken.run.id.to_string();
    living.cancel_run(&id, "alice", now()).await.unwrap();
    drop(taken);
    dead(&living).await;
    assert_eq!(states(&living).await, [("interrupted".to_owned(), None)]);
}

async fn a_run_that_was_put_off_is_asked_for_again(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("sync"), now()).await.unwrap();
    for _ in 0..2 {
        let taken = loop {
            if let Some(taken) = take(&state).await {
                break taken;
            }
            tokio::task::yield_now().await;
        };
        let key = state.begin_run(&begun(&taken)).await.unwrap().key;
        state.end_run(key, put_off()).await.unwrap();
        let waiting = state.standings().await.unwrap()["sync"].queued.clone();
        assert!(waiting.is_some());
    }
    // Never two that wait.
    state.ask_for_run(&request("audit"), now()).await.unwrap();
    let taken = loop {
        match take(&state).await {
            Some(taken) if taken.job == "audit" => break taken,
            _ => tokio::task::yield_now().await,
        }
    };
    let key = state.begin_run(&begun(&taken)).await.unwrap().key;
    state.ask_for_run(&request("audit"), now()).await.unwrap();
    state.end_run(key, put_off()).await.unwrap();
    let runs = state.list_runs(Some("audit"), 10).await.unwrap();
    assert_eq!(runs.len(), 2, "{runs:?}");
}

async fn a_run_that_the_state_stopped_is_asked_for_again_and_has_not_died(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("sync"), now()).await.unwrap();
    for stop in 0..4 {
        let taken = loop {
            if let Some(taken) = take(&state).await {
                break taken;
            }
            tokio::task::yield_now().await;
        };
        let key = state.begin_run(&begun(&taken)).await.unwrap().key;
        let stopped = RunEnd {
            status: RunStatus::Failed,
            exit: 1,
            error: Some("no further effect was started"),
            ..put_off()
        };
        state.end_run(key, stopped).await.unwrap();
        let standings = state.standings().await.unwrap();
        let waits = standings.get("sync").and_then(|sync| sync.queued.clone());
        // Something that does not pass is left to the next tick.
        assert_eq!(waits.is_some(), stop < 3, "{stop}");
    }
    assert!(state.dying_jobs(0).await.unwrap().is_empty());
    let figures = state.figures().await.unwrap();
    assert_eq!(figures.jobs["sync"].ends.deaths, 0);
}

async fn an_end_whose_answer_was_lost_is_the_end_all_the_same(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&state).await.unwrap();
    let key = state.begin_run(&begun(&taken)).await.unwrap().key;
    let told = [Notification {
        target: "a".to_owned(),
        notice: Notice::new(Event::RunFailed, "sync", 0, "it broke".to_owned(), ""),
        quiet: 1,
        give_up_after: 1,
    }];
    let end = RunEnd {
        notifications: &told,
        ..put_off()
    };
    for _ in 0..2 {
        state.end_run(key, end.clone()).await.unwrap();
    }
    // Once, with what follows from it.
    assert_eq!(state.notifications(9).await.unwrap()[0].count, 1);
    let runs = state.list_runs(None, 10).await.unwrap();
    assert_eq!(runs.len(), 2, "{runs:?}");
    // Any other end is not ours.
    let another = [
        RunEnd {
            at: end.at + 1,
            ..end.clone()
        },
        RunEnd {
            exit: 77,
            ..end.clone()
        },
        RunEnd {
            status: RunStatus::Done,
            ..end.clone()
        },
    ];
    for another in another {
        let ended = state.end_run(key, another).await;
        assert!(matches!(ended, Err(JournalError::Fenced(_))));
    }
    let taken_over = RunKey {
        fence: key.fence + 1,
        ..key
    };
    let ended = state.end_run(taken_over, end).await;
    assert!(matches!(ended, Err(JournalError::Fenced(_))));
}

async fn what_somebody_cancelled_is_not_asked_for_again_when_it_is_put_off(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&state).await.unwrap();
    let key = state.begin_run(&begun(&taken)).await.unwrap().key;
    // The daemon is told to end before its run has seen that.
    let id = key.id.to_string();
    let cancelled = state.cancel_run(&id, "alice", now());
    assert_eq!(cancelled.await.unwrap(), Some(Cancelled::Running));
    state.end_run(key, put_off()).await.unwrap();
    let runs = state.list_runs(None, 10).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(state.standings().await.unwrap().get("sync"), None);
}

fn put_off() -> RunEnd<'static> {
    RunEnd {
        status: RunStatus::Interrupted,
        exit: 130,
        summary: Summary::default(),
        findings: &[],
        looked: false,
        unjudged: None,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: None,
        again: true,
        notifications: &[],
        plan: None,
        at: now().as_millisecond(),
    }
}

async fn what_nobody_knows_waits_for_somebody_who_does_and_not_forever(place: Place) {
    let state = place.open().await;
    state.ask_for_run(&request("new"), now()).await.unwrap();
    assert!(take(&state).await.is_none());
    let known = ["new".to_owned()].into();
    let later = now() + 2.hours();
    let take_away = state.take_away_unknown(&known, now() + 1.second(), later);
    assert_eq!(take_away.await.unwrap(), Vec::<String>::new());
    let nobody = std::collections::BTreeSet::new();
    let take_away = state.take_away_unknown(&nobody, now() - 1.second(), later);
    assert_eq!(take_away.await.unwrap(), Vec::<String>::new());
    // Another daemon has a schedule of it in force, and is busy.
    let another = Looked {
        job: "new".to_owned(),
        ..look(None, vec![])
    };
    state.note_looks(&[another], now()).await.unwrap();
    let take_away = state.take_away_unknown(&nobody, now() + 1.second(), later);
    assert_eq!(take_away.await.unwrap(), Vec::<String>::new());
    assert_eq!(states(&state).await[0].0, "queued");
    state.forget_schedules(&["new"]).await.unwrap();
    let take_away = state.take_away_unknown(&nobody, now() + 1.second(), later);
    assert_eq!(take_away.await.unwrap(), ["new"]);
    let states = states(&state).await;
    assert_eq!(states[0].0, "skipped");
    let why = states[0].1.as_ref().unwrap();
    assert!(why.contains("no schedule of it is in force"), "{why}");
}

async fn what_a_clock_that_was_ahead_has_missed_is_still_to_come(place: Place) {
    let state = place.open().await;
    let tick = "2027-01-02T05:30:00Z";
    let ahead = Looked {
        until: at("2027-01-02T08:00:00Z"),
        ..look(
            None,
            vec![Decision::Skip {
                tick: at(tick),
                why: Skipped::Missed {
                    until: at(tick),
                    ticks: 1,
                },
            }],
        )
    };
    let set_back = Looked {
        before: Some(ahead.until),
        ..look(None, vec![])
    };
    let then = Looked {
        before: Some(now()),
        until: at("2027-01-02T05:30:01Z"),
        ..look(None, vec![queued(tick)])
    };
    for look in [ahead, set_back, then] {
        state.note_looks(&[look], now()).await.unwrap();
    }
    assert_eq!(states(&state).await, [("queued".to_owned(), None)]);
}

async fn a_run_that_died_is_asked_for_again_and_not_forever(place: Place) {
    let (dying, living) = (place.open().await, place.open().await);
    dying.ask_for_run(&request("sync"), now()).await.unwrap();
    for death in 1..=3 {
        let taken = take(&dying).await.unwrap();
        dying.begin_run(&begun(&taken)).await.unwrap();
        // One that lives is left alone.
        assert_eq!(living.ask_again_for_dead(now()).await.unwrap(), []);
        let run = taken.run.id;
        drop(taken);
        let dead = loop {
            let dead = living.ask_again_for_dead(now()).await.unwrap();
            if !dead.is_empty() {
                break dead;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(dead, [run]);
        let states = states(&living).await;
        let waiting = states.iter().filter(|(state, _)| state == "queued").count();
        assert_eq!(waiting, usize::from(death < 3), "{states:?}");
        let figures = living.figures().await.unwrap();
        assert_eq!(figures.jobs["sync"].ends.deaths, death);
    }
    // Of a run by hand, nobody asks for another one.
    let by_hand = new_run("audit");
    drop(dying.begin_run(&by_hand).await.unwrap());
    while living.ask_again_for_dead(now()).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(take(&living).await.is_none());
}

async fn a_run_that_did_not_begin_waits_again_and_has_not_died(place: Place) {
    let (ending, living) = (place.open().await, place.open().await);
    let id = ending.ask_for_run(&request("sync"), now()).await.unwrap();
    // Its process could write nothing any more, and then one that could.
    let taken = take(&ending).await.unwrap();
    drop(taken);
    while states(&living).await[0].0 == "running" {
        assert_eq!(living.ask_again_for_dead(now()).await.unwrap(), []);
    }
    let taken = take_soon(&ending).await;
    assert_eq!((taken.run.id, taken.run.fence), (id, 2));
    // Who has had it before has nothing to say.
    let before = RunKey { id, fence: 1 };
    living.put_back(before, 5).await.unwrap();
    assert_eq!(states(&living).await, [("running".to_owned(), None)]);
    living.put_back(taken.run, 5).await.unwrap();
    assert_eq!(states(&living).await, [("queued".to_owned(), None)]);
    drop(taken);
    // Whoever runs the job next leaves it as it is, and so does a run by hand.
    let taken = take_soon(&ending).await;
    drop(taken);
    let by_hand = loop {
        match living.begin_run(&new_run("sync")).await {
            Err(JournalError::AlreadyRunning { .. }) => tokio::task::yield_now().await,
            begun => break begun.unwrap(),
        }
    };
    assert_eq!(by_hand.interrupted, []);
    living.end_run(by_hand.key, put_off()).await.unwrap();
    drop(by_hand);
    let figures = living.figures().await.unwrap();
    assert_eq!(figures.jobs["sync"].ends.deaths, 0);
    // Whatever keeps it from beginning again and again does not pass.
    let taken = take_soon(&ending).await;
    assert_eq!(taken.run, RunKey { id, fence: 4 });
    drop(taken);
    assert_eq!(dead(&living).await, [id]);
    let figures = living.figures().await.unwrap();
    assert_eq!(figures.jobs["sync"].ends.deaths, 1);
}

async fn a_run_that_waits_is_taken_away_and_one_that_goes_on_is_told(place: Place) {
    let state = place.open().await;
    let waiting = state.ask_for_run(&request("sync"), now()).await.unwrap();
    let cancelled = |id: RunId| {
        let state = state.clone();
        async move {
            state
                .cancel_run(&id.to_string(), "ana", now())
                .await
                .unwrap()
        }
    };
    assert_eq!(cancelled(waiting).await, Some(Cancelled::Waiting));
    assert_eq!(cancelled(waiting).await, None);
    assert!(take(&state).await.is_none());
    let running = state.ask_for_run(&request("sync"), now()).await.unwrap();
    let taken = take(&state).await.unwrap();
    let asked = || async { state.cancelled_by(taken.run).await.unwrap() };
    assert_eq!(asked().await, None);
    assert_eq!(cancelled(running).await, Some(Cancelled::Running));
    assert_eq!(asked().await.as_deref(), Some("ana"));
    // A later run takes the place of those that wait and those that go on.
    let behind = state.ask_for_run(&request("sync"), now()).await.unwrap();
    let replace = |run: RunId| Decision::Replace {
        run: run.to_string(),
    };
    let look = look(
        None,
        vec![
            replace(behind),
            replace(running),
            queued("2027-01-01T10:15:00Z"),
        ],
    );
    state.note_looks(&[look], now()).await.unwrap();
    let states = states(&state).await;
    assert_eq!(
        states
            .iter()
            .map(|(state, _)| state.as_str())
            .collect::<Vec<_>>(),
        ["cancelled", "running", "cancelled", "queued"]
    );
    assert_eq!(asked().await.as_deref(), Some("the schedule"));
}

async fn a_paused_job_is_known_with_who_and_why(place: Place) {
    let state = place.open().await;
    let paused = || async { state.standings().await.unwrap()["sync"].paused.clone() };
    state
        .pause_job("sync", "ana", Some("migration"), now())
        .await
        .unwrap();
    assert_eq!(paused().await.as_deref(), Some("by ana: migration"));
    state.pause_job("sync", "bob", None, now()).await.unwrap();
    assert_eq!(paused().await.as_deref(), Some("by bob"));
    // The pause is no look: ticks before it are not forgotten, and the look after it goes on from there.
    let looked = state.standings().await.unwrap()["sync"].looked_until;
    assert_eq!(looked, Some(at("2027-01-01T10:15:01Z")));
    assert!(state.resume_job("sync", now()).await.unwrap());
    assert!(!state.resume_job("sync", now()).await.unwrap());
    assert_eq!(paused().await, None);
}
