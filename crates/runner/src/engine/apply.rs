//! Applying the steps of a plan: in order, side by side within an order, each with retries, requeues, interruption and
//! its journal records. A step that waits to be asked again keeps no other one from its turn, unless it is of a kind that follows
//! what goes on elsewhere: that is under way all the time, and only so much of it is at once.

use std::{panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use onboarding_core::plan::Step;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument, field::Empty};

use super::{
    context::{RunContext, StepContext},
    error::{ErrorClass, JobError, StepError},
    job::{Applied, Job, Memos},
    journal::{AttemptEnd, AttemptStart, StepEnd},
    ledger::Ledger,
    options::RunOptions,
    report::StepOutcome,
};
use crate::telemetry;

/// Applies all steps. What became of them is in the ledger, also when this future is dropped half-way.
pub(super) async fn apply_steps<J: Job>(
    job: &J,
    run: &RunContext,
    steps: &[Step],
    ledger: &Ledger,
    options: &RunOptions,
) {
    let at_once = options.concurrency.max(1);
    let turns = job.most_at_once().min(at_once);
    let turns = Semaphore::new(turns.clamp(1, Semaphore::MAX_PERMITS));
    for same_order in steps.chunk_by(|one, next| one.order == next.order) {
        let applied = same_order
            .iter()
            .map(|step| apply_step(job, run, step, ledger, options, &turns).boxed());
        let places = match job.memos() {
            Memos::Followed => at_once,
            Memos::Kept => same_order.len(),
        };
        stream::iter(applied)
            .buffer_unordered(places)
            .collect::<()>()
            .await;
    }
}

async fn apply_step<J: Job>(
    job: &J,
    run: &RunContext,
    step: &Step,
    ledger: &Ledger,
    options: &RunOptions,
    turns: &Semaphore,
) {
    // What is told of the step begins with its first turn.
    let first = turn(turns, run).await;
    let account = match &step.accounts[..] {
        [account] => {
            tracing::info_span!("account", run.id = %run.run_id(), cloud.account.id = %account)
        }
        _ => tracing::Span::none(),
    };
    let span = tracing::info_span!(
        parent: if account.is_none() { tracing::Span::current().id() } else { account.id() },
        "step",
        run.id = %run.run_id(),
        step.id = %step.id,
        step.action = %step.action,
        step.accounts = step.accounts.len(),
        step.outcome = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    );
    let started = Instant::now();
    let end = attempts(job, run, step, ledger, options, Turns { turns, first })
        .instrument(span.clone())
        .await;
    span.record("step.outcome", end.outcome.code());
    if let Some(class) = end.error {
        span.record("error.type", class.code());
        span.record("otel.status_code", "ERROR");
    }
    telemetry::metrics::step_ended(job.kind(), &step.action, end.outcome, started.elapsed());
    run.shared
        .progress
        .ended(&step.id, end.outcome == StepOutcome::Failed);
    // A lost journal is told by the recorder; the step's outcome stands in the report either way.
    let _ = run
        .shared
        .recorder
        .end_step(StepEnd {
            step: &step.id,
            outcome: end.outcome,
            note: end.note.as_deref(),
            at: run.now(),
        })
        .await;
    ledger.ended(&step.id, end, started.elapsed());
}

/// How a step ended.
pub(super) struct End {
    pub(super) outcome: StepOutcome,
    pub(super) note: Option<String>,
    pub(super) error: Option<ErrorClass>,
}

impl End {
    fn pending(note: impl Into<String>) -> Self {
        Self {
            outcome: StepOutcome::Pending,
            note: Some(note.into()),
            error: None,
        }
    }
}

/// The calls of `apply` that a step makes: each has its turn, which it gives back while it waits for something else.
struct Turns<'a> {
    turns: &'a Semaphore,
    first: Option<SemaphorePermit<'a>>,
}

impl<'a> Turns<'a> {
    /// The next turn; none when the run ends before it comes.
    async fn next(&mut self, run: &RunContext) -> Option<SemaphorePermit<'a>> {
        match self.first.take() {
            Some(first) => Some(first),
            None => turn(self.turns, run).await,
        }
    }
}

