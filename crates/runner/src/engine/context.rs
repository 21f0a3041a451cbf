//! What the engine gives a job: who it runs for, the time, whether to go on, and a place for what must be remembered.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    error::StepError,
    interrupt::Interrupt,
    job::Phase,
    journal::RunId,
    progress::{Progress, ProgressBoard, ProgressSink},
    recorder::Recorder,
};

/// Tells the time, in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_millisecond())
}

/// One run, as its job sees it. Cheap to clone.
#[derive(Clone)]
pub struct RunContext {
    pub(super) shared: Arc<Shared>,
    pub(super) phase: Phase,
}

pub(super) struct Shared {
    pub(super) run_id: RunId,
    pub(super) job: String,
    pub(super) dry_run: bool,
    pub(super) memos: BTreeMap<String, Value>,
    pub(super) clock: Clock,
    pub(super) interrupt: Interrupt,
    pub(super) background: CancellationToken,
    pub(super) progress: ProgressBoard,
    pub(super) recorder: Recorder,
}

impl RunContext {
    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.shared.run_id
    }

    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.shared.job
    }

    /// What time it is.
    #[must_use]
    pub fn moment(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Whether this run only plans.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.shared.dry_run
    }

    /// What steps that never ended had written down when the run began, by step id.
    #[must_use]
    pub fn memos(&self) -> &BTreeMap<String, Value> {
        &self.shared.memos
    }

    /// What is going on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The time, in Unix milliseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.shared.clock)()
    }

    /// Whether nothing new may be started: the run was interrupted, or its journal is lost.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.interrupt.is_draining() || self.shared.recorder.is_lost()
    }

    /// Interruption of this run.
    #[must_use]
    pub fn interrupt(&self) -> &Interrupt {
        &self.shared.interrupt
    }

    /// Cancelled after the last step: background work ends then.
    #[must_use]
    pub fn background_token(&self) -> CancellationToken {
        self.shared.background.clone()
    }

    /// Where progress and notices go.
    #[must_use]
    pub fn progress_sink(&self) -> &dyn ProgressSink {
        self.shared.progress.sink()
    }

    pub(super) fn in_phase(&self, phase: Phase) -> Self {
        self.progress_sink().phase(phase);
        Self {
            shared: self.shared.clone(),
            phase,
        }
    }
}

/// One attempt of a step, as its job sees it.
pub struct StepContext {
    pub(super) run: RunContext,
    pub(super) step: String,
    pub(super) attempt: u32,
    pub(super) memo: Arc<Mutex<Option<Value>>>,
}

impl Deref for StepContext {
    type Target = RunContext;

    fn deref(&self) -> &RunContext {
        &self.run
    }
}

impl StepContext {
    /// The step's id.
    #[must_use]
    pub fn step_id(&self) -> &str {
        &self.step
    }

    /// Which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What this step wrote down last: in this run, or in an earlier run that never ended it.
    #[must_use]
    pub fn memo(&self) -> Option<Value> {
        self.memo.lock().clone()
    }

    /// Writes down what must be remembered (an operation's id), before the effect; null forgets what was. Durable when it
    /// returns.
    ///
    /// # Errors
    /// When the journal cannot be written. The effect must not be started then.
    pub async fn set_memo(&self, memo: Value) -> Result<(), StepError> {
        self.run.shared.recorder.set_memo(&self.step, &memo).await?;
        *self.memo.lock() = (!memo.is_null()).then_some(memo);
        Ok(())
    }

    /// Tells how far the step is.
    pub fn progress(&self, progress: Progress) {
        self.run.shared.progress.update(&self.step, progress);
    }
}
