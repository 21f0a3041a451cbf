//! A crash at every write of the journal, then a new process in the same world.

use std::{sync::Arc, time::Duration};

use super::world::{Mode, TestJob, options};
use crate::engine::{
    Claim, RunId, RunKey, RunOptions, RunStatus,
    memory_journal::{Fault, MemoryJournal},
};

async fn writes_of_a_whole_run(mode: Mode) -> usize {
    let (job, journal) = (TestJob::new(mode, 4), Arc::<MemoryJournal>::default());
    job.run(&journal).await;
    journal.writes()
}

#[tokio::test]
async fn a_crash_at_any_write_is_resumed_without_a_second_effect() {
    for mode in [Mode::PerAccount, Mode::Operation] {
        let writes = writes_of_a_whole_run(mode).await;
        assert!(writes >= 6, "{writes}");
        for write in 0..writes {
            for fault in [Fault::BeforeWrite(write), Fault::AfterWrite(write)] {
                let (job, journal) = (TestJob::new(mode, 4), Arc::<MemoryJournal>::default());
                journal.fail_at(Some(fault.clone()));
                let crashed = job.run(&journal).await;
                assert_eq!(crashed.status(), RunStatus::Failed, "{mode:?} {fault:?}");
                let error = crashed.error.as_ref().map(|error| error.chain());
                assert!(
                    error.is_some_and(|text| text.contains("journal")),
                    "{fault:?}"
                );
                journal.fail_at(None);
                let resumed = job.restarted();
                let report = resumed.run(&journal).await;
                assert_eq!(report.status(), RunStatus::Done, "{mode:?} {fault:?}");
                assert_eq!(report.summary().ok, 4);
                resumed.assert_enrolled_once();
                let states: Vec<_> = journal.runs().into_iter().map(|run| run.state).collect();
                assert!(!states.contains(&"running".to_owned()), "{states:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_effect_is_started_after_a_write_failed() {
    let writes = writes_of_a_whole_run(Mode::PerAccount).await;
    // Before the first attempt: the start of the run and the plan.
    for write in 0..=2 {
        let (job, journal) = (
            TestJob::new(Mode::PerAccount, 4),
            Arc::<MemoryJournal>::default(),
        );
        journal.fail_at(Some(Fault::BeforeWrite(write)));
        let report = job.run_with(
            &journal,
            crate::engine::RunOptions {
                concurrency: 1,
                ..super::world::options()
            },
        );
        report.await;
        assert!(
            job.world.lock().effects.is_empty(),
            "write {write} of {writes}"
        );
    }
}

/// As a daemon runs it, which takes its time for the end.
fn patient(is_put_off_by_signals: bool) -> RunOptions {
    RunOptions {
        is_put_off_by_signals,
        concurrency: 1,
        end_patience: Duration::from_secs(60),
        ..options()
    }
}

#[tokio::test]
async fn a_run_that_the_state_stopped_has_not_died_and_is_asked_for_again() {
    for by_hand in [false, true] {
        let job = TestJob::new(Mode::PerAccount, 4);
        let journal = Arc::<MemoryJournal>::default();
        // The record of the first attempt, and the first try to write the end down.
        journal.fail_at(Some(Fault::During(2..4)));
        let report = job.run_with(&journal, patient(!by_hand)).await;
        assert_eq!(report.status(), RunStatus::Failed);
        assert!(job.world.lock().effects.is_empty());
        let run = journal.run(report.run_id);
        // Who asked for it by hand is told, and asks again.
        assert_eq!((&*run.state, run.again), ("failed", !by_hand));
    }
}

#[tokio::test]
async fn a_run_that_waited_and_could_not_begin_because_of_the_state_is_asked_for_again() {
    let (job, journal) = (
        TestJob::new(Mode::PerAccount, 4),
        Arc::<MemoryJournal>::default(),
    );
    journal.fail_at(Some(Fault::During(0..1)));
    let key = RunKey {
        id: RunId::new(),
        fence: 1,
    };
    let options = RunOptions {
        claim: Some(Claim {
            key,
            hold: Arc::new(()),
            span: tracing::Span::none(),
        }),
        ..patient(true)
    };
    let report = job.run_with(&journal, options).await;
    assert_eq!(report.status(), RunStatus::Failed);
    let run = journal.run(key.id);
    assert_eq!((&*run.state, run.again), ("failed", true));
}

#[tokio::test]
async fn an_end_that_cannot_be_written_at_once_is_written_later() {
    let writes = writes_of_a_whole_run(Mode::PerAccount).await;
    let (job, journal) = (
        TestJob::new(Mode::PerAccount, 4),
        Arc::<MemoryJournal>::default(),
    );
    journal.fail_at(Some(Fault::During(writes - 1..writes)));
    let report = job.run_with(&journal, patient(true)).await;
    assert_eq!(report.status(), RunStatus::Done, "{:?}", report.error);
    let run = journal.run(report.run_id);
    assert_eq!((&*run.state, run.again), ("done", false));
}

#[tokio::test]
async fn a_run_that_another_process_has_taken_over_is_left_to_it() {
    let (job, journal) = (
        TestJob::new(Mode::PerAccount, 4),
        Arc::<MemoryJournal>::default(),
    );
    journal.fail_at(Some(Fault::TakenOver(2)));
    let report = job.run_with(&journal, patient(true)).await;
    assert_eq!(report.status(), RunStatus::Failed);
    assert_eq!(journal.run(report.run_id).state, "running");
    assert_eq!(journal.writes(), 3, "the end is not tried");
}
