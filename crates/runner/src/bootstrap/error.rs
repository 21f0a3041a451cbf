//! Why the home account's stacks could not be prepared or deployed.

use crate::engine::JobError;

/// See the module documentation.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A guard rail holds. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A stack is in a state that allows no change.
    #[error("the stack {stack} in {region} is in {status}: {advice}")]
    StackState {
        /// The stack.
        stack: String,
        /// Its Region.
        region: String,
        /// Its status.
        status: String,
        /// What to do.
        advice: &'static str,
    },
    /// CloudFormation could not make a change set.
    #[error("no change set could be made for the stack {stack} in {region}: {reason}")]
    ChangeSet {
        /// The stack.
        stack: String,
        /// Its Region.
        region: String,
        /// AWS's reason.
        reason: String,
    },
    /// CloudFormation is not done in time; it goes on without us.
    #[error(
        "the stack {stack} in {region} was not done within {minutes} minutes; CloudFormation goes on: look at it in the \
         console and run again"
    )]
    TimedOut {
        /// The stack.
        stack: String,
        /// Its Region.
        region: String,
        /// How long was waited.
        minutes: u64,
    },
    /// A stack was not made or changed; CloudFormation has rolled it back.
    #[error("the stack {stack} in {region} ended in {status}:\n{failures}\n{advice}")]
    Failed {
        /// The stack.
        stack: String,
        /// Its Region.
        region: String,
        /// Its status.
        status: String,
        /// What failed, one resource a line.
        failures: String,
        /// What to do.
        advice: String,
    },
    /// AWS could not be asked.
    #[error("{}", .0.chain())]
    Aws(#[from] JobError),
}
