//! A journal that does not come back, as where the server has vanished.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::LocalSet, time::timeout};

use super::world::{Mode, TestJob, options};
use crate::engine::{
    Claim, Hold, Interrupt, RunId, RunKey, RunOptions, memory_journal::MemoryJournal,
};

/// Longer than anything takes that comes back.
const LONG: Duration = Duration::from_secs(60);

/// A lock that runs out when it is told to.
#[derive(Debug, Default)]
struct Lease(AtomicBool);

impl Hold for Lease {
    fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_run_ends_when_its_lock_is_lost_whatever_it_waits_for() {
    let runs = LocalSet::new();
    runs.run_until(run_out()).await;
}

async fn run_out() {
    for (method, effects) in [("begin_run", 0), ("plan_run", 0), ("end_run", 2)] {
        let job = Arc::new(TestJob::new(Mode::PerAccount, 2));
        let journal = Arc::<MemoryJournal>::default();
        let hold = Arc::new(Lease::default());
        journal.lock_with(hold.clone());
        journal.hang_in(method);
        let key = RunKey {
            id: RunId::new(),
            fence: 1,
        };
        let claim = Claim {
            key,
            hold: hold.clone(),
            span: tracing::Span::none(),
        };
        let options = RunOptions {
            claim: Some(claim),
            ..options()
        };
        // A task of its own: nobody wakes it by asking.
        let (running, runs_in) = (Arc::clone(&job), Arc::clone(&journal));
        let running = tokio::task::spawn_local(async move {
            let report = running.run_with(&runs_in, options);
            report.await
        });
        while !journal.hangs() {
            tokio::task::yield_now().await;
        }
        hold.0.store(true, Ordering::Relaxed);
        let report = timeout(LONG, running).await.expect(method).unwrap();
        let error = report.error.unwrap().chain();
        let is_lost = error.contains("was not renewed in time");
        assert!(is_lost, "{method}: {error}");
        assert_eq!(job.world.lock().effects.len(), effects, "{method}");
    }
}

#[tokio::test]
async fn a_run_of_a_process_that_is_to_end_waits_for_no_journal_that_does_not_answer() {
    let runs = LocalSet::new();
    runs.run_until(silenced()).await;
}

async fn silenced() {
    // Its lock is good all the time, and the last one follows what goes on elsewhere.
    for (method, mode) in [
        ("begin_run", Mode::PerAccount),
        ("plan_run", Mode::PerAccount),
        ("end_run", Mode::PerAccount),
        ("cancelled_by", Mode::Operation),
    ] {
        let mut job = TestJob::new(mode, 2);
        job.requeued_for = Duration::from_secs(3600);
        let journal = Arc::<MemoryJournal>::default();
        journal.hang_in(method);
        let interrupt = Interrupt::with_moments_of(Duration::from_millis(50));
        let options = RunOptions {
            interrupt: interrupt.clone(),
            end_patience: LONG,
            ..options()
        };
        let running_in = Arc::clone(&journal);
        let running = tokio::task::spawn_local(async move {
            let report = job.run_with(&running_in, options);
            report.await
        });
        while !journal.hangs() {
            tokio::task::yield_now().await;
        }
        interrupt.signal();
        let report = timeout(LONG, running).await.expect(method).unwrap();
        let error = report.error.unwrap().chain();
        assert!(error.contains("does not answer"), "{method}: {error}");
    }
}
