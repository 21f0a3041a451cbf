//! `policy-rollout`: gives the accounts of a profile another version of its policies, wave after wave, and takes it back.
//!
//! What is decided is in the core; this module observes, sends what a step says, and writes down what became of it. Each step looks
//! at the rollout as it is written down, so that a run which died half-way is continued by the next one.

mod apply;
mod gates;
mod overrides;
mod sweeps;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use onboarding_core::{
    desired::Desired,
    ids::AwsAccountId,
    plan::{Plan, Step, consent::Consent},
    policy_rollout::{
        self, Rollout, RolloutConsent, RolloutObserved, RolloutSettings, WaveSettings,
    },
};

use super::stackset_sync::{StackSetSync, operation::OperationMemo, unplannable};
use crate::{
    config::{PolicyRolloutParams, WaveConfig},
    engine::{Applied, ErrorClass, Job, JobError, RunContext, StepContext, StepError},
    home::Home,
    state::RolloutRow,
};

/// The job, configured.
pub struct PolicyRollout {
    sync: StackSetSync,
    params: PolicyRolloutParams,
    /// The one profile, by name.
    profile: [String; 1],
}

/// What a run knows, and what should be by now.
pub struct Seen {
    observed: RolloutObserved,
    desired: Desired,
}

impl PolicyRollout {
    /// Configures the job of this name.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] when it names no profile, or another job rolls that one out; else as [`StackSetSync::new`].
    pub fn new(home: Home, job: &str, params: &PolicyRolloutParams) -> Result<Self, JobError> {
        let invalid = |message: String| Err(JobError::new(ErrorClass::Invalid, message));
        let Some(profile) = &params.profile else {
            return invalid(format!(
                "job {job} is for no profile; set params.profile in its file: from then on stackset-sync keeps the version that \
                 the profile's accounts have, and this job rolls the next one out"
            ));
        };
        match home.config.rollout_job(profile) {
            Some(known) if known.name == job => {}
            Some(other) => {
                return invalid(format!(
                    "job {} rolls out the policies of profile {profile:?} already; a profile has one such job",
                    other.name
                ));
            }
            // Which job keeps a profile's version must be the same for every run.
            None => {
                return invalid(format!(
                    "params.profile cannot be given by --set; write it into the file of job {job}"
                ));
            }
        }
        let profile = [profile.clone()];
        Ok(Self {
            sync: StackSetSync::new(home, &profile, false)?,
            params: params.clone(),
            profile,
        })
    }

    fn home(&self) -> &Home {
        &self.sync.home
    }

    fn profile(&self) -> &str {
        &self.profile[0]
    }

    fn settings(&self) -> RolloutSettings {
        RolloutSettings {
            waves: self.params.waves.iter().map(WaveConfig::settings).collect(),
            concurrency: self.home().max_concurrent(0, 0),
            reads_accounts: self.params.iam,
            moment,
        }
    }

    fn wave(&self, name: &str) -> Result<WaveSettings, StepError> {
        let mut waves = self.params.waves.iter();
        let wave = waves.find(|wave| wave.name == name);
        wave.map(WaveConfig::settings).ok_or_else(|| {
            StepError::new(
                ErrorClass::Invalid,
                format!("the job has no wave {name:?} any more; plan again"),
            )
        })
    }

    /// The rollout that is open, which a step must find.
    async fn open(&self) -> Result<RolloutRow, StepError> {
        let open = self.home().state.open_rollout(self.profile()).await?;
        open.ok_or_else(|| {
            StepError::new(
                ErrorClass::Failed,
                "the rollout is over meanwhile; plan again",
            )
        })
    }

    /// Writes the rollout down.
    async fn keep(&self, cx: &StepContext, row: &mut RolloutRow) -> Result<(), StepError> {
        let now = cx.now().div_euclid(1000);
        if !self.home().state.keep_rollout(row, now).await? {
            return Err(StepError::new(
                ErrorClass::Failed,
                "somebody else has changed the rollout meanwhile (resumed it, or turned it back); run again",
            ));
        }
        row.revision += 1;
        Ok(())
    }

    /// Changes the rollout as it is now, and again where somebody else has changed it in between: what an operation has done is so
    /// whatever anybody decided meanwhile.
    async fn amend(
        &self,
        cx: &StepContext,
        mut change: impl FnMut(&mut Rollout) -> Result<(), StepError> + Send,
    ) -> Result<Rollout, StepError> {
        const MOST: usize = 5;
        for _ in 0..MOST {
            let mut row = self.open().await?;
            change(&mut row.rollout)?;
            let now = cx.now().div_euclid(1000);
            if self.home().state.keep_rollout(&row, now).await? {
                return Ok(row.rollout);
            }
        }
        Err(StepError::new(
            ErrorClass::Failed,
            "others change the rollout again and again; run again",
        ))
    }

    /// The tags of the profile's accounts, when a wave asks for any.
    async fn tags(&self, seen: &mut RolloutObserved) -> Result<(), JobError> {
        if self.params.waves.iter().all(|wave| wave.tags.is_empty()) {
            return Ok(());
        }
        let instances = seen.sync.profiles.iter().flat_map(|state| &state.instances);
        let accounts: BTreeSet<AwsAccountId> = instances.map(|instance| instance.account).collect();
        let (organization, now) = (&seen.sync.organization, seen.sync.now);
        let mut tags = (*self.sync.tags_of(organization, accounts, now).await?).clone();
        tags.extend((*seen.sync.account_tags).clone());
        seen.sync.account_tags = tags.into();
        Ok(())
    }
}

/// A moment, for people.
fn moment(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(
        |_| at.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[async_trait]
impl Job for PolicyRollout {
    type Observed = Seen;

    fn kind(&self) -> &'static str {
        policy_rollout::KIND
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        let now = cx.now().div_euclid(1000);
        let sync = self.sync.renewed(&self.profile).await?;
        let observed = sync.observe_at(now, None).await?;
        self.sync.learn_from(&sync);
        let known = self.known().await?;
        let mut observed = RolloutObserved {
            sync: observed,
            good: known.good(),
            candidate: known.candidate(),
            unfit: known.unfit.clone(),
            rejected: known.is_rejected(),
            changes: self.changes(&known)?,
            rollout: known.open.map(|open| open.rollout),
            window: self.params.window_at(cx.moment()),
        };
        self.tags(&mut observed).await?;
        Ok(Seen {
            observed,
            desired: sync.desired,
        })
    }

    fn plan(&self, _cx: &RunContext, seen: &Self::Observed) -> Result<Plan, JobError> {
        policy_rollout::plan(&seen.observed, &seen.desired, &self.settings())
            .map_err(|error| unplannable(&error))
    }

    fn consent(&self) -> &dyn Consent {
        &RolloutConsent
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        self.apply_step(cx, step).await
    }

    async fn stop(&self, cx: &StepContext, _step: &Step) -> Result<(), StepError> {
        let Some(memo) = OperationMemo::of(cx).filter(|memo| memo.submitted) else {
            return Ok(());
        };
        let stack_set = self.stack_set()?;
        self.sync
            .stop_operation(&stack_set, &memo.operation_id)
            .await
    }

    /// What an update brings along for instances that were never finished asks the provider.
    fn background(&self, cx: &RunContext) -> Option<BoxFuture<'static, ()>> {
        self.sync.background(cx)
    }

    fn left_behind(&self, step: &Step, memo: Option<&serde_json::Value>) -> String {
        self.sync.left_behind(step, memo)
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.home().api_calls()
    }
}
