//! Signals, of which the first drains and the second leaves at once, and a freeze.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::world::{Mode, Scripted, TestJob, account, options};
use crate::engine::{
    Interrupt, RunOptions, RunStatus, StepOutcome, exit_code, memory_journal::MemoryJournal,
};

/// Longer than anything takes that does not wait for what it need not wait for.
const LONG: Duration = Duration::from_secs(60);

fn interrupted_after(looks: u32) -> (TestJob, Arc<MemoryJournal>, RunOptions) {
    let interrupt = Interrupt::default();
    let mut job = TestJob::new(Mode::Operation, 3);
    job.interrupt_after = Some((looks, interrupt.clone()));
    (
        job,
        Arc::default(),
        RunOptions {
            interrupt,
            ..options()
        },
    )
}

#[tokio::test]
async fn an_interrupted_operation_is_stopped_once_and_followed_to_its_end() {
    for looks in 1..=4 {
        let (job, journal, options) = interrupted_after(looks);
        let report = job.run_with(&journal, options).await;
        assert_eq!(
            (report.status(), exit_code(&report)),
            (RunStatus::Interrupted, 130)
        );
        assert_eq!(report.steps[0].outcome, StepOutcome::Pending);
        assert_eq!(
            report.summary().pending,
            3,
            "what is pending is looked up before leaving"
        );
        assert!(report.left_behind.is_empty());
        let world = job.world.lock();
        assert_eq!(world.stopped.len(), 1);
        assert_eq!(
            world.operations.values().copied().max(),
            Some(0),
            "followed to its end"
        );
        assert_eq!(world.background, ["started", "ended"]);
    }
}

/// As soon as it is asked to end, also while it waits to ask again, however long that would be.
#[tokio::test]
async fn what_is_not_followed_is_left_to_the_next_run() {
    // While `apply` answers that it goes on, and while the answer is slept over.
    for looks in [1, u32::MAX] {
        let (mut job, journal, options) = interrupted_after(looks);
        job.mode = Mode::Kept;
        job.requeued_for = Duration::from_secs(3600);
        let (interrupt, world) = (options.interrupt.clone(), job.world.clone());
        let begun = Instant::now();
        let signal = async {
            while world.lock().operations.is_empty() {
                assert!(begun.elapsed() < LONG);
                tokio::task::yield_now().await;
            }
            if !interrupt.is_signalled() {
                interrupt.signal();
            }
        };
        let (report, ()) = tokio::join!(job.run_with(&journal, options), signal);
        assert!(begun.elapsed() < LONG);
        assert_eq!(exit_code(&report), 130);
        assert_eq!(report.steps[0].outcome, StepOutcome::Pending);
        // The next one knows what goes on, and begins it no second time.
        let next = job.restarted();
        assert_eq!(exit_code(&next.run(&journal).await), 0);
        next.assert_enrolled_once();
    }
}

#[tokio::test]
async fn an_interrupted_run_starts_no_further_step() {
    let interrupt = Interrupt::default();
    let (job, journal) = (TestJob::new(Mode::PerAccount, 6), Arc::default());
    // The first step fails for now; the signal comes before it is tried again.
    job.script(
        &format!("enroll:{}", account(1)),
        [Scripted::Fail(crate::engine::ErrorClass::Transient)],
    );
    interrupt.signal();
    let options = RunOptions {
        interrupt,
        ..options()
    };
    let report = job.run_with(&journal, options).await;
    assert_eq!(exit_code(&report), 130);
    assert!(job.world.lock().effects.is_empty());
}

#[tokio::test]
async fn a_second_signal_leaves_at_once_and_says_what_hangs() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 2), Arc::default());
    let first = format!("enroll:{}", account(1));
    job.script(&first, [Scripted::Hang]);
    let report = job.run(&journal).await;
    assert_eq!(
        (report.status(), exit_code(&report)),
        (RunStatus::Interrupted, 130)
    );
    assert_eq!(
        report.left_behind,
        [format!("step {first} is still going on")]
    );
    let resumed = job.restarted();
    assert_eq!(exit_code(&resumed.run(&journal).await), 0);
    resumed.assert_enrolled_once();
}

#[tokio::test]
async fn what_is_frozen_is_refused_before_its_first_step_and_starts_none_later() {
    let (job, journal) = (
        TestJob::new(Mode::PerAccount, 3),
        Arc::<MemoryJournal>::default(),
    );
    journal.freeze_after(0);
    let refused = job.run(&journal).await;
    assert_eq!(
        (refused.status(), exit_code(&refused)),
        (RunStatus::Refused, 4)
    );
    assert_eq!(refused.refusals()[0].guard, "freeze");
    assert!(job.world.lock().effects.is_empty());

    // One look before the steps, and one before each of them.
    journal.freeze_after(2);
    let options = RunOptions {
        concurrency: 1,
        ..options()
    };
    let stopped = job.run_with(&journal, options).await;
    assert_eq!(
        (stopped.status(), exit_code(&stopped)),
        (RunStatus::Refused, 4)
    );
    assert_eq!(job.world.lock().effects.len(), 1);
    assert_eq!(stopped.summary().pending, 2);
}
