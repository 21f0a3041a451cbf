//! Steps: once, again, side by side, failing, retried.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use onboarding_core::plan::Refusal;

use super::world::{Mode, Scripted, TestJob, account, options};
use crate::engine::{
    ErrorClass, Phase, RetryPolicy, RunOptions, RunStatus, StepOutcome, exit_code,
    memory_journal::MemoryJournal,
};

fn outcomes(report: &crate::engine::RunReport) -> Vec<(&str, StepOutcome, u32)> {
    let steps = report.steps.iter();
    steps
        .map(|step| (step.id.as_str(), step.outcome, step.attempts))
        .collect()
}

#[tokio::test]
async fn running_twice_is_running_once() {
    for mode in [Mode::PerAccount, Mode::Operation] {
        let (job, journal) = (TestJob::new(mode, 5), Arc::default());
        let first = job.run(&journal).await;
        assert_eq!((first.status(), exit_code(&first)), (RunStatus::Done, 0));
        assert_eq!((first.summary().ok, first.summary().changed), (5, 5));
        assert!(first.is_verified());
        let second = job.run(&journal).await;
        assert_eq!((second.status(), exit_code(&second)), (RunStatus::Done, 0));
        assert_eq!((second.summary().ok, second.summary().unchanged), (5, 5));
        assert!(second.steps.is_empty() && second.is_verified());
        assert_eq!(
            second.api_calls["test:Look"], 1,
            "nothing was applied, so nothing is verified"
        );
        job.assert_enrolled_once();
    }
}

#[tokio::test]
async fn a_step_that_fails_once_is_tried_again_and_succeeds() {
    for class in [
        ErrorClass::Transient,
        ErrorClass::Throttled,
        ErrorClass::Conflict,
    ] {
        let (job, journal) = (TestJob::new(Mode::Operation, 3), Arc::default());
        job.script("enroll-all", [Scripted::Fail(class)]);
        let report = job.run(&journal).await;
        assert_eq!(outcomes(&report), [("enroll-all", StepOutcome::Changed, 2)]);
        assert_eq!(exit_code(&report), 0);
        let attempts = &journal.run(report.run_id).steps["enroll-all"].attempts;
        let expected = [
            (1, Some(class.code().to_owned())),
            (2, Some("ok".to_owned())),
        ];
        assert_eq!(attempts[..], expected);
        job.assert_enrolled_once();
    }
}

#[tokio::test]
async fn other_classes_are_not_tried_again() {
    for class in ErrorClass::ALL
        .into_iter()
        .filter(|class| !class.is_retryable())
    {
        let (job, journal) = (TestJob::new(Mode::Operation, 3), Arc::default());
        job.script("enroll-all", [Scripted::Fail(class)]);
        let report = job.run(&journal).await;
        assert_eq!(outcomes(&report), [("enroll-all", StepOutcome::Failed, 1)]);
        assert_eq!(report.steps[0].error, Some(class));
        assert_eq!(report.status(), RunStatus::Failed);
    }
}

#[tokio::test]
async fn attempts_end_with_the_policy_and_other_steps_go_on() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 6), Arc::default());
    let failing = format!("enroll:{}", account(3));
    job.script(&failing, vec![Scripted::Fail(ErrorClass::Transient); 9]);
    let report = job.run(&journal).await;
    let failed: Vec<_> = outcomes(&report)
        .into_iter()
        .filter(|(_, outcome, _)| *outcome != StepOutcome::Changed)
        .collect();
    assert_eq!(failed, [(failing.as_str(), StepOutcome::Failed, 3)]);
    assert_eq!((report.summary().ok, report.summary().pending), (5, 1));
    assert_eq!(exit_code(&report), 1);
    assert_eq!(journal.run(report.run_id).touched, 6);
}

#[tokio::test]
async fn steps_of_one_action_are_tried_again_as_often_as_is_said_of_them() {
    for (action, attempts) in [("enroll", 1), ("another", 3)] {
        let (job, journal) = (TestJob::new(Mode::Operation, 3), Arc::default());
        job.script("enroll-all", vec![Scripted::Fail(ErrorClass::Transient); 9]);
        let once = RetryPolicy {
            attempts: 1,
            ..RetryPolicy::default()
        };
        let options = RunOptions {
            retry_of: [(action.to_owned(), once)].into(),
            ..options()
        };
        let report = job.run_with(&journal, options).await;
        let failed = ("enroll-all", StepOutcome::Failed, attempts);
        assert_eq!(outcomes(&report), [failed]);
    }
}

#[tokio::test]
async fn a_step_that_panics_fails_alone() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 4), Arc::default());
    job.script(&format!("enroll:{}", account(1)), [Scripted::Panic]);
    let report = job.run(&journal).await;
    assert_eq!(report.steps[0].error, Some(ErrorClass::Bug));
    assert_eq!(report.summary().ok, 3);
}

