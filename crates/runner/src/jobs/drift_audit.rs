//! `drift-audit`: looks at every account in four places, and says what is not as it should be. Changes nothing.
//!
//! What is decided is in the core; this module reads. What an account has is compared while it is in memory, and only the
//! differences are kept, so that ten thousand accounts cost no more than their findings.

mod truth;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use onboarding_core::{
    custom_resource::{Naming, NamingError},
    drift_audit::{self, AuditObserved, HomePlace, Suppression},
    plan::{Plan, Step},
};

use super::stackset_sync::{StackSetSync, unplannable};
use crate::{
    config::{AuditDepth, CallAs, DriftAuditParams, Product, ProfileConfig, RenameRule},
    engine::{Applied, ErrorClass, Job, JobError, RunContext, StepContext, StepError},
    home::{Home, spot_error},
};

/// The job, configured.
pub struct DriftAudit {
    sync: StackSetSync,
    params: DriftAuditParams,
    suppressions: Vec<Suppression>,
}

impl DriftAudit {
    /// Configures the job.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn new(home: Home, params: &DriftAuditParams) -> Result<Self, JobError> {
        let suppressions = params.suppress.iter().map(|suppress| Suppression {
            finding: suppress.finding.clone(),
            reason: suppress.reason.clone(),
            until: suppress.until.end(),
        });
        Ok(Self {
            suppressions: suppressions.collect(),
            sync: StackSetSync::new(home, &params.profiles, false)?,
            params: params.clone(),
        })
    }

    /// The profiles that are audited.
    fn profiles(&self) -> impl Iterator<Item = &ProfileConfig> {
        let is_audited = |profile: &&ProfileConfig| {
            self.params.profiles.is_empty() || self.params.profiles.contains(&profile.name)
        };
        let config = &self.sync.home.config.runner;
        config.profiles.iter().filter(is_audited)
    }

    /// How the Spot accounts of each profile are named, where they are.
    fn namings(&self) -> Result<BTreeMap<String, Naming>, JobError> {
        let named = self.profiles().filter_map(|profile| {
            let rule = match &profile.naming.rename.0 {
                RenameRule::Off => return None,
                RenameRule::AccountName => {
                    return Some((profile.name.clone(), Ok(Naming::default())));
                }
                rule => rule.to_string(),
            };
            let naming = rule.parse().map_err(|error: NamingError| {
                JobError::new(
                    ErrorClass::Invalid,
                    "a profile's naming rule cannot be used",
                )
                .with_source(error)
            });
            Some((profile.name.clone(), naming))
        });
        named.map(|(name, naming)| Ok((name, naming?))).collect()
    }
}

#[async_trait]
impl Job for DriftAudit {
    type Observed = AuditObserved;

    fn kind(&self) -> &'static str {
        drift_audit::KIND
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        let now = cx.now().div_euclid(1000);
        let sync = self.sync.observe_at(now, None).await?;
        let wants_cost_intelligence: BTreeSet<String> = self
            .profiles()
            .filter(|profile| profile.products.contains(&Product::CostIntelligence))
            .map(|profile| profile.name.clone())
            .collect();
        let cost_intelligence = if wants_cost_intelligence.is_empty() {
            None
        } else {
            let registered = self
                .sync
                .home
                .spot
                .cost_intelligence()
                .await
                .map_err(spot_error)?;
            Some(registered.into_iter().map(|one| one.account_id).collect())
        };
        let drifts = match self.params.depth {
            AuditDepth::Coverage => None,
            AuditDepth::Full => Some(self.drifts(&sync).await?),
        };
        let aws = &self.sync.home.config.runner.aws;
        Ok(AuditObserved {
            sync,
            drifts,
            cost_intelligence,
            namings: self.namings()?,
            wants_cost_intelligence,
            home: HomePlace {
                region: aws.region.0.clone(),
                is_delegated: aws.call_as == CallAs::DelegatedAdmin,
            },
        })
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        drift_audit::plan(observed, &self.sync.desired, &self.suppressions)
            .map_err(|error| unplannable(&error))
    }

    async fn apply(&self, _cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        Err(JobError::new(
            ErrorClass::Bug,
            format!("an audit has no steps, and {} is one", step.id),
        ))
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.sync.home.api_calls()
    }
}
