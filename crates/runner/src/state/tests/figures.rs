//! The state in figures: which runs count, and for what.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::{
    ids::AwsAccountId,
    notify::{Event, Notice, Notification},
    plan::{AccountRow, Finding, Severity, Summary},
    stackset_sync::MendKind,
    status::Reason,
};
use onboarding_provider::Freeze;
use sqlx::Row as _;

use super::{Place, on_both};
use crate::{
    engine::{Asked, Begun, Journal as _, NewRun, RunEnd, RunId, RunStatus},
    schedule::Decision,
    state::{
        Figures, JobEnds, JobFigures, Looked, MIGRATIONS, MendFailure, NewRequest,
        NextNotification, State, TargetFigures, figures,
    },
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
    looked: bool,
    ledger: Vec<AccountRow>,
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
            looked: true,
            ledger: Vec::new(),
            second,
        }
    }

    /// The run, as it begins.
    fn begun(&self) -> NewRun {
        NewRun {
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
        }
    }

    async fn write(self, state: &State) {
        let Begun { key, .. } = state.begin_run(&self.begun()).await.unwrap();
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
            looked: self.looked && !self.dry_run,
            unjudged: None,
            refusals: &[],
            accounts: Vec::new(),
            ledger: &self.ledger,
            error: (self.exit == 5).then_some("no credentials"),
            plan: None,
            again: false,
            notifications: &[],
            at: self.second * 1_000,
        };
        state.end_run(key, end).await.unwrap();
    }
}

async fn told(state: &State) -> Figures {
    state.figures().await.unwrap()
}

async fn job(state: &State, name: &str) -> JobFigures {
    let mut figures = told(state).await;
    figures.jobs.remove(name).unwrap()
}

on_both! {
    a_state_that_nothing_was_done_with_has_nothing_to_tell,
    the_last_run_and_the_last_success_are_told_apart,
    a_run_that_could_not_look_leaves_the_accounts_as_they_were_known,
    an_operators_look_counts_for_nothing_and_a_scheduled_one_does,
    what_earlier_versions_wrote_of_runs_is_known_after_an_upgrade,
    findings_are_counted_by_severity_until_a_run_has_none,
    accounts_are_counted_by_standing_and_reason,
    runs_that_died_are_counted_until_one_ends_by_itself,
    runs_that_wait_and_go_on_and_pauses_are_counted,
    a_schedule_is_in_force_since_it_changed_last,
    freezes_are_told_with_when_they_began_and_ended,
    what_waits_to_be_told_is_as_old_as_the_oldest,
    accounts_that_fail_are_as_old_as_their_first_failure,
}

async fn a_state_that_nothing_was_done_with_has_nothing_to_tell(place: Place) {
    let state = place.open().await;
    assert_eq!(told(&state).await, Figures::default());
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
    assert_eq!(sync.ends.succeeded_at, Some(200_000));
    assert_eq!(sync.ends.ended_at, Some(300_000));
    assert_eq!(sync.ends.exit_code, Some(1));
    assert_eq!(sync.ends.accounts.unwrap().failed, 2);
    let other = job(&state, "other").await;
    assert_eq!(other.ends.succeeded_at, Some(150_000));
    assert_eq!(other.ends.exit_code, Some(0));
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
    assert_eq!(sync.ends.exit_code, Some(130));
    assert_eq!(sync.ends.succeeded_at, None);
    assert_eq!(sync.ends.accounts.unwrap().failed, 4);
}

async fn an_operators_look_counts_for_nothing_and_a_scheduled_one_does(place: Place) {
    let state = place.open().await;
    let mut look = Ended::new("clean", 100, 3);
    look.dry_run = true;
    look.status = RunStatus::Planned;
    look.write(&state).await;
    assert_eq!(job(&state, "clean").await.ends.succeeded_at, Some(100_000));
    let mut by_hand = Ended::new("clean", 200, 1);
    by_hand.dry_run = true;
    by_hand.woken_by = "operator";
    by_hand.write(&state).await;
    let clean = job(&state, "clean").await;
    assert_eq!(clean.ends.ended_at, Some(100_000));
    assert_eq!(clean.ends.exit_code, Some(3));
}

