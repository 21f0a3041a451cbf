//! The state in figures: which runs count, and for what.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::plan::{Finding, Severity, Summary};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Begun, Journal as _, NewRun, RunEnd, RunId, RunStatus},
    state::{CountedFindings, Figures, JobFigures, NewRequest, State},
};

/// A run that ended.
struct Ended {
    job: &'static str,
    woken_by: &'static str,
    dry_run: bool,
    status: RunStatus,
    exit: u8,
    failed: usize,
    findings: Vec<Severity>,
    second: i64,
}

impl Ended {
    fn new(job: &'static str, second: i64, exit: u8) -> Self {
        Self {
            job,
            woken_by: "schedule",
            dry_run: false,
            status: if exit == 1 {
                RunStatus::Failed
            } else {
                RunStatus::Done
            },
            exit,
            failed: 0,
            findings: Vec::new(),
            second,
        }
    }

    async fn write(self, state: &State) {
        let run = NewRun {
            id: RunId::new(),
            claim: None,
            job: self.job.to_owned(),
            kind: "test".to_owned(),
            trigger: self.woken_by.to_owned(),
            tick: None,
            dry_run: self.dry_run,
            asked: Asked::default(),
            plan: None,
            at: self.second * 1_000,
            trace_id: None,
        };
        let Begun { key, .. } = state.begin_run(&run).await.unwrap();
        let finding = |(number, severity): (usize, &Severity)| Finding {
            id: format!("finding-{number}"),
            severity: *severity,
            ..Finding::default()
        };
        let findings: Vec<Finding> = self.findings.iter().enumerate().map(finding).collect();
        let end = RunEnd {
            status: self.status,
            exit: self.exit,
            summary: Summary {
                targeted: self.failed,
                failed: self.failed,
                ..Summary::default()
            },
            findings: &findings,
            looked: !self.dry_run,
            refusals: &[],
            accounts: Vec::new(),
            error: (self.exit == 5).then_some("no credentials"),
            plan: None,
            again: false,
            notifications: &[],
            at: self.second * 1_000,
        };
        state.end_run(key, end).await.unwrap();
    }
}

async fn figures(state: &State) -> Figures {
    let mut counted = CountedFindings::default();
    let first = state.figures(&mut counted).await.unwrap();
    // What was counted before is the same.
    assert_eq!(state.figures(&mut counted).await.unwrap(), first);
    first
}

async fn job(state: &State, name: &str) -> JobFigures {
    let mut figures = figures(state).await;
    figures.jobs.remove(name).unwrap()
}

on_both! {
    a_state_that_nothing_was_done_with_has_nothing_to_tell,
    the_last_run_and_the_last_success_are_told_apart,
    a_run_that_could_not_look_leaves_the_accounts_as_they_were_known,
    an_operators_look_counts_for_nothing_and_a_scheduled_one_does,
    findings_are_counted_by_severity_until_a_run_has_none,
    runs_that_wait_and_go_on_and_pauses_are_counted,
    accounts_that_fail_are_as_old_as_their_first_failure,
}

async fn a_state_that_nothing_was_done_with_has_nothing_to_tell(place: Place) {
    let state = place.open().await;
    assert_eq!(figures(&state).await, Figures::default());
}

async fn the_last_run_and_the_last_success_are_told_apart(place: Place) {
    let state = place.open().await;
    Ended::new("sync", 100, 0).write(&state).await;
    Ended::new("other", 150, 0).write(&state).await;
    Ended::new("sync", 200, 3).write(&state).await;
    let mut last = Ended::new("sync", 300, 1);
    last.failed = 2;
    last.write(&state).await;
    let sync = job(&state, "sync").await;
    assert_eq!(sync.last_success, Some(200_000));
    assert_eq!(sync.last_end, Some(300_000));
    assert_eq!(sync.last_exit_code, Some(1));
    assert_eq!(sync.accounts.unwrap().failed, 2);
    let other = job(&state, "other").await;
    assert_eq!(other.last_success, Some(150_000));
    assert_eq!(other.last_exit_code, Some(0));
}

