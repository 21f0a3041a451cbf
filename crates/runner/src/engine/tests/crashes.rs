//! A crash at every write of the journal, then a new process in the same world.

use std::sync::Arc;

use super::world::{Mode, TestJob};
use crate::engine::{
    RunStatus,
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
                journal.fail_at(Some(fault));
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