async fn turn<'a>(turns: &'a Semaphore, run: &RunContext) -> Option<SemaphorePermit<'a>> {
    tokio::select! {
        biased;
        turn = turns.acquire() => turn.ok(),
        () = run.interrupt().draining() => None,
        () = run.shared.recorder.lost() => None,
    }
}

/// Whether a step is asked again although the run is interrupted: something of ours may be going on, which is followed to its end.
fn is_followed<J: Job>(job: &J, memo: &Mutex<Option<Value>>) -> bool {
    job.memos() == Memos::Followed && memo.lock().is_some()
}

async fn attempts<J: Job>(
    job: &J,
    run: &RunContext,
    step: &Step,
    ledger: &Ledger,
    options: &RunOptions,
    mut turns: Turns<'_>,
) -> End {
    if let Some(failed) = ledger.unmet_precondition(step) {
        return End {
            outcome: StepOutcome::Skipped,
            note: Some(format!(
                "step {failed}, which it builds on, did not succeed"
            )),
            error: None,
        };
    }
    let memo = ledger.memo(&step.id);
    let recorder = &run.shared.recorder;
    let mut stop = Stop::default();
    let mut attempt = 0;
    loop {
        let turn = turns.next(run).await;
        let is_over = recorder.is_lost() || (run.is_ending() && !is_followed(job, &memo));
        let (Some(turn), false) = (turn, is_over) else {
            return End::pending("not started: the run was ending");
        };
        match recorder.frozen().await {
            Ok(None) => {}
            Ok(Some(why)) => {
                run.interrupt().freeze(why.clone());
                // What goes on in AWS already is stopped, and followed to its end.
                if !is_followed(job, &memo) {
                    return End::pending(format!("not started: {why}"));
                }
            }
            Err(error) => return End::pending(error.to_string()),
        }
        attempt += 1;
        let cx = StepContext {
            run: run.clone(),
            step: step.id.clone(),
            attempt,
            memo: memo.clone(),
        };
        let start = AttemptStart {
            step: &step.id,
            attempt,
            at: run.now(),
            span_id: telemetry::span_id(&tracing::Span::current()),
        };
        if let Err(error) = recorder.begin_attempt(start).await {
            return End::pending(error.to_string());
        }
        ledger.started(&step.id, attempt);
        turns.first = Some(turn);
        let result = one_attempt(job, &cx, step, &mut stop, options, &mut turns).await;
        let message = match &result {
            Ok(Applied::Done { note } | Applied::Stopped { note }) => note.clone(),
            Ok(_) => None,
            Err(error) => Some(error.chain()),
        };
        let class = result.as_ref().err().map(StepError::class);
        let written = recorder
            .end_attempt(AttemptEnd {
                step: &step.id,
                attempt,
                at: run.now(),
                error: class,
                message: message.as_deref(),
            })
            .await;
        let (outcome, note) = match result {
            Ok(Applied::Done { note }) => (StepOutcome::Changed, note),
            Ok(Applied::Unchanged) => (StepOutcome::Unchanged, None),
            Ok(Applied::Stopped { note }) => (StepOutcome::Pending, note),
            Ok(Applied::Requeue { .. }) => (
                StepOutcome::Pending,
                Some("not completed: the run was ending".to_owned()),
            ),
            Err(error) => {
                if written.is_err() {
                    return End::pending(error.chain());
                }
                let retry = options.retry_of.get(&step.action).unwrap_or(&options.retry);
                match retry.wait_after(attempt, &error, rand::random()) {
                    Some(wait) => {
                        tracing::warn!(
                            step.id = %step.id,
                            attempt,
                            error.type = %error.class(),
                            wait_ms = wait.as_millis(),
                            "step failed and is tried again: {}",
                            error.chain()
                        );
                        telemetry::metrics::step_retried(job.kind(), &step.action, error.class());
                        wait_or_end(run, wait).await;
                        continue;
                    }
                    None => {
                        tracing::warn!(step.id = %step.id, error.type = %error.class(), "step failed: {}", error.chain());
                        (StepOutcome::Failed, Some(error.chain()))
                    }
                }
            }
        };
        return End {
            outcome,
            note,
            error: class,
        };
    }
}

