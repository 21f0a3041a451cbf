//! What is written down with the end of a run for people to be told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use onboarding_core::{
    notify::{Event, Route},
    plan::{Finding, Plan, Refusal, Severity},
};

use super::world::{Mode, Scripted, TestJob, options};
use crate::engine::{
    ErrorClass, RunId, RunOptions, RunReport, memory_journal::MemoryJournal, telling,
};

fn routes() -> Arc<[Route]> {
    let all = Route {
        target: "all".to_owned(),
        events: Event::ALL.into(),
        jobs: BTreeSet::new(),
        severity: Severity::Warning,
        quiet: 1,
        give_up_after: 1_000,
    };
    Arc::new([all])
}

fn told(journal: &MemoryJournal) -> Vec<(Event, String)> {
    let told = journal.told().into_iter();
    told.map(|one| (one.notice.event, one.notice.what))
        .collect()
}

fn with_routes(dry_run: bool) -> RunOptions {
    RunOptions {
        routes: routes(),
        dry_run,
        ..options()
    }
}

#[tokio::test]
async fn a_run_that_fails_for_accounts_is_told_with_its_end() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 3), Arc::default());
    let step = {
        let planned = job.run_with(&journal, with_routes(true)).await;
        planned.plan_before.unwrap().steps[0].id.clone()
    };
    assert_eq!(told(&journal), []);
    job.script(&step, [Scripted::Fail(ErrorClass::Failed)]);
    let report = job.run_with(&journal, with_routes(false)).await;
    let all = told(&journal);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, Event::RunFailed);
    assert!(all[0].1.contains("failed"), "{}", all[0].1);
    let run = journal.told()[0].notice.run.clone();
    assert_eq!(run, Some(report.run_id.to_string()));
    // In order again, there is nothing to tell.
    job.run_with(&journal, with_routes(false)).await;
    assert_eq!(told(&journal).len(), 1);
}

#[tokio::test]
async fn without_targets_nothing_is_written() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 1), Arc::default());
    job.world
        .lock()
        .observe_failures
        .extend([ErrorClass::Failed]);
    let report = job.run(&journal).await;
    assert!(report.error.is_some());
    assert_eq!(told(&journal), []);
}

#[tokio::test]
async fn what_a_freeze_stops_is_not_told_and_what_a_guard_rail_refuses_is() {
    for (guard, is_told) in [("freeze", false), ("shrink-guard", true)] {
        let journal = Arc::default();
        let refusal = Refusal {
            guard: guard.to_owned(),
            message: "no".to_owned(),
            whole_plan: true,
        };
        let job = TestJob {
            refusals: vec![refusal],
            ..TestJob::new(Mode::PerAccount, 1)
        };
        job.run_with(&journal, with_routes(false)).await;
        let all = told(&journal);
        assert_eq!(
            all == [(Event::RunFailed, "no".to_owned())],
            is_told,
            "{all:?}"
        );
    }
}

#[tokio::test]
async fn findings_are_new_when_the_run_before_did_not_have_them_and_all_were_looked_for() {
    let finding = |id: &str| Finding {
        id: id.to_owned(),
        severity: Severity::Error,
        ..Finding::default()
    };
    let report = RunReport {
        run_id: RunId::new(),
        job: "job".to_owned(),
        kind: "test".to_owned(),
        dry_run: false,
        plan_before: Some(Plan {
            findings: vec![finding("known"), finding("new")],
            ..Plan::default()
        }),
        plan_after: None,
        moved: Vec::new(),
        held: None,
        steps: Vec::new(),
        error: None,
        engine_refusals: Vec::new(),
        interrupted: false,
        left_behind: Vec::new(),
        api_calls: std::collections::BTreeMap::new(),
        duration: Duration::ZERO,
        trace_id: None,
    };
    let journal = MemoryJournal::default();
    journal.know("known");
    for (looked, wanted) in [(true, 1), (false, 0)] {
        let all = telling::notifications(&journal, &routes(), &report, looked, 1).await;
        assert_eq!(all.len(), wanted);
        for one in all {
            let ids: Vec<_> = one.notice.findings.iter().map(|one| &*one.id).collect();
            assert_eq!((one.notice.event, ids), (Event::NewFindings, vec!["new"]));
        }
    }
}

#[tokio::test]
async fn a_job_that_is_defined_to_change_nothing_is_told_of_and_a_persons_look_is_not() {
    let finding = Finding {
        id: "new".to_owned(),
        severity: Severity::Error,
        ..Finding::default()
    };
    for (only_looks, wanted) in [
        (true, &[Event::NewFindings, Event::RunFailed][..]),
        (false, &[]),
    ] {
        let job = TestJob {
            findings: vec![finding.clone()],
            ..TestJob::new(Mode::PerAccount, 1)
        };
        let journal = Arc::default();
        let looking = RunOptions {
            only_looks,
            ..with_routes(true)
        };
        job.run_with(&journal, looking.clone()).await;
        job.world
            .lock()
            .observe_failures
            .extend([ErrorClass::Failed]);
        let report = job.run_with(&journal, looking).await;
        assert!(report.error.is_some());
        let told: Vec<Event> = told(&journal).into_iter().map(|(event, _)| event).collect();
        assert_eq!(told, wanted);
        assert_eq!(journal.looks(), usize::from(only_looks));
    }
}