async fn what_earlier_versions_wrote_of_runs_is_known_after_an_upgrade(place: Place) {
    let state = place.open().await;
    let mut looked = Ended::new("sync", 100, 3);
    looked.failed = 4;
    looked.write(&state).await;
    Ended::new("sync", 200, 5).write(&state).await;
    let mut by_hand = Ended::new("sync", 300, 1);
    by_hand.dry_run = true;
    by_hand.woken_by = "operator";
    by_hand.write(&state).await;
    let mut look = Ended::new("clean", 400, 0);
    look.dry_run = true;
    look.write(&state).await;
    let written = told(&state).await.jobs;
    // The upgrade finds the runs alone.
    sqlx::query("DELETE FROM job_ends")
        .execute(state.pool())
        .await
        .unwrap();
    assert_eq!(told(&state).await.jobs, BTreeMap::new());
    let migration = MIGRATIONS.iter().find(|migration| migration.version == 26);
    let sql = migration.unwrap().sql.as_str();
    let from = sql.find("INSERT INTO job_ends").unwrap();
    let to = from + sql[from..].find(';').unwrap();
    let fills = sqlx::AssertSqlSafe(sql[from..to].to_owned());
    sqlx::query(fills).execute(state.pool()).await.unwrap();
    let found = told(&state).await.jobs;
    assert_eq!(found.len(), written.len());
    for (job, JobFigures { ends, .. }) in written {
        // How its findings were is known from the next run on.
        let expected = JobEnds {
            findings: None,
            ledger: BTreeMap::new(),
            ..ends
        };
        assert_eq!(found[&job].ends, expected, "{job}");
    }
}

async fn findings_are_counted_by_severity_until_a_run_has_none(place: Place) {
    let state = place.open().await;
    let mut audit = Ended::new("audit", 100, 3);
    audit.findings = vec![Severity::Error, Severity::Info, Severity::Error];
    audit.write(&state).await;
    let expected = BTreeMap::from([(Severity::Error, 2), (Severity::Info, 1)]);
    assert_eq!(job(&state, "audit").await.ends.findings, Some(expected));
    let mut audit = Ended::new("audit", 200, 3);
    audit.findings = vec![Severity::Warning];
    audit.write(&state).await;
    let expected = BTreeMap::from([(Severity::Warning, 1)]);
    assert_eq!(
        job(&state, "audit").await.ends.findings,
        Some(expected.clone())
    );
    // One that could not look knows nothing else.
    let mut failed = Ended::new("audit", 250, 5);
    failed.looked = false;
    failed.write(&state).await;
    assert_eq!(job(&state, "audit").await.ends.findings, Some(expected));
    Ended::new("audit", 300, 0).write(&state).await;
    let none = Some(BTreeMap::new());
    assert_eq!(job(&state, "audit").await.ends.findings, none);
}

async fn accounts_are_counted_by_standing_and_reason(place: Place) {
    let state = place.open().await;
    let row = |account: u64, reason: Reason| AccountRow {
        account: AwsAccountId::from_number(account).unwrap(),
        name: "one".into(),
        ou_path: "Root".into(),
        profile: "default".into(),
        targeted: true,
        standing: reason.standing(),
        reason,
        detail: None,
        spot_account: None,
        policy_version: None,
        live_role: None,
    };
    let mut looked = Ended::new("sync", 100, 1);
    looked.ledger = vec![
        row(1, Reason::Enrolled),
        row(2, Reason::Closed),
        row(3, Reason::Enrolled),
        row(4, Reason::Quarantined),
    ];
    looked.write(&state).await;
    // One that could not look leaves them as they were known.
    Ended::new("sync", 200, 5).write(&state).await;
    let of = |reasons: &[(&str, u64)]| {
        let reasons = reasons.iter();
        reasons
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect::<BTreeMap<_, _>>()
    };
    let expected = BTreeMap::from([
        ("ok".to_owned(), of(&[("enrolled", 2)])),
        (
            "skipped".to_owned(),
            of(&[("closed", 1), ("quarantined", 1)]),
        ),
    ]);
    assert_eq!(job(&state, "sync").await.ends.ledger, expected);
}

