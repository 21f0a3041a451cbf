//! The journal: runs that end, die, exclude each other, and hand their memos on.

use std::collections::BTreeMap;

use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Risk, Step, Summary},
    status::{Reason, Standing},
};
use serde_json::json;

use super::{Place, on_both};
use crate::{
    engine::{
        Asked, AttemptEnd, AttemptStart, Begun, ErrorClass, Journal as _, JournalError, NewRun,
        RunEnd, RunId, RunKey, RunStatus, StepEnd, StepOutcome,
    },
    state::{State, StateError},
};

fn new_run(job: &str) -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: None,
        at: 1_000,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
    }
}

fn account() -> AwsAccountId {
    "000000000001".parse().unwrap()
}

fn step(id: &str) -> Step {
    Step {
        id: id.to_owned(),
        kind: "test".to_owned(),
        action: "enroll".to_owned(),
        accounts: vec![account()],
        reason: "not enrolled".to_owned(),
        risk: Risk::Low,
        order: 0,
        changes: Vec::new(),
        estimate: onboarding_core::plan::Estimate::default(),
        preconditions: Vec::new(),
        payload: json!({"profile": "default"}),
    }
}

fn start(step: &str) -> AttemptStart<'_> {
    AttemptStart {
        step,
        attempt: 1,
        at: 2_000,
        span_id: Some("b7ad6b7169203331".to_owned()),
    }
}

async fn end(state: &State, run: RunKey, status: RunStatus) -> Result<(), JournalError> {
    let row = AccountRow {
        account: account(),
        name: "one".into(),
        ou_path: "Root".into(),
        profile: "default".into(),
        targeted: true,
        standing: Standing::Ok,
        reason: Reason::Enrolled,
        detail: None,
        spot_account: None,
        policy_version: None,
        live_role: None,
    };
    let end = RunEnd {
        status,
        exit: 0,
        summary: Summary {
            targeted: 1,
            ok: 1,
            changed: 1,
            ..Summary::default()
        },
        looked: true,
        unjudged: None,
        findings: &[],
        refusals: &[],
        accounts: vec![&row],
        ledger: &[],
        error: None,
        again: false,
        notifications: &[],
        plan: None,
        at: 9_000,
    };
    state.end_run(run, end).await
}

/// A run that wrote a memo for step `a` and then went away.
async fn dead_run(state: &State) -> RunKey {
    let Begun { key, .. } = state.begin_run(&new_run("job")).await.unwrap();
    state
        .plan_run(key, &[step("a"), step("b")], &BTreeMap::new())
        .await
        .unwrap();
    state.begin_attempt(key, start("a")).await.unwrap();
    state
        .set_memo(key, "a", &json!({"operation_id": "op-1"}))
        .await
        .unwrap();
    key
}

on_both! {
    a_run_is_shown_with_its_steps_attempts_and_traces,
    a_dead_run_is_found_and_its_memos_go_to_the_next_one,
    memos_of_failed_steps_are_told_apart_and_stay_with_steps_that_are_withheld,
    a_run_that_was_taken_over_can_no_longer_write,
    one_process_at_a_time_runs_a_job_and_a_dry_run_disturbs_nobody,
    a_scheduled_moment_has_one_run,
}

