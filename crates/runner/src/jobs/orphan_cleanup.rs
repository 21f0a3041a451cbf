//! `orphan-cleanup`: deletes Spot accounts of ours that nobody needs any more, within limits, and writes down what is needed to
//! make them again.
//!
//! What is ours, due and allowed is decided in the core. This module looks, keeps since when each orphan is one, and deletes
//! one Spot account after everything about it was read once more (`delete`). Stack instances are taken out by `stackset-sync`'s
//! own steps, after what protects their accounts was asked once more (`instances`); stacks that were left in accounts are deleted
//! through the remediation role (`leftover`).

mod delete;
mod instances;
mod leftover;
mod observe;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use onboarding_core::{
    ids::SpotAccountId,
    orphan_cleanup::{
        self, CleanupAction, CleanupConsent, CleanupObserved, CleanupRules, Reach,
        protection::Protection,
    },
    plan::{Plan, Step, consent::Consent},
    stackset_sync,
};
use onboarding_provider::Provider;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

pub(super) use delete::state_error;

use super::stackset_sync::{StackSetSync, unplannable};
use crate::{
    config::OrphanCleanupParams,
    engine::{Applied, ErrorClass, Job, JobError, RunContext, StepContext, StepError},
    home::Home,
};

/// What the run's own look has found, and each deletion heeds.
struct Looked {
    protection: Protection,
    /// The most that may be deleted in 24 hours.
    most_a_day: usize,
    /// What runs in the Spot accounts that were due, and which stacks that were left are out of reach.
    running: BTreeMap<SpotAccountId, Vec<String>>,
    reach: BTreeMap<SpotAccountId, Reach>,
}

/// The job, configured.
pub struct OrphanCleanup {
    sync: StackSetSync,
    rules: CleanupRules,
    /// Whether the state is told since when each orphan is one: not where nothing may be changed at all.
    keeps_clocks: bool,
    /// Deletes.
    lifecycle: OnceCell<Provider>,
    looked: Mutex<Option<Arc<Looked>>>,
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
        let rules = params.rules();
        let sync = StackSetSync::new(home, &[], false)?;
        Ok(Self {
            sync: sync.naming(rules.protected_ous.clone()),
            rules,
            keeps_clocks,
            lifecycle: OnceCell::new(),
            looked: Mutex::default(),
        })
    }

    fn home(&self) -> &Home {
        &self.sync.home
    }

    fn looked(&self) -> Result<Arc<Looked>, StepError> {
        self.looked.lock().clone().ok_or_else(|| {
            StepError::new(
                ErrorClass::Bug,
                "a step is applied before anything was looked at",
            )
        })
    }
}

#[async_trait]
impl Job for OrphanCleanup {
    type Observed = CleanupObserved;

    fn kind(&self) -> &'static str {
        orphan_cleanup::KIND
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        Box::pin(self.look(cx)).await
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        let planned = orphan_cleanup::plan(observed, &self.sync.desired, &self.rules);
        planned.map_err(|error| unplannable(&error))
    }

    fn consent(&self) -> &dyn Consent {
        &CleanupConsent
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        match step.kind == stackset_sync::KIND {
            true => self.take_out(cx, step).await,
            false => self.clean(cx, step).await,
        }
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
            false if step.action == CleanupAction::DELETE_LEFTOVER => format!(
                "CloudFormation may go on deleting the stack of step {}; the next run looks",
                step.id
            ),
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