async fn runs_that_died_are_counted_until_one_ends_by_itself(place: Place) {
    let state = place.open().await;
    for second in [100, 200] {
        let run = Ended::new("sync", second, 0).begun();
        drop(state.begin_run(&run).await.unwrap());
    }
    // The second one has found the first one dead; nobody has found the second one yet.
    let sync = job(&state, "sync").await;
    assert_eq!((sync.ends.deaths, sync.ends.ended_at), (1, None));
    Ended::new("sync", 300, 1).write(&state).await;
    assert_eq!(job(&state, "sync").await.ends.deaths, 0);
}

async fn a_schedule_is_in_force_since_it_changed_last(place: Place) {
    let state = place.open().await;
    let second = |second| Timestamp::from_second(second).unwrap();
    let look = |schedule: &str, before: Option<i64>, until: i64| Looked {
        job: "sync".to_owned(),
        kind: "stackset-sync".to_owned(),
        schedule: schedule.to_owned(),
        before: before.map(second),
        until: second(until),
        decisions: Vec::new(),
    };
    let mut before = None;
    for (schedule, until, expected) in [
        ("@every 1h", 100, 100),
        ("@every 1h", 200, 100),
        ("@every 2h", 300, 300),
        ("@every 2h", 400, 300),
    ] {
        let looks = [look(schedule, before, until)];
        state.note_looks(&looks, second(until)).await.unwrap();
        let sync = job(&state, "sync").await;
        assert_eq!(sync.in_force_since, Some(expected * 1_000), "{until}");
        before = Some(until);
    }
    // Out of force for a while.
    state.forget_schedules(&["sync"]).await.unwrap();
    let looks = [look("@every 2h", before, 500)];
    state.note_looks(&looks, second(500)).await.unwrap();
    assert_eq!(job(&state, "sync").await.in_force_since, Some(500_000));
    // Replicas that know the job by different schedules, or not at all, look in turn.
    before = Some(500);
    for (schedule, until) in [("@every 1h", 600), ("@every 2h", 700)] {
        let tick = second(until);
        let decisions = vec![Decision::Queue { tick, due_at: tick }];
        let looked = Looked {
            decisions,
            ..look(schedule, before, until)
        };
        state.note_looks(&[looked], tick).await.unwrap();
        state.forget_schedules(&["sync"]).await.unwrap();
        assert_eq!(job(&state, "sync").await.in_force_since, Some(500_000));
        before = Some(until);
    }
}

async fn freezes_are_told_with_when_they_began_and_ended(place: Place) {
    let state = place.open().await;
    let database = state.database();
    let second = |second| Timestamp::from_second(second).unwrap();
    let freeze = |since| Freeze {
        since: second(since),
        by: "ana".to_owned(),
        reason: "change window".to_owned(),
    };
    let of_freezes = async || {
        let figures = told(&state).await;
        (figures.frozen_since, figures.thawed_at)
    };
    assert!(database.begin_freeze("1", &freeze(10)).await.unwrap());
    assert_eq!(of_freezes().await, (Some(10_000), None));
    assert!(database.end_freeze(second(20), "ana").await.unwrap());
    assert_eq!(of_freezes().await, (None, Some(20_000)));
    assert!(database.begin_freeze("2", &freeze(30)).await.unwrap());
    assert_eq!(of_freezes().await, (Some(30_000), Some(20_000)));
}