async fn a_run_that_could_not_look_leaves_the_accounts_as_they_were_known(place: Place) {
    let state = place.open().await;
    let mut looked = Ended::new("sync", 100, 1);
    looked.failed = 4;
    looked.write(&state).await;
    Ended::new("sync", 200, 5).write(&state).await;
    let mut interrupted = Ended::new("sync", 300, 130);
    interrupted.status = RunStatus::Interrupted;
    interrupted.write(&state).await;
    let sync = job(&state, "sync").await;
    assert_eq!(sync.last_exit_code, Some(130));
    assert_eq!(sync.last_success, None);
    assert_eq!(sync.accounts.unwrap().failed, 4);
}

async fn an_operators_look_counts_for_nothing_and_a_scheduled_one_does(place: Place) {
    let state = place.open().await;
    let mut look = Ended::new("clean", 100, 3);
    look.dry_run = true;
    look.status = RunStatus::Planned;
    look.write(&state).await;
    assert_eq!(job(&state, "clean").await.last_success, Some(100_000));
    let mut by_hand = Ended::new("clean", 200, 1);
    by_hand.dry_run = true;
    by_hand.woken_by = "operator";
    by_hand.write(&state).await;
    let clean = job(&state, "clean").await;
    assert_eq!(clean.last_end, Some(100_000));
    assert_eq!(clean.last_exit_code, Some(3));
}

async fn findings_are_counted_by_severity_until_a_run_has_none(place: Place) {
    let state = place.open().await;
    let mut audit = Ended::new("audit", 100, 3);
    audit.findings = vec![Severity::Error, Severity::Info, Severity::Error];
    audit.write(&state).await;
    let expected = BTreeMap::from([(Severity::Error, 2), (Severity::Info, 1)]);
    assert_eq!(job(&state, "audit").await.findings, expected);

    // With what was counted before: another run has others.
    let mut counted = CountedFindings::default();
    state.figures(&mut counted).await.unwrap();
    let mut audit = Ended::new("audit", 200, 3);
    audit.findings = vec![Severity::Warning];
    audit.write(&state).await;
    let figures = state.figures(&mut counted).await.unwrap();
    let expected = BTreeMap::from([(Severity::Warning, 1)]);
    assert_eq!(figures.jobs["audit"].findings, expected);

    Ended::new("audit", 300, 0).write(&state).await;
    let figures = state.figures(&mut counted).await.unwrap();
    assert_eq!(figures.jobs["audit"].findings, BTreeMap::new());
}

async fn runs_that_wait_and_go_on_and_pauses_are_counted(place: Place) {
    let state = place.open().await;
    let now: Timestamp = "2027-01-01T10:15:01Z".parse().unwrap();
    for _ in 0..2 {
        let request = NewRequest {
            job: "sync",
            kind: "stackset-sync",
            woken_by: "event",
            asked: Asked::default(),
            due_at: now,
            asked_in: None,
        };
        state.ask_for_run(&request, now).await.unwrap();
    }
    let known = ["sync".to_owned()].into();
    let _taken = state.take_up(now, "us", &known).await.unwrap().unwrap();
    state.pause_job("sync", "ana", None, now).await.unwrap();
    let sync = job(&state, "sync").await;
    assert_eq!((sync.queued, sync.running), (1, 1));
    assert!(sync.is_paused);
    state.resume_job("sync").await.unwrap();
    assert!(!job(&state, "sync").await.is_paused);
}

async fn accounts_that_fail_are_as_old_as_their_first_failure(place: Place) {
    let state = place.open().await;
    for (account, first) in [("111122223333", 700), ("444455556666", 500)] {
        sqlx::query(
            "INSERT INTO account_retry (profile, account, failures, first_failed_at, last_failed_at, next_due, operation) \
             VALUES ('default', $1, 2, $2, 900, 1000, 'op')",
        )
        .bind(account)
        .bind(first)
        .execute(state.pool())
        .await
        .unwrap();
    }
    let figures = figures(&state).await;
    assert_eq!((figures.retrying, figures.oldest_failure), (2, Some(500)));
    assert!(!figures.is_frozen);
}