/// One attempt, requeues included.
async fn one_attempt<J: Job>(
    job: &J,
    cx: &StepContext,
    step: &Step,
    stop: &mut Stop,
    options: &RunOptions,
    turns: &mut Turns<'_>,
) -> Result<Applied, StepError> {
    let deadline = Instant::now() + options.operation_timeout;
    let pending = |after| {
        Ok(Applied::Requeue {
            after,
            progress: None,
        })
    };
    loop {
        let Some(turn) = turns.next(&cx.run).await else {
            return pending(Duration::ZERO);
        };
        let applied = call(job, cx, step, stop, options.timeout).await?;
        drop(turn);
        let Applied::Requeue { after, progress } = applied else {
            return Ok(applied);
        };
        if let Some(progress) = progress {
            cx.progress(progress);
        }
        if cx.run.shared.recorder.is_lost() {
            return pending(after);
        }
        if cx.interrupt().is_draining() {
            if !is_followed(job, &cx.memo) {
                return pending(after);
            }
            stop.ask(job, cx, step).await;
        }
        if Instant::now() + after > deadline {
            let limit = humantime::format_duration(options.operation_timeout);
            let message = format!(
                "the operation did not end within {limit} (operation_timeout); look at it, then run again"
            );
            return Err(JobError::new(ErrorClass::Ambiguous, message));
        }
        if cx.interrupt().is_draining() {
            tokio::select! {
                () = sleep(after) => {}
                () = cx.run.shared.recorder.lost() => {}
            }
        } else {
            wait_or_end(&cx.run, after).await;
            if cx.interrupt().is_draining() {
                if job.memos() == Memos::Kept {
                    return pending(after);
                }
                stop.ask(job, cx, step).await;
            }
        }
    }
}

/// One call of `apply`; when the run is interrupted meanwhile, the step is asked to stop beside it.
async fn call<J: Job>(
    job: &J,
    cx: &StepContext,
    step: &Step,
    stop: &mut Stop,
    limit: Duration,
) -> Result<Applied, StepError> {
    let apply = AssertUnwindSafe(job.apply(cx, step)).catch_unwind();
    let mut apply = pin!(timeout(limit, apply));
    let ended = tokio::select! {
        biased;
        ended = &mut apply => Some(ended),
        () = cx.interrupt().draining() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::join!(apply, stop.ask(job, cx, step)).0,
    };
    match ended {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(JobError::new(
            ErrorClass::Bug,
            format!(
                "applying step {} panicked; please report this with the log",
                step.id
            ),
        )),
        Err(_elapsed) => Err(JobError::new(
            ErrorClass::Ambiguous,
            format!(
                "applying step {} took longer than {} (timeout); the next run looks what became of it",
                step.id,
                humantime::format_duration(limit)
            ),
        )),
    }
}

/// Waits, but not beyond the moment when nothing new may start.
pub(super) async fn wait_or_end(run: &RunContext, wait: Duration) {
    tokio::select! {
        () = sleep(wait) => {}
        () = run.interrupt().draining() => {}
        () = run.shared.recorder.lost() => {}
    }
}

/// Asks a step to stop: once for each state of its memo, and again when asking failed.
#[derive(Default)]
struct Stop {
    asked_with: Option<Option<Value>>,
}

impl Stop {
    async fn ask<J: Job>(&mut self, job: &J, cx: &StepContext, step: &Step) {
        let memo = cx.memo();
        if self.asked_with.as_ref() == Some(&memo) || cx.run.shared.recorder.is_lost() {
            return;
        }
        match job.stop(cx, step).await {
            Ok(()) => self.asked_with = Some(memo),
            Err(error) => {
                tracing::warn!(step.id = %step.id, error.type = %error.class(), "stopping failed: {}", error.chain());
            }
        }
    }
}
