//! `orphan-cleanup`: deletes Spot accounts of ours that nobody needs any more, within limits, and writes down what is needed to
//! make them again.
//!
//! What is ours, due and allowed is decided in the core. This module looks, keeps since when each orphan is one, and deletes
//! one Spot account after everything about it was read once more (`delete`). Stack instances of accounts that are gone are
//! taken out by `stackset-sync`'s own steps.

mod delete;
mod observe;

use std::collections::BTreeMap;

use async_trait::async_trait;
use onboarding_core::{
    orphan_cleanup::{self, CleanupConsent, CleanupObserved, CleanupRules},
    plan::{Plan, Step, consent::Consent},
    stackset_sync::{self, SyncAction},
};
use onboarding_provider::Provider;
use tokio::sync::OnceCell;

use super::stackset_sync::{StackSetSync, unplannable};
use crate::{
    config::OrphanCleanupParams,
    engine::{Applied, Job, JobError, RunContext, StepContext, StepError},
    home::Home,
};

/// The job, configured.
pub struct OrphanCleanup {
    sync: StackSetSync,
    rules: CleanupRules,
    /// Whether the state is told since when each orphan is one: not where nothing may be changed at all.
    keeps_clocks: bool,
    /// Deletes.
    lifecycle: OnceCell<Provider>,
}

impl OrphanCleanup {
    /// Configures the job, for all profiles.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn new(
        home: Home,
        params: &OrphanCleanupParams,
        keeps_clocks: bool,
    ) -> Result<Self, JobError> {
        Ok(Self {
            sync: StackSetSync::new(home, &[], false)?,
            rules: params.rules(),
            keeps_clocks,
            lifecycle: OnceCell::new(),
        })
    }

    fn home(&self) -> &Home {
        &self.sync.home
    }
}

#[async_trait]
impl Job for OrphanCleanup {
    type Observed = CleanupObserved;

    fn kind(&self) -> &'static str {
        orphan_cleanup::KIND
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        self.look(cx).await
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        let planned = orphan_cleanup::plan(observed, &self.sync.desired, &self.rules);
        planned.map_err(|error| unplannable(&error))
    }

    fn consent(&self) -> &dyn Consent {
        &CleanupConsent
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        if step.kind != stackset_sync::KIND {
            return self.delete(cx, step).await;
        }
        let applied = self.sync.apply(cx, step).await?;
        if let Applied::Done { .. } = applied
            && let Ok(SyncAction::DeleteStackInstances {
                with_stacks: true, ..
            }) = serde_json::from_value(step.payload.clone())
        {
            self.note_deleted_stacks(step).await?;
        }
        Ok(applied)
    }

    async fn stop(&self, cx: &StepContext, step: &Step) -> Result<(), StepError> {
        match step.kind == stackset_sync::KIND {
            true => self.sync.stop(cx, step).await,
            false => Ok(()),
        }
    }

    fn left_behind(&self, step: &Step, memo: Option<&serde_json::Value>) -> String {
        match step.kind == stackset_sync::KIND {
            true => self.sync.left_behind(step, memo),
            false => format!(
                "step {} may have deleted its Spot account; the next run looks, and writes it down",
                step.id
            ),
        }
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.home().api_calls()
    }
}
