//! Runs that ended long ago are forgotten, and nothing that anybody still needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use onboarding_core::{
    notify::{Event, Notice, Notification},
    plan::{Estimate, Risk, Step, Summary},
};
use serde_json::json;

use super::{Place, on_both, requests};
use crate::{
    engine::{
        Asked, AttemptStart, Claim, Journal as _, NewRun, RunEnd, RunId, RunKey, RunStatus,
        StepEnd, StepOutcome,
    },
    state::{NewRequest, NextNotification, Prunable, State},
};

on_both! {
    old_runs_go_with_all_that_they_did_and_the_last_ones_of_each_job_stay,
    what_somebody_still_needs_stays,
    the_last_run_of_a_job_that_only_looks_stays,
    ticks_that_were_skipped_go_however_many_there_are,
    links_that_ended_of_stacks_that_are_gone_and_clocks_that_nobody_asks_for_go,
}

const DAY: i64 = 86_400_000;
/// Now.
const NOW: i64 = 200 * DAY;
/// What ended before is old.
const BEFORE: i64 = 110 * DAY;
/// Failures after which a clock waits for a person.
const QUARANTINE: u32 = 5;

async fn begin(state: &State, job: &str, day: i64, dry_run: bool) -> RunKey {
    let run = NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: Some(day * DAY).filter(|_| !dry_run),
        dry_run,
        asked: Asked::default(),
        plan: None,
        at: day * DAY,
        trace_id: None,
    };
    state.begin_run(&run).await.unwrap().key
}

pub(super) fn step(action: &str) -> Step {
    Step {
        id: format!("{action}:1"),
        kind: "test".to_owned(),
        action: action.to_owned(),
        accounts: Vec::new(),
        reason: "it is due".to_owned(),
        risk: Risk::Low,
        order: 0,
        preconditions: Vec::new(),
        changes: Vec::new(),
        estimate: Estimate::default(),
        payload: json!({}),
    }
}

async fn end(state: &State, key: RunKey, status: RunStatus, day: i64) {
    let end = RunEnd {
        status,
        exit: 0,
        summary: Summary::default(),
        findings: &[],
        looked: false,
        unjudged: None,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: None,
        again: false,
        notifications: &[],
        plan: None,
        at: day * DAY + 1_000,
    };
    state.end_run(key, end).await.unwrap();
}

/// A run that ends at the day that it begins, with one step that was applied.
async fn ran(state: &State, job: &str, day: i64, status: RunStatus) -> String {
    applied(state, job, day, status, "mend").await
}

async fn applied(state: &State, job: &str, day: i64, status: RunStatus, action: &str) -> String {
    let key = begin(state, job, day, false).await;
    let step = step(action);
    let steps = std::slice::from_ref(&step);
    state.plan_run(key, steps, &BTreeMap::new()).await.unwrap();
    let start = AttemptStart {
        step: &step.id,
        attempt: 1,
        at: day * DAY,
        span_id: None,
    };
    state.begin_attempt(key, start).await.unwrap();
    let ended = StepEnd {
        step: &step.id,
        outcome: StepOutcome::Changed,
        note: None,
        at: day * DAY,
    };
    state.end_step(key, ended).await.unwrap();
    end(state, key, status, day).await;
    key.id.to_string()
}

/// As many ticks as a job has in a month that is due each minute, all of them skipped.
async fn skipped(state: &State, ticks: i64) {
    let sql = "WITH RECURSIVE ticks (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ticks WHERE n < $1) \
               INSERT INTO runs (id, job, kind, woken_by, tick, dry_run, state, started_at, ended_at, error, fence) \
               SELECT 'skipped-' || n, 'often', 'test', 'schedule', n, 0, 'skipped', n, n, 'paused by a person who had a reason', 0 \
               FROM ticks";
    let made = sqlx::query(sql).bind(ticks).execute(state.pool()).await;
    assert_eq!(made.unwrap().rows_affected(), ticks.unsigned_abs());
}

