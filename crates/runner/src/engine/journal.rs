//! What the engine needs from a journal. The state implements it; tests use one in memory.
//!
//! Every write names the run and its fence. A journal refuses a write whose fence is not the run's current one, so that
//! a process that was paused while another took the run over can no longer record, and so no longer act.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use onboarding_core::{
    notify::Notification,
    plan::{AccountRow, Finding, Refusal, Remembered, Step, Summary, Unjudged},
};
use serde_json::Value;

use super::{
    consent::{Asked, PlanDocument},
    error::ErrorClass,
    report::{RunStatus, StepOutcome},
};

/// The id of a run: a UUID of version 7, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// A new id.
    #[must_use]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// Names a run in every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey {
    /// The run.
    pub id: RunId,
    /// Which claim of the run this is; a later claim has a higher one.
    pub fence: i64,
}

/// Keeps other processes from running a job, until it is dropped.
pub trait Hold: fmt::Debug + Send + Sync {
    /// Whether it has run out, so that another process may run the job by now. Asked whenever the run goes on.
    fn is_lost(&self) -> bool;
}

/// One that never runs out.
impl Hold for () {
    fn is_lost(&self) -> bool {
        false
    }
}

/// A run that waited in the journal and was taken up, with the lock of its job.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run.
    pub key: RunKey,
    /// Keeps other processes from running the job.
    pub hold: Arc<dyn Hold>,
    /// The span that all of it is told in.
    pub span: tracing::Span,
}

/// A run that is about to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The claim, when it waited in the journal until now.
    pub claim: Option<Claim>,
    /// The job's name.
    pub job: String,
    /// The job's kind.
    pub kind: String,
    /// What woke it: `operator`, `schedule`, `event`.
    pub trigger: String,
    /// The scheduled moment that it is for, in Unix milliseconds; unique within a job.
    pub tick: Option<i64>,
    /// Whether it only plans. Such a run neither excludes nor recovers others.
    pub dry_run: bool,
    /// What was asked for beside the job's definition.
    pub asked: Asked,
    /// The run whose approved plan it applies, where the journal keeps that plan.
    pub plan: Option<String>,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// Its trace, when it is traced.
    pub trace_id: Option<String>,
}

/// A run that has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Names the run in later writes.
    pub key: RunKey,
    /// Earlier runs of the job that were found dead and are marked as interrupted now.
    pub interrupted: Vec<RunId>,
    /// What steps that never ended wrote down, by step id.
    pub memos: BTreeMap<String, Value>,
    /// What steps wrote down that failed, or were left out because another one did, by step id.
    pub failed_memos: BTreeMap<String, Value>,
    /// Keeps other processes from running the job; dropped when the run is over.
    pub hold: Option<Arc<dyn Hold>>,
}

/// An attempt that is about to start.
#[derive(Debug, Clone)]
pub struct AttemptStart<'a> {
    /// The step.
    pub step: &'a str,
    /// Counted from 1.
    pub attempt: u32,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// The span of the step, when it is traced.
    pub span_id: Option<String>,
}

/// An attempt that ended.
#[derive(Debug, Clone)]
pub struct AttemptEnd<'a> {
    /// The step.
    pub step: &'a str,
    /// Counted from 1.
    pub attempt: u32,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// The class of the error that ended it; none when it did not fail.
    pub error: Option<ErrorClass>,
    /// The error's message, or the step's note.
    pub message: Option<&'a str>,
}

