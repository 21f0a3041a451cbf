//! What a job kind implements. A later kind is one more implementation; nothing in the engine names one.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use onboarding_core::plan::{Plan, Step};

use super::{
    context::{RunContext, StepContext},
    error::{JobError, StepError},
    progress::Progress,
};

/// The part of a run that is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looking, before the plan.
    Observe,
    /// Applying the plan's steps.
    Apply,
    /// Looking again, after the steps.
    Verify,
}

impl Phase {
    /// The phase as text, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Apply => "apply",
            Self::Verify => "verify",
        }
    }
}

/// What the memos of a kind's steps are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memos {
    /// They name what goes on elsewhere and has an end of its own: it is followed to that end, also when the run is interrupted, and a step
    /// that failed is begun anew by the next run.
    Followed,
    /// They are what a step has to know when it is asked for again, in this run or another one: it has them until it ends well, or is
    /// not planned any more. Nothing is followed when the run is interrupted, and a step that waits leaves its place to others.
    Kept,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// It is done, and something changed.
    Done {
        /// What was done, for people.
        note: Option<String>,
    },
    /// It was so already.
    Unchanged,
    /// It goes on elsewhere (a stack set operation); ask again after this time. Asking again is not a retry.
    Requeue {
        /// How long to wait.
        after: Duration,
        /// How far it is, when known.
        progress: Option<Progress>,
    },
    /// It ended before it was complete because the run is being interrupted; the next run continues.
    Stopped {
        /// What is left, for people.
        note: Option<String>,
    },
}

/// A job kind, configured and with its clients.
#[async_trait]
pub trait Job: Send + Sync {
    /// What `observe` finds.
    type Observed: Send + Sync;

    /// The kind's name in kebab case, as in job files.
    fn kind(&self) -> &str;

    /// Looks at the world and checks prerequisites (identity, trusted access, token). Reads only. Called again after the
    /// steps to verify; `cx.phase()` says which.
    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError>;

    /// Decides what is to be done. Pure.
    fn plan(&self, cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError>;

    /// What its steps are about, so that a plan that was made earlier can be compared with one that is made now.
    fn consent(&self) -> &dyn onboarding_core::plan::consent::Consent {
        &onboarding_core::plan::consent::Exactly
    }

    /// What the memos of its steps are for.
    fn memos(&self) -> Memos {
        Memos::Followed
    }

    /// How many calls of `apply` go on side by side at most, as far as it is the job that limits that. A step that waits to be asked again
    /// is none of them. Asked after `observe`.
    fn most_at_once(&self) -> usize {
        usize::MAX
    }

    /// Applies one step. Idempotent: called again after a retryable error, a requeue, or a crash. An effect that must not
    /// be repeated is written down with [`StepContext::set_memo`] first.
    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError>;

    /// Ends what a step in flight has started elsewhere, because the run is interrupted. `apply` goes on being called
    /// until it no longer asks to be requeued. Called again when the step's memo has changed since, or when it failed.
    async fn stop(&self, _cx: &StepContext, _step: &Step) -> Result<(), StepError> {
        Ok(())
    }

    /// Work that must go on beside the steps, such as answering custom resources. Started before the first step; it ends
    /// when [`RunContext::background_token`] is cancelled, which happens after the last step.
    fn background(&self, _cx: &RunContext) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// What hangs when the program leaves while this step is in flight, for people.
    fn left_behind(&self, step: &Step, _memo: Option<&serde_json::Value>) -> String {
        format!("step {} is still going on", step.id)
    }

    /// Calls made so far by the clients of this job, by operation (`organizations:ListAccounts`, `spot:GET /setup/account`).
    fn api_calls(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}