/// A run of a daemon's that only looks, as its job says.
async fn looked(state: &State, day: i64, status: RunStatus) -> String {
    let at = Timestamp::from_millisecond(day * DAY).unwrap();
    let request = NewRequest {
        job: "orphans",
        kind: "test",
        woken_by: "schedule",
        asked: Asked::default(),
        due_at: at,
        asked_in: None,
    };
    state.ask_for_run(&request, at).await.unwrap();
    let known = ["orphans".to_owned()].into();
    let taken = loop {
        let taken = state.take_up(at, "test", &known, || false).await;
        if let Some(taken) = taken.unwrap() {
            break taken;
        }
        tokio::task::yield_now().await;
    };
    let run = NewRun {
        claim: Some(Claim {
            key: taken.run,
            hold: taken.hold.clone(),
            span: tracing::Span::none(),
        }),
        dry_run: true,
        ..requests::new_run("orphans")
    };
    state.begin_run(&run).await.unwrap();
    end(state, taken.run, status, day).await;
    taken.run.id.to_string()
}

async fn the_last_run_of_a_job_that_only_looks_stays(place: Place) {
    let state = place.open().await;
    looked(&state, 1, RunStatus::Planned).await;
    let well = looked(&state, 2, RunStatus::Planned).await;
    looked(&state, 3, RunStatus::Failed).await;
    let last = looked(&state, 4, RunStatus::Failed).await;
    assert_eq!(prune(&state).await.runs, 2);
    assert_eq!(known(&state).await, [well, last].into());
}

