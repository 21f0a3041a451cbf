//! The engine: runs a job once — observe, plan, guard, apply, verify — and journals what it does.
//!
//! Guarantees:
//! - It knows no job kind; a kind implements [`Job`] and never retries, waits or journals by itself.
//! - No effect without a journal: each attempt of a step is recorded before it starts and after it ends, and when a
//!   record cannot be written no further effect is started.
//! - One failing step never stops the others; totals are counted from the rows of a second observation.
//! - A crash needs no undo. The next run of the job marks the dead run as interrupted, observes and plans again, and
//!   hands the memos of unfinished steps to the steps of the same id.
//!
//! Assumptions: `observe` and `plan` have no effects, `apply` is idempotent, and only one run of a job applies at a
//! time (the journal refuses a second one).

mod apply;
mod consent;
mod context;
mod ending;
mod error;
mod execute;
mod interrupt;
mod job;
mod journal;
mod ledger;
mod lost;
#[cfg(test)]
mod memory_journal;
mod options;
mod patient;
mod progress;
mod recorder;
mod report;
mod retry;
mod telling;
#[cfg(test)]
mod tests;

pub use consent::{Asked, Basis, Consent, PlanDocument};
pub use context::{Clock, RunContext, StepContext, system_clock};
pub use error::{ErrorClass, JobError, StepError};
pub use execute::{execute, run_span};
pub use interrupt::Interrupt;
pub use job::{Applied, Job, Memos, Phase};
pub use journal::{
    AttemptEnd, AttemptStart, Begun, Claim, Hold, Journal, JournalError, NewRun, RunEnd, RunId,
    RunKey, StepEnd,
};
pub use options::RunOptions;
pub use progress::{NoProgress, Progress, ProgressSink};
pub use report::{RunReport, RunStatus, StepOutcome, StepRecord, exit_code};
pub use retry::RetryPolicy;