async fn what_waits_to_be_told_is_as_old_as_the_oldest(place: Place) {
    let state = place.open().await;
    let notify = async |target: &str, cause: &str, at| {
        let notification = Notification {
            target: target.to_owned(),
            notice: Notice::new(Event::RunFailed, "sync", 0, "failed".to_owned(), cause),
            quiet: 1,
            give_up_after: if target == "chat" { 100 } else { 10_000 },
        };
        state.notify(&[notification], at).await.unwrap();
    };
    notify("ops", "first", 100).await;
    notify("ops", "second", 200).await;
    notify("chat", "first", 300).await;
    let given_up = state.give_up_overdue(Some("chat"), 450).await.unwrap();
    assert_eq!(given_up.len(), 1);
    let expected = BTreeMap::from([
        (
            "ops".to_owned(),
            TargetFigures {
                waiting: 2,
                oldest: Some(100),
                given_up_at: None,
            },
        ),
        (
            "chat".to_owned(),
            TargetFigures {
                waiting: 0,
                oldest: None,
                given_up_at: Some(450),
            },
        ),
    ]);
    assert_eq!(told(&state).await.targets, expected);
    // One that got through waits no more.
    let taken = state.take_notification("ops", 30, 600, 700).await.unwrap();
    let NextNotification::One(taken) = taken else {
        panic!("{taken:?}");
    };
    state.notification_sent(&taken, 650).await.unwrap();
    let ops = told(&state).await.targets["ops"];
    assert_eq!((ops.waiting, ops.oldest), (1, Some(200)));
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
    let taken = state.take_up(now, "us", &known, || false);
    let _taken = taken.await.unwrap().unwrap();
    state.pause_job("sync", "ana", None, now).await.unwrap();
    let sync = job(&state, "sync").await;
    assert_eq!((sync.queued, sync.running), (1, 1));
    assert_eq!(sync.paused_since, Some(now.as_millisecond()));
    assert_eq!(sync.in_force_since, None);
    let later = now + std::time::Duration::from_secs(60);
    state.resume_job("sync", later).await.unwrap();
    let sync = job(&state, "sync").await;
    assert_eq!(sync.paused_since, None);
    assert_eq!(sync.in_force_since, Some(later.as_millisecond()));
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
    let before = told(&state).await;
    assert_eq!((before.retrying, before.oldest_failure), (2, Some(500)));
    // An account that could not be mended fails, too, and an account is one however much of it fails.
    let run = RunId::new();
    for (second, account) in [(400, "111122223333"), (600, "777788889999")] {
        let account: AwsAccountId = account.parse().unwrap();
        for mend in [MendKind::Link, MendKind::Rename] {
            let failures = [MendFailure {
                of: (account, mend),
                reason: "refused",
            }];
            let recorded = state.record_mend_failures("default", run, &failures, 900, second);
            recorded.await.unwrap();
        }
    }
    // What fails again fails since the first time.
    let failures = [MendFailure {
        of: ("111122223333".parse().unwrap(), MendKind::Link),
        reason: "refused",
    }];
    let again = state.record_mend_failures("default", RunId::new(), &failures, 900, 5_000);
    again.await.unwrap();
    let figures = told(&state).await;
    assert_eq!((figures.retrying, figures.oldest_failure), (3, Some(400)));
}

/// With 20,000 runs, whoever scrapes must not read them: a file has one connection, which the journal needs.
#[tokio::test]
async fn no_figure_makes_the_state_look_through_its_runs() {
    let state = Place::file().open().await;
    for asked in figures::ASKED {
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {asked}")))
            .fetch_all(state.pool())
            .await
            .unwrap();
        for row in plan {
            let detail: String = row.try_get("detail").unwrap();
            let scans = detail.starts_with("SCAN runs")
                || (detail.starts_with("SCAN notifications") && !detail.contains("COVERING INDEX"));
            assert!(!scans, "{asked}: {detail}");
        }
    }
}