/// A step that ended.
#[derive(Debug, Clone)]
pub struct StepEnd<'a> {
    /// The step.
    pub step: &'a str,
    /// What became of it.
    pub outcome: StepOutcome,
    /// What was done or why it was not, for people.
    pub note: Option<&'a str>,
    /// When, in Unix milliseconds.
    pub at: i64,
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct RunEnd<'a> {
    /// How it ended.
    pub status: RunStatus,
    /// The exit code of a process that ran just this.
    pub exit: u8,
    /// The counts.
    pub summary: Summary,
    /// What a person should know.
    pub findings: &'a [Finding],
    /// Whether those are all that there are now: the run looked at everything, and is none by which somebody only wants to see.
    pub looked: bool,
    /// What it did not look at all the same, so that earlier findings about it stay.
    pub unjudged: Option<&'a Unjudged>,
    /// What guard rails refused.
    pub refusals: &'a [Refusal],
    /// Where the accounts stand that steps worked on. Untouched accounts have no row.
    pub accounts: Vec<&'a AccountRow>,
    /// Where all accounts stand that it looked at.
    pub ledger: &'a [AccountRow],
    /// Why it failed as a whole.
    pub error: Option<&'a str>,
    /// Whether its job is asked for once more: the run ended early only because its process does.
    pub again: bool,
    /// What targets are told of it.
    pub notifications: &'a [Notification],
    /// The run whose approved plan ends with this one, and what became of the plan: `applied` or `void`.
    pub plan: Option<(&'a str, &'static str)>,
    /// When, in Unix milliseconds.
    pub at: i64,
}

/// Why a record could not be written. Whatever the reason, no further effect is started.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process is running this job now.
    #[error(
        "job {job} is being run by another process; wait for it to end, or end it; on PostgreSQL, one that was killed has it until its lease is over (state.lease)"
    )]
    AlreadyRunning {
        /// The job.
        job: String,
    },
    /// The job has a run for this scheduled moment already.
    #[error("job {job} has a run for this scheduled moment already")]
    TickTaken {
        /// The job.
        job: String,
    },
    /// The approved plan was applied by another run meanwhile, or replaced.
    #[error("the plan of run {run} is {state}; `runner runs show {run}` tells by whom")]
    PlanEnded {
        /// The run that made the plan.
        run: String,
        /// What became of the plan.
        state: String,
    },
    /// Another process took the run over, or it ended.
    #[error("run {0} is no longer ours; another process took it over")]
    Fenced(RunId),
    /// The lock of the job ran out: this process hung, was paused, or did not reach the state for too long.
    #[error(
        "the lock of the job was not renewed in time, so another process may run it by now: this process was paused or hung, or did \
         not reach the state"
    )]
    HoldLost,
    /// The store does not answer, and this process is to end.
    #[error("the state does not answer, and this process is to end")]
    Silent,
    /// The store failed.
    #[error("writing {what} to the journal failed; check the state's disk or database")]
    Write {
        /// The record.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps what a run does. Each method returns when the record is durable.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Begins a run: refuses when another process runs the job, marks dead runs of it as interrupted, and returns the
    /// memos of steps that never ended, and of those that failed.
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError>;

    /// Keeps the plan of a run until somebody approves it, and gives the plan that waits then: an earlier one of the job that
    /// says the same, or else this one, which replaces an earlier one.
    async fn hold_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError>;

    /// Records the steps of the plan, with the memos that they inherit. Memos of earlier runs of the job end here, but for those among
    /// `memos` of steps that the plan does not have.
    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError>;

    /// The findings of the job's runs that are not gone, by id, as they were seen last.
    async fn known_findings(&self, job: &str)
    -> Result<BTreeMap<String, Remembered>, JournalError>;

    /// Why nothing may be changed now, when a person has said so.
    async fn frozen(&self) -> Result<Option<String>, JournalError>;

    /// Who asked the run to end.
    async fn cancelled_by(&self, run: RunKey) -> Result<Option<String>, JournalError>;

    /// Records that an attempt is about to start.
    async fn begin_attempt(&self, run: RunKey, start: AttemptStart<'_>)
    -> Result<(), JournalError>;

    /// Records what a step must remember across a crash.
    async fn set_memo(&self, run: RunKey, step: &str, memo: &Value) -> Result<(), JournalError>;

    /// Records that an attempt ended.
    async fn end_attempt(&self, run: RunKey, end: AttemptEnd<'_>) -> Result<(), JournalError>;

    /// Records what became of a step.
    async fn end_step(&self, run: RunKey, end: StepEnd<'_>) -> Result<(), JournalError>;

    /// Records that the run ended.
    async fn end_run(&self, run: RunKey, end: RunEnd<'_>) -> Result<(), JournalError>;
}
