//! `stackset-sync`: brings stack sets, their instances and so the accounts of the organization in line with the profiles.
//!
//! What is to be done is decided in the core; this module observes, sends what a step says, and follows operations.
//! While operations wait for answers of our custom resources, it serves the provider's queue itself, so that one command
//! enrolls an organization without a daemon.

mod account_tags;
mod apply;
mod at_spot;
mod clocks;
mod detection;
mod direct;
mod external_ids;
mod live_roles;
mod management;
mod observe;
pub(super) mod operation;
mod past_links;
mod repair;
mod rewrite;
mod spot_side;
mod stray_policies;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use onboarding_core::{
    desired::{Deployment, Desired, OuRef},
    ids::{AwsAccountId, OuId},
    inventory::LinkEvidence,
    plan::{Plan, Step, consent::Consent},
    stackset_sync::{
        self, PlanError, SyncConsent, SyncObserved,
        estimate::{self, Pace},
    },
};
use onboarding_provider::Provider;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use at_spot::Prepared;

use crate::{
    config::{DesiredOptions, ProviderKind, ServedBy},
    engine::{Applied, ErrorClass, Job, JobError, Phase, RunContext, StepContext, StepError},
    home::Home,
    provider::{self, KnownOrganization},
};

/// The job, configured.
pub struct StackSetSync {
    pub(super) home: Home,
    pub(super) desired: Desired,
    /// The profiles that the job's file names; none when those are all.
    covers: Vec<String>,
    /// Units that are named beside the profiles' targets: they are looked up by what they are called now.
    named_units: Vec<OuRef>,
    /// Read once per run: verifying never lists the organization again.
    organization: Mutex<Option<KnownOrganization>>,
    /// Serves the requests that this run makes itself.
    lifecycle: OnceCell<Provider>,
    /// What this run found or made at Spot, by account.
    prepared: Mutex<BTreeMap<AwsAccountId, Prepared>>,
    /// The external IDs that stack instances have.
    external_ids: Mutex<external_ids::Known>,
    /// The accounts that this run changed, with what was read of their links since.
    changed: Mutex<BTreeMap<AwsAccountId, Option<Arc<LinkEvidence>>>>,
    /// The accounts whose role this run has had written again.
    rewritten: Mutex<BTreeSet<AwsAccountId>>,
    /// The accounts that an operation of this run has worked on to write their role again, whatever came of it.
    repaired: Mutex<BTreeSet<AwsAccountId>>,
    /// What the operations came to that did so.
    said: rewrite::Said,
}

impl StackSetSync {
    /// Configures the job.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] when the configuration cannot be mapped: an unknown profile, a policy file that is missing
    /// or too large, a template over CloudFormation's limits.
    pub fn new(home: Home, profiles: &[String], retry_failed: bool) -> Result<Self, JobError> {
        let options = DesiredOptions {
            home_account: Some(home.identity.account),
            profiles,
            retry_failed,
            pinned: Some(&home.pinned),
        };
        let desired = home
            .config
            .desired(options)
            .map_err(|errors| JobError::new(ErrorClass::Invalid, errors.to_string()))?;
        Ok(Self {
            home,
            desired,
            covers: Vec::new(),
            named_units: Vec::new(),
            organization: Mutex::default(),
            lifecycle: OnceCell::new(),
            prepared: Mutex::default(),
            external_ids: Mutex::default(),
            changed: Mutex::default(),
            rewritten: Mutex::default(),
            repaired: Mutex::default(),
            said: rewrite::Said::default(),
        })
    }

    /// The same job, of a file: findings about profiles that this one does not name (any more) are not the job's.
    pub(super) fn of_file(self, name: &str) -> Self {
        let mut jobs = self.home.config.jobs.iter();
        let file = jobs.find(|job| job.name == name);
        let covers = file.map_or(&[][..], |job| job.params.profiles());
        Self {
            covers: covers.to_vec(),
            ..self
        }
    }

    /// The same job, which also looks these units up.
    pub(super) fn naming(self, named_units: Vec<OuRef>) -> Self {
        Self {
            named_units,
            ..self
        }
    }

    /// The same job by what profiles keep now, knowing what this one knows already.
    pub(super) async fn renewed(&self, profiles: &[String]) -> Result<Self, JobError> {
        let new = Self::new(self.home.renewed().await?, profiles, false)?;
        Ok(Self {
            organization: Mutex::new(self.organization.lock().clone()),
            ..new
        })
    }

    /// The root of the organization, once that was read.
    pub(super) fn root(&self) -> Option<OuId> {
        let known = self.organization.lock();
        let units = &known.as_ref()?.organization.units;
        let root = units.iter().find(|unit| unit.parent.is_none());
        root.map(|root| root.id.clone())
    }

    /// The accounts whose role this run has had written again.
    pub(super) fn rewritten(&self) -> BTreeSet<AwsAccountId> {
        self.rewritten.lock().clone()
    }

    /// Keeps what another one has read of the organization.
    pub(super) fn learn_from(&self, other: &Self) {
        let organization = other.organization.lock().clone();
        *self.organization.lock() = organization;
    }

    /// Observes and plans without a run: what the status shows.
    ///
    /// # Errors
    /// As a run's own observation.
    pub async fn look(&self) -> Result<(SyncObserved, Plan), JobError> {
        let now = jiff::Timestamp::now().as_second();
        let observed = self.observe_at(now, None).await?;
        let plan = self.plan_of(&observed)?;
        Ok((observed, plan))
    }

