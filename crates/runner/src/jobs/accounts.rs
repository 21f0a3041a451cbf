//! What [`drift_audit`](super::drift_audit) and [`enroll`](super::enroll) share: they look at every account in four places; one says
//! what is not as it should be, the other, or the first when it is asked to fix, puts it right.
//!
//! What is decided is in the core; this module reads, and `stackset-sync` applies: the steps are of its kinds. What an account
//! has is compared while it is in memory, and only the differences are kept, so that ten thousand accounts cost no more than
//! their findings.

pub(super) mod truth;
pub(super) mod validations;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use onboarding_core::{
    custom_resource::{Naming, NamingError},
    drift_audit::{
        self, AuditObserved, Connection, Detection, HomePlace, Seen, Suppression, TokenAge,
    },
    enroll,
    ids::AwsAccountId,
    plan::{Plan, Step, consent::Consent},
    stackset_sync::SyncConsent,
};
use parking_lot::Mutex;
use spot_api::RegistrationStatus;

use self::truth::{AggregatorSource, Read};
use super::stackset_sync::{StackSetSync, unplannable};
use crate::{
    config::{AuditDepth, CallAs, Product, ProfileConfig, RenameRule},
    engine::{Applied, ErrorClass, Job, JobError, Phase, RunContext, StepContext, StepError},
    home::spot_error,
};

/// A job that is about accounts, configured.
pub struct OnAccounts {
    pub(super) sync: StackSetSync,
    pub(super) rule: Rule,
    pub(super) profiles: Vec<String>,
    pub(super) depth: AuditDepth,
    pub(super) ask_spot: bool,
    pub(super) concurrency: u32,
    /// After how many seconds a role that nobody uses is worth a look.
    pub(super) unused_after: Option<i64>,
    /// Whether CloudFormation's own drift detection is asked, too.
    pub(super) detection: Option<Detection>,
    /// After how many seconds the Spot token should have been renewed.
    pub(super) token_max_age: Option<i64>,
    /// The aggregator of AWS Config that tells what IAM has; none where it is read in the accounts.
    pub(super) aggregator: Option<AggregatorSource>,
    /// What this run read in IAM before its steps.
    pub(super) read: Mutex<Read>,
    /// The accounts that steps of this run have worked on.
    pub(super) worked_on: Mutex<BTreeSet<AwsAccountId>>,
    /// What stray policies say, once for all accounts that have the same.
    pub(super) documents: Mutex<BTreeSet<Arc<str>>>,
}

/// What is planned with what was read.
pub(super) enum Rule {
    /// Findings, and what mends them when that is asked for.
    Audit {
        suppressions: Vec<Suppression>,
        fixes: bool,
    },
    /// What the accounts lack.
    Enroll,
}

impl OnAccounts {
    /// The same job, of a file.
    pub(super) fn of_file(self, name: &str) -> Self {
        let sync = self.sync.of_file(name);
        Self { sync, ..self }
    }

    /// The profiles that it is about.
    fn profiles(&self) -> impl Iterator<Item = &ProfileConfig> {
        let is_audited = |profile: &&ProfileConfig| {
            self.profiles.is_empty() || self.profiles.contains(&profile.name)
        };
        let config = &self.sync.home.config.runner;
        config.profiles.iter().filter(is_audited)
    }

    /// Whether its plan can have steps.
    fn writes(&self) -> bool {
        match self.rule {
            Rule::Audit { fixes, .. } => fixes,
            Rule::Enroll => true,
        }
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
impl Job for OnAccounts {
    type Observed = AuditObserved;

    fn kind(&self) -> &'static str {
        match self.rule {
            Rule::Audit { .. } => drift_audit::KIND,
            Rule::Enroll => enroll::KIND,
        }
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        let now = cx.now().div_euclid(1000);
        let run = (self.writes() && !cx.is_dry_run()).then(|| cx.run_id());
        let mut sync = self.sync.observe_at(now, run).await?;
        if cx.phase() == Phase::Observe && self.writes() {
            self.sync.preview_managements(&mut sync).await?;
        }
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
            let registered = registered.into_iter();
            let registered = registered.map(|one| (one.account_id, connection(one.status)));
            Some(registered.collect())
        };
        let mut validations = BTreeMap::new();
        let (drifts, seen) = match self.depth {
            AuditDepth::Coverage => (None, None),
            AuditDepth::Full => {
                let read = self.drifts(&sync, cx.phase()).await?;
                let before = std::mem::replace(&mut *self.read.lock(), read.clone());
                if let Some(run) = run.filter(|_| cx.phase() == Phase::Verify) {
                    self.settle_repairs(&sync, run, &before.drifts, &read.drifts)
                        .await?;
                }
                let with_product = cost_intelligence.as_ref();
                validations = self.validated(&sync, &read, with_product).await;
                let Read {
                    drifts,
                    seen,
                    collected,
                } = read;
                let seen = Seen {
                    accounts: seen,
                    collected,
                };
                (Some(drifts), self.aggregator.is_some().then_some(seen))
            }
        };
        let aws = &self.sync.home.config.runner.aws;
        let mut observed = AuditObserved {
            sync,
            drifts,
            seen,
            cost_intelligence,
            asks_spot: self.ask_spot && self.depth == AuditDepth::Full,
            validations,
            namings: self.namings()?,
            wants_cost_intelligence,
            owned: self.sync.home.state.owned_links().await?,
            home: HomePlace {
                region: aws.region.0.clone(),
                is_delegated: aws.call_as == CallAs::DelegatedAdmin,
            },
            // What this run let CloudFormation look at is as new as it gets.
            detection: self.detection.map(|detection| match cx.phase() {
                Phase::Verify => Detection { max_age: i64::MAX },
                Phase::Observe | Phase::Apply => detection,
            }),
            token: TokenAge {
                place: self.sync.home.config.runner.spot.token.to_string(),
                since: self.sync.home.spot_token_since(),
                max_age: self.token_max_age,
            },
        };
        if let Some(run) = run {
            self.with_clocks(&mut observed, run).await?;
        }
        Ok(observed)
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        let desired = &self.sync.desired;
        let planned = match &self.rule {
            Rule::Audit {
                suppressions,
                fixes,
            } => drift_audit::plan(observed, desired, suppressions, *fixes),
            Rule::Enroll => enroll::plan(observed, desired),
        };
        let mut plan = planned.map_err(|error| unplannable(&error))?;
        self.sync.estimate(&mut plan, &observed.sync);
        self.sync.limit(&mut plan);
        Ok(plan)
    }

    fn consent(&self) -> &dyn Consent {
        &SyncConsent
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        self.worked_on.lock().extend(&step.accounts);
        self.sync.apply(cx, step).await
    }

    async fn stop(&self, cx: &StepContext, step: &Step) -> Result<(), StepError> {
        self.sync.stop(cx, step).await
    }

    fn background(&self, cx: &RunContext) -> Option<BoxFuture<'static, ()>> {
        // Who only looks serves nobody.
        self.writes().then(|| self.sync.background(cx)).flatten()
    }

    fn left_behind(&self, step: &Step, memo: Option<&serde_json::Value>) -> String {
        self.sync.left_behind(step, memo)
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.sync.home.api_calls()
    }
}

/// What Spot lists, as it is judged.
fn connection(status: RegistrationStatus) -> Connection {
    match status {
        RegistrationStatus::Connected => Connection::Connected,
        RegistrationStatus::PartiallyConnected => Connection::Partly,
        RegistrationStatus::NotConnected => Connection::Not,
        RegistrationStatus::Unknown => Connection::Unknown,
    }
}