/// What a step wrote down is there when it is asked for again, unless it is followed to its end, which a failure is.
#[tokio::test]
async fn what_a_failed_step_wrote_down_is_kept_where_the_kind_says_so() {
    for (mode, effects) in [(Mode::Kept, 1), (Mode::Operation, 2)] {
        let (mut job, journal) = (TestJob::new(mode, 3), Arc::default());
        // It begins the effect, and is never heard of again.
        job.requeued_for = Duration::from_secs(3600);
        let options = RunOptions {
            operation_timeout: Duration::ZERO,
            ..options()
        };
        let failed = job.run_with(&journal, options).await;
        assert_eq!(outcomes(&failed), [("enroll-all", StepOutcome::Failed, 1)]);
        // Guard rails take it out of the next plan, and it fails before it looks in the one after.
        let mut withheld = job.restarted();
        withheld.withholds = true;
        withheld.run(&journal).await;
        let failing = job.restarted();
        failing.script("enroll-all", [Scripted::Fail(ErrorClass::Failed)]);
        failing.run(&journal).await;
        let last = job.restarted();
        assert_eq!(exit_code(&last.run(&journal).await), 0);
        assert_eq!(last.world.lock().effects.len(), effects, "{mode:?}");
        // It ended well: a later one of its name is another one.
        last.world.lock().enrolled.clear();
        assert_eq!(exit_code(&last.run(&journal).await), 0);
        assert_eq!(last.world.lock().effects.len(), effects + 1, "{mode:?}");
    }
}

/// What is not planned any more is forgotten.
#[tokio::test]
async fn what_a_step_wrote_down_is_forgotten_with_the_step() {
    let (mut job, journal) = (TestJob::new(Mode::Kept, 3), Arc::default());
    job.requeued_for = Duration::from_secs(3600);
    let options = RunOptions {
        operation_timeout: Duration::ZERO,
        ..options()
    };
    job.run_with(&journal, options).await;
    // Somebody else has done it, and then it is undone.
    let everybody = (1..=3).map(account);
    job.world.lock().enrolled.extend(everybody);
    let next = job.restarted();
    assert_eq!(exit_code(&next.run(&journal).await), 0);
    next.world.lock().enrolled.clear();
    assert_eq!(exit_code(&next.run(&journal).await), 0);
    assert_eq!(next.world.lock().effects.len(), 2);
}

#[tokio::test]
async fn a_kind_bounds_how_many_of_its_steps_are_applied_side_by_side() {
    let (mut job, journal) = (TestJob::new(Mode::PerAccount, 10), Arc::default());
    job.most_at_once = 2;
    assert_eq!(exit_code(&job.run(&journal).await), 0);
    assert_eq!(job.world.lock().most_at_work, 2);
}