async fn ticks_that_were_skipped_go_however_many_there_are(place: Place) {
    let state = place.open().await;
    let last = ran(&state, "often", 1, RunStatus::Done).await;
    let ticks = 43_200;
    skipped(&state, ticks).await;
    let begun = Instant::now();
    let pruned = prune(&state).await;
    let took = begun.elapsed();
    assert_eq!(pruned.runs, ticks.unsigned_abs());
    assert_eq!(known(&state).await, [last].into());
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn what_is_forgotten_makes_a_file_smaller() {
    let place = Place::file();
    let Place::File(directory) = &place else {
        unreachable!("it is a file")
    };
    // Written to the file itself when the last connection to it is closed.
    let size = async |state: State| {
        state.close().await;
        let file = std::fs::metadata(directory.path().join("state.db"));
        file.unwrap().len()
    };
    let before = size(place.open().await).await;
    let fill = async || {
        let state = place.open().await;
        skipped(&state, 5_000).await;
        let full = size(state).await;
        assert!(full > before + 500_000, "{before} {full}");
    };
    fill().await;
    let state = place.open().await;
    assert_eq!(prune(&state).await.runs, 5_000);
    state.compact().await.unwrap();
    let after = size(state).await;
    assert!(after < before + 100_000, "{before} {after}");
    // Written anew, unless somebody serves.
    fill().await;
    let state = place.open().await;
    assert_eq!(prune(&state).await.runs, 5_000);
    let serving = state.serve().await.unwrap();
    assert!(!state.write_anew().await.unwrap());
    drop(serving);
    let daemon = state.be_the_daemon("").await.unwrap();
    assert!(!state.write_anew().await.unwrap());
    drop(daemon);
    assert!(state.write_anew().await.unwrap());
    let anew = size(state).await;
    assert!(anew <= before, "{before} {anew}");
}

async fn known(state: &State) -> BTreeSet<String> {
    let runs = state.list_runs(None, 1_000).await.unwrap();
    runs.into_iter().map(|run| run.id).collect()
}

async fn count(state: &State, table: &'static str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
    counted.fetch_one(state.pool()).await.unwrap()
}

/// What is counted before is what goes then, and nothing goes twice.
async fn prune(state: &State) -> Prunable {
    let counted = state.prunable(BEFORE, QUARANTINE, NOW).await.unwrap();
    let pruned = state.prune(BEFORE, QUARANTINE, NOW).await.unwrap();
    assert_eq!(pruned, counted);
    let again = state.prune(BEFORE, QUARANTINE, NOW).await.unwrap();
    assert_eq!(again, Prunable::default());
    pruned
}

async fn old_runs_go_with_all_that_they_did_and_the_last_ones_of_each_job_stay(place: Place) {
    let state = place.open().await;
    // More than go in one transaction.
    for day in 1..=25 {
        ran(&state, "sync", day, RunStatus::Done).await;
    }
    let last_good = ran(&state, "sync", 26, RunStatus::Done).await;
    ran(&state, "sync", 27, RunStatus::Failed).await;
    let last = ran(&state, "sync", 28, RunStatus::Failed).await;
    let dry = begin(&state, "sync", 29, true).await;
    end(&state, dry, RunStatus::Planned, 29).await;
    let other = ran(&state, "other", 2, RunStatus::Failed).await;
    ran(&state, "busy", 3, RunStatus::Done).await;
    let young = ran(&state, "busy", 150, RunStatus::Done).await;
    let running = begin(&state, "busy", 1, false).await.id.to_string();

    let pruned = prune(&state).await;
    assert_eq!(pruned.runs, 28);
    let kept = BTreeSet::from([last_good, last, other, young, running]);
    assert_eq!(known(&state).await, kept);
    assert_eq!(count(&state, "steps").await, 4);
    assert_eq!(count(&state, "attempts").await, 4);
}

async fn what_somebody_still_needs_stays(place: Place) {
    let state = place.open().await;
    // Two that deleted Spot accounts: what one of them deleted was made again.
    let deleted = ran(&state, "cleanup", 1, RunStatus::Done).await;
    let undone = ran(&state, "cleanup", 2, RunStatus::Done).await;
    for (run, spot, undone_at) in [(&deleted, "act-1", None), (&undone, "act-2", Some(5_i64))] {
        sqlx::query(
            "INSERT INTO deletions (spot_account, account, run_id, record, written_at, deleted_at, undone_at) \
             VALUES ($1, '000000000001', $2, '{}', 1, 1, $3)",
        )
        .bind(spot)
        .bind(run)
        .bind(undone_at)
        .execute(state.pool())
        .await
        .unwrap();
    }
    // A plan that can be approved, and one that has expired.
    let waits = ran(&state, "cleanup", 3, RunStatus::Waiting).await;
    let expired = ran(&state, "cleanup", 4, RunStatus::Waiting).await;
    for (run, expires_at) in [(&waits, NOW + 1), (&expired, NOW)] {
        sqlx::query(
            "INSERT INTO plans (run_id, job, document, made_at, expires_at, state) VALUES ($1, 'cleanup', '{}', 1, $2, 'waiting')",
        )
        .bind(run)
        .bind(expires_at)
        .execute(state.pool())
        .await
        .unwrap();
    }
    // What was taken out of an account can be put back with the journal only.
    let took = applied(
        &state,
        "cleanup",
        5,
        RunStatus::Done,
        "remove-stray-policies",
    )
    .await;
    // Steps that never ended, or failed, with what they wrote down; one wrote that it forgets it.
    let memo = json!({"operation": "o"});
    let died = remembers(&state, "cleanup", &memo, None).await;
    let failed = Some(StepOutcome::Failed);
    let fell = remembers(&state, "tickets", &memo, failed).await;
    let forgot = remembers(&state, "register", &json!(null), failed).await;
    for job in ["tickets", "register"] {
        let next = begin(&state, job, 7, false).await;
        end(&state, next, RunStatus::Done, 7).await;
    }
    let next = begin(&state, "cleanup", 7, false).await;
    end(&state, next, RunStatus::Failed, 7).await;
    // One that plans would end the memo.
    let key = begin(&state, "cleanup", 8, false).await;
    end(&state, key, RunStatus::Done, 8).await;
    let last = key.id.to_string();

    let mut gone = known(&state).await;
    assert_eq!(prune(&state).await.runs, 4);
    let left = known(&state).await;
    gone.retain(|run| !left.contains(run));
    let next = next.id.to_string();
    assert_eq!(gone, BTreeSet::from([undone, expired, next, forgot]));
    for needed in [deleted, waits, took, died, fell, last] {
        assert!(left.contains(&needed));
    }
    assert_eq!(count(&state, "deletions").await, 2);
    assert_eq!(count(&state, "plans").await, 1);
}

/// A run whose step wrote something down, and died or ended so.
async fn remembers(
    state: &State,
    job: &str,
    memo: &serde_json::Value,
    outcome: Option<StepOutcome>,
) -> String {
    let key = begin(state, job, 6, false).await;
    let step = step("mend");
    let steps = std::slice::from_ref(&step);
    state.plan_run(key, steps, &BTreeMap::new()).await.unwrap();
    let start = AttemptStart {
        step: &step.id,
        attempt: 1,
        at: 6 * DAY,
        span_id: None,
    };
    state.begin_attempt(key, start).await.unwrap();
    state.set_memo(key, &step.id, memo).await.unwrap();
    if let Some(outcome) = outcome {
        let ended = StepEnd {
            step: &step.id,
            outcome,
            note: None,
            at: 6 * DAY,
        };
        state.end_step(key, ended).await.unwrap();
        end(state, key, RunStatus::Failed, 6).await;
    }
    key.id.to_string()
}

async fn links_that_ended_of_stacks_that_are_gone_and_clocks_that_nobody_asks_for_go(place: Place) {
    let state = place.open().await;
    for (stack, ended_at, gone) in [
        ("gone", Some(DAY), Some(1_i64)),
        ("perhaps-there", Some(DAY), None),
        ("linked", None, Some(1)),
        ("lately", Some(NOW - DAY), Some(1)),
    ] {
        sqlx::query(
            "INSERT INTO links (account, spot_account, stack_id, role, linked_at, ended_at, stack_gone) \
             VALUES ('000000000001', 'act-1', $1, 'role', 1, $2, $3)",
        )
        .bind(stack)
        .bind(ended_at)
        .bind(gone)
        .execute(state.pool())
        .await
        .unwrap();
    }
    for (account, failures, due) in [(1_i64, 4_i64, DAY), (2, 5, DAY), (3, 4, NOW)] {
        sqlx::query(
            "INSERT INTO mend_retry (profile, account, mend, failures, next_due, run_id) VALUES ('default', $1, 'link', $2, $3, 'r')",
        )
        .bind(format!("{account:012}"))
        .bind(failures)
        .bind(due / 1_000)
        .execute(state.pool())
        .await
        .unwrap();
    }
    let notice = Notice::new(Event::RunFailed, "sync", 0, String::new(), "");
    for (target, sent_at) in [("old", Some(DAY)), ("new", Some(NOW)), ("waits", None)] {
        let notification = Notification {
            target: target.to_owned(),
            notice: notice.clone(),
            quiet: 1,
            give_up_after: 1,
        };
        state.notify(&[notification], 1).await.unwrap();
        let taken = state.take_notification(target, 1, 1, 2).await.unwrap();
        let NextNotification::One(taken) = taken else {
            panic!("{taken:?}");
        };
        if let Some(at) = sent_at {
            state.notification_sent(&taken, at).await.unwrap();
        }
    }
    let pruned = prune(&state).await;
    let wanted = Prunable {
        runs: 0,
        notifications: 1,
        links: 1,
        clocks: 1,
    };
    assert_eq!(pruned, wanted);
    assert_eq!(count(&state, "links").await, 3);
    assert_eq!(count(&state, "mend_retry").await, 2);
}