async fn a_run_is_shown_with_its_steps_attempts_and_traces(place: Place) {
    let state = place.open().await;
    let Begun { key, .. } = state.begin_run(&new_run("job")).await.unwrap();
    state
        .plan_run(key, &[step("b"), step("a")], &BTreeMap::new())
        .await
        .unwrap();
    state.begin_attempt(key, start("b")).await.unwrap();
    let failed = AttemptEnd {
        step: "b",
        attempt: 1,
        at: 3_000,
        error: Some(ErrorClass::Throttled),
        message: Some("slow down"),
    };
    state.end_attempt(key, failed).await.unwrap();
    state
        .begin_attempt(
            key,
            AttemptStart {
                attempt: 2,
                ..start("b")
            },
        )
        .await
        .unwrap();
    let done = AttemptEnd {
        step: "b",
        attempt: 2,
        at: 4_000,
        error: None,
        message: None,
    };
    state.end_attempt(key, done).await.unwrap();
    let ended = StepEnd {
        step: "b",
        outcome: StepOutcome::Changed,
        note: Some("1 account"),
        at: 4_000,
    };
    state.end_step(key, ended).await.unwrap();
    end(&state, key, RunStatus::Done).await.unwrap();

    let id = key.id.to_string();
    let shown = state.show_run(&id).await.unwrap();
    assert_eq!(
        (shown.run.state.as_str(), shown.run.exit_code),
        ("done", Some(0))
    );
    assert_eq!(shown.run.summary.unwrap().changed, 1);
    assert_eq!(
        shown.run.trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    let steps: Vec<_> = shown
        .steps
        .iter()
        .map(|step| (&*step.id, &*step.state))
        .collect();
    assert_eq!(
        steps,
        [("b", "changed"), ("a", "planned")],
        "in the order of the plan"
    );
    assert_eq!(shown.steps[0].accounts, [account()]);
    let classes: Vec<_> = shown.steps[0]
        .attempts
        .iter()
        .map(|a| a.error_class.as_deref())
        .collect();
    assert_eq!(classes, [Some("throttled"), None]);
    assert_eq!(
        shown.steps[0].attempts[0].span_id.as_deref(),
        Some("b7ad6b7169203331")
    );
    assert_eq!(shown.accounts[0].reason, "enrolled");

    assert_eq!(
        state.show_run(&id[..13]).await.unwrap().run.id,
        id,
        "a beginning is enough"
    );
    assert!(matches!(
        state.show_run("nothing").await,
        Err(StateError::NoSuchRun { found: 0, .. })
    ));
    let runs = state.list_runs(Some("job"), 10).await.unwrap();
    assert_eq!(runs, [shown.run]);
    assert!(
        state
            .list_runs(Some("another"), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_dead_run_is_found_and_its_memos_go_to_the_next_one(place: Place) {
    let state = place.open().await;
    let dead = dead_run(&state).await;
    // This one goes away before it planned: the memo must not be lost with it.
    let second = state.begin_run(&new_run("job")).await.unwrap();
    assert_eq!(second.interrupted, [dead.id]);
    assert_eq!(
        second.memos,
        BTreeMap::from([("a".to_owned(), json!({"operation_id": "op-1"}))])
    );
    drop(second.hold);
    let third = state.begin_run(&new_run("job")).await.unwrap();
    assert_eq!(third.interrupted, [second.key.id]);
    assert_eq!(third.memos.len(), 1);
    // This one inherits it and goes away before it starts the step.
    state
        .plan_run(third.key, &[step("a")], &third.memos)
        .await
        .unwrap();
    drop(third.hold);
    let fourth = state.begin_run(&new_run("job")).await.unwrap();
    assert_eq!(fourth.memos, third.memos);
    state
        .plan_run(fourth.key, &[step("a")], &fourth.memos)
        .await
        .unwrap();
    let ended = StepEnd {
        step: "a",
        outcome: StepOutcome::Changed,
        note: None,
        at: 5_000,
    };
    state.end_step(fourth.key, ended).await.unwrap();
    end(&state, fourth.key, RunStatus::Done).await.unwrap();
    drop(fourth.hold);
    let fifth = state.begin_run(&new_run("job")).await.unwrap();
    assert!(fifth.memos.is_empty() && fifth.interrupted.is_empty());
}

async fn memos_of_failed_steps_are_told_apart_and_stay_with_steps_that_are_withheld(place: Place) {
    let state = place.open().await;
    let ended = |step, outcome| StepEnd {
        step,
        outcome,
        note: None,
        at: 5_000,
    };
    let first = state.begin_run(&new_run("job")).await.unwrap();
    let steps = ["a", "b", "c", "d"].map(step);
    state
        .plan_run(first.key, &steps, &BTreeMap::new())
        .await
        .unwrap();
    for (id, outcome) in [
        ("a", StepOutcome::Failed),
        ("b", StepOutcome::Skipped),
        ("c", StepOutcome::Changed),
        ("d", StepOutcome::Pending),
    ] {
        state.set_memo(first.key, id, &json!(id)).await.unwrap();
        state.end_step(first.key, ended(id, outcome)).await.unwrap();
    }
    end(&state, first.key, RunStatus::Failed).await.unwrap();
    drop(first.hold);
    let memos = |ids: &[&str]| -> BTreeMap<String, serde_json::Value> {
        ids.iter().map(|id| ((*id).to_owned(), json!(id))).collect()
    };
    let second = state.begin_run(&new_run("job")).await.unwrap();
    assert_eq!(second.memos, memos(&["d"]));
    assert_eq!(second.failed_memos, memos(&["a", "b"]));
    // The plan has `a` again, and would have `d`; `b` is not planned any more.
    state
        .plan_run(second.key, &[step("a")], &memos(&["a", "d"]))
        .await
        .unwrap();
    let outcome = ended("a", StepOutcome::Unchanged);
    state.end_step(second.key, outcome).await.unwrap();
    end(&state, second.key, RunStatus::Done).await.unwrap();
    drop(second.hold);
    let third = state.begin_run(&new_run("job")).await.unwrap();
    assert_eq!(third.memos, memos(&["d"]));
    assert_eq!(third.failed_memos, memos(&[]));
}

async fn a_run_that_was_taken_over_can_no_longer_write(place: Place) {
    let state = place.open().await;
    let dead = dead_run(&state).await;
    let _next = state.begin_run(&new_run("job")).await.unwrap();
    let memo = state.set_memo(dead, "a", &json!("late")).await;
    assert!(matches!(memo, Err(JournalError::Fenced(id)) if id == dead.id));
    assert!(matches!(
        state.begin_attempt(dead, start("b")).await,
        Err(JournalError::Fenced(_))
    ));
    let done = AttemptEnd {
        step: "a",
        attempt: 1,
        at: 3_000,
        error: None,
        message: None,
    };
    assert!(matches!(
        state.end_attempt(dead, done).await,
        Err(JournalError::Fenced(_))
    ));
    let ended = StepEnd {
        step: "a",
        outcome: StepOutcome::Changed,
        note: None,
        at: 3_000,
    };
    assert!(matches!(
        state.end_step(dead, ended).await,
        Err(JournalError::Fenced(_))
    ));
    assert!(matches!(
        end(&state, dead, RunStatus::Done).await,
        Err(JournalError::Fenced(_))
    ));
    let again = state.plan_run(dead, &[step("c")], &BTreeMap::new()).await;
    assert!(matches!(again, Err(JournalError::Fenced(_))));
}

async fn one_process_at_a_time_runs_a_job_and_a_dry_run_disturbs_nobody(place: Place) {
    let state = place.open().await;
    let held = state.begin_run(&new_run("job")).await.unwrap();
    let other = place.open().await;
    let refused = other.begin_run(&new_run("job")).await;
    assert!(matches!(refused, Err(JournalError::AlreadyRunning { .. })));
    other.begin_run(&new_run("another job")).await.unwrap();
    let dry = NewRun {
        dry_run: true,
        ..new_run("job")
    };
    let dry = other.begin_run(&dry).await.unwrap();
    assert!(dry.interrupted.is_empty());
    end(&other, dry.key, RunStatus::Planned).await.unwrap();
    end(&state, held.key, RunStatus::Done).await.unwrap();
    drop(held.hold);
    other.begin_run(&new_run("job")).await.unwrap();
}

async fn a_scheduled_moment_has_one_run(place: Place) {
    let state = place.open().await;
    let run = NewRun {
        tick: Some(60_000),
        ..new_run("job")
    };
    drop(state.begin_run(&run).await.unwrap());
    let again = NewRun {
        tick: Some(60_000),
        ..new_run("job")
    };
    assert!(matches!(
        state.begin_run(&again).await,
        Err(JournalError::TickTaken { .. })
    ));
    let other_job = NewRun {
        tick: Some(60_000),
        ..new_run("another job")
    };
    state.begin_run(&other_job).await.unwrap();
}