    /// Whether accounts that AWS adds after this run would hang without a `runner provider`.
    fn needs_a_provider(&self) -> bool {
        let auto = |profile| {
            stackset_sync::targets::effective_deployment(profile)
                .is_ok_and(|deployment| deployment == Deployment::Auto)
        };
        self.home.config.runner.enrollment.served_by == ServedBy::Run
            && self.desired.profiles.iter().any(auto)
    }

    fn has_management_stacks(&self) -> bool {
        let mut profiles = self.desired.profiles.iter();
        profiles.any(|profile| profile.management.is_some())
    }

    pub(super) fn plan_of(&self, observed: &SyncObserved) -> Result<Plan, JobError> {
        let planned =
            stackset_sync::plan(observed, &self.desired).map_err(|error| unplannable(&error));
        planned.map(|mut plan| {
            self.estimate(&mut plan, observed);
            self.limit(&mut plan);
            plan
        })
    }

    /// Says which profiles the plan is about, where those are not all of the job's: `--set` may name fewer.
    pub(super) fn limit(&self, plan: &mut Plan) {
        let all = self.home.config.runner.profiles.iter();
        let mut covered = all.map(|profile| &profile.name);
        let is_covered = |name: &&String| self.covers.is_empty() || self.covers.contains(name);
        let looked_at = self.desired.profiles.iter();
        let looked_at: BTreeSet<String> = looked_at.map(|profile| profile.name.clone()).collect();
        if covered.any(|name| is_covered(&name) && !looked_at.contains(name)) {
            plan.unjudged.only_profiles = looked_at;
        }
    }

    /// Fills in what the steps will take.
    pub(super) fn estimate(&self, plan: &mut Plan, observed: &SyncObserved) {
        estimate::fill(plan, self.pace(observed.organization.accounts.len()));
    }

    /// What plain stacks of management accounts would change.
    pub(super) async fn preview_managements(
        &self,
        observed: &mut SyncObserved,
    ) -> Result<(), JobError> {
        if !self.has_management_stacks() {
            return Ok(());
        }
        let plan = self.plan_of(observed)?;
        self.preview_management(observed, &plan).await
    }

    /// How fast an operation over so many accounts goes.
    fn pace(&self, accounts: usize) -> Pace {
        let config = &self.home.config.runner;
        Pace {
            requests_per_minute: config.spot.requests_per_minute,
            concurrent: self.home.max_concurrent(accounts, accounts),
            serves: config.enrollment.provider == ProviderKind::Queue,
        }
    }
}

/// Why there can be no plan.
pub(super) fn unplannable(error: &PlanError) -> JobError {
    let class = match error {
        PlanError::TrustedAccessOff => ErrorClass::Prerequisite,
        _ => ErrorClass::Invalid,
    };
    JobError::new(class, error.to_string())
}

#[async_trait]
impl Job for StackSetSync {
    type Observed = SyncObserved;

    fn kind(&self) -> &'static str {
        stackset_sync::KIND
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        let now = cx.now().div_euclid(1000);
        let run = (!cx.is_dry_run()).then(|| cx.run_id());
        let mut observed = self.observe_at(now, run).await?;
        if cx.phase() == Phase::Observe {
            self.preview_managements(&mut observed).await?;
        }
        Ok(observed)
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        self.plan_of(observed)
    }

    fn consent(&self) -> &dyn Consent {
        &SyncConsent
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        self.apply_step(cx, step).await
    }

    async fn stop(&self, cx: &StepContext, step: &Step) -> Result<(), StepError> {
        self.stop_step(cx, step).await
    }

    fn background(&self, cx: &RunContext) -> Option<BoxFuture<'static, ()>> {
        let enrollment = &self.home.config.runner.enrollment;
        // The function's state is its own: with ours, its stacks would look like somebody else's.
        let serves = enrollment.served_by != ServedBy::Lambda;
        (enrollment.provider == ProviderKind::Queue && serves).then(|| {
            let organization = self.organization.lock().clone();
            let serving = provider::beside_a_run(
                self.home.clone(),
                organization,
                cx.background_token(),
                cx.interrupt().clone(),
            );
            let (needed, state) = (self.needs_a_provider(), self.home.state.clone());
            Box::pin(async move {
                if needed && state.is_served().await.is_ok_and(|served| !served) {
                    tracing::warn!(
                        "no `runner provider` is running: when this run ends, nobody serves the stacks of accounts that AWS \
                         adds by itself, as enrollment.served_by = \"run\" says; start one, or set deployment = \"runner\""
                    );
                }
                serving.await;
            }) as BoxFuture<'static, ()>
        })
    }

    fn left_behind(&self, step: &Step, memo: Option<&serde_json::Value>) -> String {
        let operation = memo
            .and_then(|memo| memo.get("operation_id"))
            .and_then(serde_json::Value::as_str);
        match operation {
            Some(operation)
                if matches!(step.action.as_str(), "enroll-account" | "detect-drift") =>
            {
                format!("operation {operation} of step {} goes on in AWS", step.id)
            }
            Some(operation) => format!(
                "operation {operation} of step {} goes on in AWS; its custom resources hang until `runner provider` or the \
                 next run answers them, or until their ServiceTimeout",
                step.id
            ),
            None if step.action == "remove-stray-policies" && memo.is_some() => format!(
                "step {} has begun to take policies away; the next run looks at what is left",
                step.id
            ),
            None if step.action == "await-operation" => format!(
                "the operation of step {} is not ours and goes on in AWS",
                step.id
            ),
            None => format!("step {} was not started in AWS", step.id),
        }
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.home.api_calls()
    }
}