/// Else one that goes on elsewhere for an hour would keep all others waiting.
#[tokio::test]
async fn a_step_that_waits_to_be_asked_again_keeps_no_other_from_its_turn() {
    let (mut job, journal) = (TestJob::new(Mode::PerAccount, 3), Arc::default());
    job.most_at_once = 1;
    let first = format!("enroll:{}", account(1));
    job.script(&first, [Scripted::Requeue(Duration::from_secs(3600))]);
    let (options, world) = (options(), job.world.clone());
    let (interrupt, begun) = (options.interrupt.clone(), Instant::now());
    // The steps of one order are those of the accounts 1 and 3.
    let look = async {
        while !world.lock().enrolled.contains(&account(3)) {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        assert!(!world.lock().enrolled.contains(&account(1)));
        interrupt.signal();
    };
    let (report, ()) = tokio::join!(job.run_with(&journal, options), look);
    assert_eq!(report.status(), RunStatus::Interrupted);
}

/// Else as many tickets as steps go side by side, which people close, would keep all others from being opened.
#[tokio::test]
async fn however_many_wait_to_be_asked_again_the_others_have_their_turns() {
    const WAITING: u64 = 20;
    let (mut job, journal) = (TestJob::new(Mode::PerAccount, 60), Arc::default());
    job.keeps_memos = true;
    // The steps of the first order are those of the odd accounts.
    let first_order = |number: u64| account(2 * number + 1);
    for number in 0..WAITING {
        let step = format!("enroll:{}", first_order(number));
        job.script(&step, [Scripted::Requeue(Duration::from_secs(3600))]);
    }
    let (options, world) = (options(), job.world.clone());
    let (interrupt, begun) = (options.interrupt.clone(), Instant::now());
    let look = async {
        let others: Vec<_> = (WAITING..30).map(first_order).collect();
        while !others
            .iter()
            .all(|other| world.lock().enrolled.contains(other))
        {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        interrupt.signal();
    };
    let (report, ()) = tokio::join!(job.run_with(&journal, options), look);
    assert_eq!(report.status(), RunStatus::Interrupted);
    assert_eq!(job.world.lock().enrolled.len(), 10);
    let most = job.world.lock().most_at_work;
    assert!(
        (2..=RunOptions::CONCURRENCY).contains(&most),
        "{most} calls at once"
    );
}

#[tokio::test]
async fn steps_of_an_order_run_side_by_side_within_the_limit() {
    for (concurrency, most) in [(1, 1), (3, 3), (100, 5)] {
        let (job, journal) = (TestJob::new(Mode::PerAccount, 10), Arc::default());
        let options = RunOptions {
            concurrency,
            ..options()
        };
        job.run_with(&journal, options).await;
        assert_eq!(job.world.lock().most_at_work, most);
        let effects = job.world.lock().effects.clone();
        assert!(
            effects[..5].contains(&format!("enroll:{}", account(1)))
                && effects[5..].contains(&format!("enroll:{}", account(2))),
            "the lower order comes first: {effects:?}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_and_a_refused_plan_apply_nothing() {
    let (mut job, journal) = (TestJob::new(Mode::PerAccount, 4), Arc::default());
    let options = RunOptions {
        dry_run: true,
        ..options()
    };
    let report = job.run_with(&journal, options).await;
    assert_eq!(
        (report.status(), exit_code(&report)),
        (RunStatus::Planned, 3)
    );
    assert_eq!(report.summary().planned, 4);
    job.refusals.push(Refusal {
        guard: "shrink-guard".to_owned(),
        message: "fewer accounts".to_owned(),
        whole_plan: true,
    });
    let report = job.run(&journal).await;
    assert_eq!(
        (report.status(), exit_code(&report)),
        (RunStatus::Refused, 4)
    );
    assert_eq!(report.summary().pending, 4);
    assert!(job.world.lock().effects.is_empty());
    assert!(job.world.lock().background.is_empty());
}

#[tokio::test]
async fn observing_is_tried_again_by_class() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 2), Arc::default());
    job.world
        .lock()
        .observe_failures
        .extend([ErrorClass::Throttled; 2]);
    assert_eq!(exit_code(&job.run(&journal).await), 0);
    for (class, exit) in [
        (ErrorClass::Prerequisite, 5),
        (ErrorClass::Denied, 5),
        (ErrorClass::Invalid, 2),
        (ErrorClass::Failed, 1),
    ] {
        job.world.lock().observe_failures.push_back(class);
        let report = job.run(&journal).await;
        assert_eq!(
            (report.status(), exit_code(&report)),
            (RunStatus::Failed, exit)
        );
        assert!(report.plan().is_none());
    }
}

#[tokio::test]
async fn background_work_spans_the_steps() {
    let (job, journal) = (TestJob::new(Mode::PerAccount, 2), Arc::default());
    job.run(&journal).await;
    assert_eq!(job.world.lock().background, ["started", "ended"]);
    assert_eq!(job.world.lock().looks, [Phase::Observe, Phase::Verify]);
}

#[tokio::test]
async fn an_operation_that_does_not_end_fails_its_step() {
    let (job, journal) = (TestJob::new(Mode::Operation, 2), Arc::default());
    let options = RunOptions {
        operation_timeout: Duration::ZERO,
        ..options()
    };
    let report = job.run_with(&journal, options).await;
    assert_eq!(report.steps[0].error, Some(ErrorClass::Ambiguous));
    assert_eq!(exit_code(&report), 1);
}

#[tokio::test]
async fn a_run_that_touches_nothing_journals_its_summary_only() {
    let (job, journal) = (
        TestJob::new(Mode::Operation, 10_000),
        Arc::<MemoryJournal>::default(),
    );
    job.run(&journal).await;
    journal.fail_at(None);
    let report = job.run(&journal).await;
    assert_eq!(report.summary().unchanged, 10_000);
    assert_eq!(journal.writes(), 3, "begin, plan, end");
    assert_eq!(journal.run(report.run_id).touched, 0);
}

#[tokio::test]
async fn a_panic_while_looking_fails_the_run_and_the_next_one_goes_on() {
    for place in ["observe", "plan"] {
        let (job, journal) = (TestJob::new(Mode::PerAccount, 2), Arc::default());
        job.world.lock().panics_in = place;
        let report = job.run(&journal).await;
        let error = report.error.as_ref().unwrap();
        assert_eq!(error.class(), ErrorClass::Bug);
        assert!(error.to_string().contains("please report this"), "{error}");
        assert_eq!(exit_code(&report), 1);
        assert_eq!(journal.run(report.run_id).state, "failed", "{place}");
        job.world.lock().panics_in = "";
        assert_eq!(exit_code(&job.run(&journal).await), 0);
    }
}
