//! Applying one step of a rollout.

use std::collections::BTreeSet;

use onboarding_core::{
    ids::{AwsAccountId, StackSetName},
    inventory::{InstanceDetailedStatus, InstanceStatus, StackInstance},
    plan::Step,
    policy_rollout::{
        Outcome, Phase, Rollout, RolloutAction, Sweep, WaveProgress, WaveState,
        gates::ids,
        moment::{self, Moment},
    },
    stackset_sync::{SyncAction, targets::effective_deployment},
};

use super::{
    PolicyRollout,
    sweeps::{Pace, Swept, Target, Which},
};
use crate::{
    engine::{Applied, ErrorClass, StepContext, StepError},
    home::aws_error,
    jobs::stackset_sync::operation::OperationMemo,
};

impl PolicyRollout {
    pub(super) async fn apply_step(
        &self,
        cx: &StepContext,
        step: &Step,
    ) -> Result<Applied, StepError> {
        let action = serde_json::from_value(step.payload.clone()).map_err(|error| {
            let what = format!(
                "step {} has a payload that this version cannot read; plan again",
                step.id
            );
            StepError::new(ErrorClass::Bug, what).with_source(error)
        })?;
        match action {
            RolloutAction::Stage {
                from,
                to,
                kept_parameters,
                ..
            } => self.stage(cx, step, (&from, &to), kept_parameters).await,
            RolloutAction::UpdateWave {
                wave, to, members, ..
            } => self.update_wave(cx, step, &wave, &to, members).await,
            RolloutAction::CheckWave { wave, .. } => self.check_wave(cx, &wave).await,
            RolloutAction::Promote {
                to,
                kept_parameters,
                ..
            } => self.promote(cx, step, &to, kept_parameters).await,
            RolloutAction::ClearOverrides { .. } => self.clear_overrides(cx, step).await,
            RolloutAction::Revert { .. } => self.revert(cx, step).await,
            RolloutAction::CheckRevert { .. } => self.check_revert(cx).await,
            RolloutAction::Unstage {
                kept_parameters, ..
            } => self.unstage(cx, step, kept_parameters).await,
        }
    }

    /// Opens the rollout, unless it is, and puts both versions into the template.
    async fn stage(
        &self,
        cx: &StepContext,
        step: &Step,
        (from, to): (&str, &str),
        kept_parameters: Vec<String>,
    ) -> Result<Applied, StepError> {
        let state = &self.home().state;
        if state.open_rollout(self.profile()).await?.is_none() {
            let known = self.known().await?;
            let is_same = known.current.as_ref().is_some_and(|good| good.name == from);
            if !is_same || known.next.name != to || known.unfit.is_some() {
                return Err(StepError::new(
                    ErrorClass::Failed,
                    format!(
                        "version {from} is not the good one any more, or {to} is not what the files say or cannot follow it; plan again"
                    ),
                ));
            }
            let now = cx.now().div_euclid(1000);
            let id = cx.run_id().to_string();
            let rollout = Rollout::new(id, self.profile(), from, to, now);
            state.begin_rollout(&rollout, &known.next).await?;
        }
        let row = self.open().await?;
        if row.rollout.to != to || row.rollout.phase != Phase::Staging {
            return Err(moved(&row.rollout));
        }
        let applied = self.update_definition(cx, step, kept_parameters).await?;
        if is_done(&applied) {
            self.amend(cx, |rollout| match rollout.phase {
                Phase::Staging => {
                    rollout.phase = Phase::Rolling;
                    Ok(())
                }
                // Somebody has turned it back.
                _ => Err(moved(rollout)),
            })
            .await?;
        }
        Ok(applied)
    }

    async fn update_wave(
        &self,
        cx: &StepContext,
        step: &Step,
        name: &str,
        to: &str,
        members: BTreeSet<AwsAccountId>,
    ) -> Result<Applied, StepError> {
        let settings = self.wave(name)?;
        let which = Which::Wave(name.to_owned());
        let mut row = self.open().await?;
        let goes_on = OperationMemo::of(cx).is_some_and(|memo| memo.submitted);
        let is_open = self.params.window_at(cx.moment()).is_open;
        match moment::of_wave(&row.rollout, name, to, is_open, goes_on) {
            Moment::Now => {}
            Moment::Closed => return Ok(closed()),
            Moment::Moved => {
                return match self.wind_up(cx, step, &which).await? {
                    Some(applied) => Ok(applied),
                    None if row.rollout.phase == Phase::RollingBack => Err(StepError::new(
                        ErrorClass::Failed,
                        "somebody has turned the rollout back; nothing of it goes on any more, and the next run takes it back",
                    )),
                    None => Err(moved(&row.rollout)),
                };
            }
        }
        if row.rollout.wave(name).is_none() {
            if members.is_empty() {
                return Err(moved(&row.rollout));
            }
            let evidence = Box::pin(self.evidence(cx, members.iter().copied().collect())).await?;
            row.rollout.waves.push(WaveProgress {
                name: name.to_owned(),
                state: WaveState::Begun,
                sweep: Sweep::over(members),
                known: ids(&evidence),
                updated_at: None,
            });
            self.keep(cx, &mut row).await?;
        }
        let pace = Pace {
            concurrency: settings.concurrency,
            failures: Some((settings.failures, settings.strict)),
        };
        match self
            .sweep(cx, step, &which, Target::Version(to), pace)
            .await?
        {
            Swept::Not(applied) => return Ok(applied),
            Swept::Over => {}
        }
        let mut why = None;
        let rollout = self
            .amend(cx, |rollout| {
                if rollout.phase != Phase::Rolling {
                    return Err(moved(rollout));
                }
                let elsewhere = moved(rollout);
                let wave = rollout.wave_mut(name).ok_or(elsewhere)?;
                wave.state = WaveState::Updated;
                wave.updated_at = Some(cx.now().div_euclid(1000));
                let wrong = wrong(&wave.sweep);
                if wrong.len() > settings.failures {
                    let reason = format!(
                        "wave {name:?}: {} accounts went wrong, and {} may: {}",
                        wrong.len(),
                        settings.failures,
                        first_of(&wrong)
                    );
                    rollout.halt(vec![reason.clone()]);
                    why = Some(reason);
                }
                Ok(())
            })
            .await?;
        if let Some(why) = why {
            return Err(halted(&why));
        }
        let wave = rollout.wave(name).ok_or_else(|| moved(&rollout))?;
        Ok(Applied::Done {
            note: Some(counted(&wave.sweep)),
        })
    }

    /// The next version is the good one from the moment on in which this begins: there is no way back from here but a rollout
    /// of its own.
    async fn promote(
        &self,
        cx: &StepContext,
        step: &Step,
        to: &str,
        kept_parameters: Vec<String>,
    ) -> Result<Applied, StepError> {
        let mut row = self.open().await?;
        let is_open = self.params.window_at(cx.moment()).is_open;
        match moment::of_promotion(&row.rollout, to, is_open) {
            Moment::Now => {}
            Moment::Closed => return Ok(closed()),
            Moment::Moved => return Err(moved(&row.rollout)),
        }
        if row.rollout.phase == Phase::Rolling {
            row.rollout.phase = Phase::Finishing;
            let members = row.rollout.members().map(|(account, _)| account);
            row.rollout.reset = Some(Sweep::over(members.collect::<Vec<_>>()));
            self.keep(cx, &mut row).await?;
        }
        self.update_definition(cx, step, kept_parameters).await
    }

    async fn clear_overrides(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        self.retry_reset(cx).await?;
        match self
            .sweep(cx, step, &Which::Reset, Target::Default, Pace::default())
            .await?
        {
            Swept::Not(applied) => return Ok(applied),
            Swept::Over => {}
        }
        let behind = self.behind().await?;
        let rollout = self
            .amend(cx, |rollout| {
                if rollout.phase != Phase::Finishing {
                    return Err(moved(rollout));
                }
                rollout.phase = Phase::Done;
                Ok(())
            })
            .await?;
        if !behind.is_empty() {
            return Err(StepError::new(
                ErrorClass::Failed,
                format!(
                    "version {} is what the stack set says, and {} accounts could not be updated to it; stackset-sync tries them \
                     again: {}",
                    rollout.to,
                    behind.len(),
                    first_of(&behind)
                ),
            ));
        }
        let left = rollout.reset.as_ref().map(wrong).unwrap_or_default();
        // What is left says what all are told anyway.
        let note = match left.len() {
            0 => format!("version {} is what all have", rollout.to),
            count => format!(
                "version {} is what all have; {count} accounts keep an override that says so: {}",
                rollout.to,
                first_of(&left)
            ),
        };
        Ok(Applied::Done { note: Some(note) })
    }

    /// Accounts whose stack could not be updated, with the reason.
    async fn behind(&self) -> Result<Vec<String>, StepError> {
        let profile = self.sync.desired.profiles.first().ok_or_else(no_profile)?;
        let instances = self.instances(profile).await?;
        let is_behind = |instance: &&StackInstance| {
            instance.status == InstanceStatus::Outdated
                && matches!(
                    instance.detailed_status,
                    InstanceDetailedStatus::Failed | InstanceDetailedStatus::Cancelled
                )
        };
        let behind = instances.values().filter(is_behind).map(|instance| {
            let why = instance.status_reason.as_deref();
            format!("{}: {}", instance.account, why.unwrap_or("no reason given"))
        });
        Ok(behind.collect())
    }

    async fn revert(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        self.rolling_back().await?;
        if let Some(applied) = self.quieten(cx).await? {
            return Ok(applied);
        }
        self.retry_reset(cx).await?;
        match self
            .sweep(cx, step, &Which::Reset, Target::Default, Pace::default())
            .await?
        {
            Swept::Not(applied) => return Ok(applied),
            Swept::Over => {}
        }
        let row = self.open().await?;
        let Some(reset) = &row.rollout.reset else {
            return Err(moved(&row.rollout));
        };
        let left = wrong(reset);
        if !left.is_empty() {
            return Err(StepError::new(
                ErrorClass::Failed,
                format!(
                    "{} accounts could not be put back, and both versions stay in the template; mend the cause and run again: {}",
                    left.len(),
                    first_of(&left)
                ),
            ));
        }
        Ok(Applied::Done {
            note: Some(counted(reset)),
        })
    }

    async fn unstage(
        &self,
        cx: &StepContext,
        step: &Step,
        kept_parameters: Vec<String>,
    ) -> Result<Applied, StepError> {
        let mut row = self.open().await?;
        if moment::of_unstaging(&row.rollout) != Moment::Now {
            return Err(moved(&row.rollout));
        }
        if row.rollout.phase == Phase::RollingBack {
            row.rollout.phase = Phase::Unstaging;
            self.keep(cx, &mut row).await?;
        }
        let applied = self.update_definition(cx, step, kept_parameters).await?;
        if is_done(&applied) {
            let mut row = self.open().await?;
            row.rollout.phase = Phase::RolledBack;
            self.keep(cx, &mut row).await?;
        }
        Ok(applied)
    }

    async fn rolling_back(&self) -> Result<(), StepError> {
        let rollout = self.open().await?.rollout;
        match rollout.phase {
            Phase::RollingBack => Ok(()),
            _ => Err(moved(&rollout)),
        }
    }

    /// Lets those be tried again, once in each run, that an earlier run left.
    async fn retry_reset(&self, cx: &StepContext) -> Result<(), StepError> {
        let mut row = self.open().await?;
        let run = cx.run_id().to_string();
        if let Some(reset) = row.rollout.reset.as_mut().filter(|reset| reset.run != run) {
            // What an operation under way was asked for is still to be settled.
            let asked = std::mem::take(&mut reset.asked);
            reset.retry();
            reset.asked = asked;
            reset.run = run;
            self.keep(cx, &mut row).await?;
        }
        Ok(())
    }

    /// Sends the definition as it should be now to all instances, as `stackset-sync` does.
    async fn update_definition(
        &self,
        cx: &StepContext,
        step: &Step,
        kept_parameters: Vec<String>,
    ) -> Result<Applied, StepError> {
        let sync = self.sync.renewed(&self.profile).await?;
        let Some(profile) = sync.desired.profiles.first() else {
            return Err(no_profile());
        };
        let deployment = effective_deployment(profile)
            .map_err(|error| StepError::new(ErrorClass::Invalid, error.to_string()))?;
        let accounts = if cx.memo().is_none() {
            let instances = self
                .home()
                .aws
                .list_stack_instances(&profile.stack_set)
                .await;
            let instances = instances.map_err(aws_error)?;
            instances.iter().map(|instance| instance.account).collect()
        } else {
            Vec::new()
        };
        let action = SyncAction::UpdateStackSet {
            profile: profile.name.clone(),
            auto_deployment: deployment == onboarding_core::desired::Deployment::Auto,
            definition: true,
            deployment: false,
            kept_parameters,
            managed_execution: false,
            accounts_at_once: accounts.len(),
        };
        let payload = serde_json::to_value(&action).map_err(|error| {
            StepError::new(ErrorClass::Bug, "a step cannot be written as JSON").with_source(error)
        })?;
        let step = Step {
            accounts,
            payload,
            ..step.clone()
        };
        sync.apply_step(cx, &step).await
    }

    pub(super) fn stack_set(&self) -> Result<StackSetName, StepError> {
        let profile = self.sync.desired.profiles.first();
        let profile = profile.ok_or_else(no_profile)?;
        Ok(profile.stack_set.clone())
    }
}

fn is_done(applied: &Applied) -> bool {
    matches!(applied, Applied::Done { .. } | Applied::Unchanged)
}

/// The change window has closed meanwhile.
fn closed() -> Applied {
    Applied::Stopped {
        note: Some("not begun: the change window has closed".to_owned()),
    }
}

/// The first few of these, for people.
pub(super) fn first_of(lines: &[String]) -> String {
    const MOST: usize = 20;
    let mut text = lines[..lines.len().min(MOST)].join("; ");
    if lines.len() > MOST {
        text.push_str(&format!("; and {} more accounts", lines.len() - MOST));
    }
    text
}

/// What became of the accounts, for people.
pub(super) fn counted(sweep: &Sweep) -> String {
    let all = [
        (Outcome::Updated, "updated"),
        (Outcome::Failed, "failed"),
        (Outcome::Cancelled, "not reached"),
        (Outcome::Gone, "gone or moved"),
    ];
    let counts = all.map(|(outcome, words)| (sweep.with(outcome).count(), words));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = counts
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    if words.is_empty() {
        "nobody".to_owned()
    } else {
        words.join(", ")
    }
}

/// Accounts that went wrong, with the reason.
fn wrong(sweep: &Sweep) -> Vec<String> {
    let members = sweep.members.iter();
    let wrong = members
        .filter(|(_, member)| matches!(member.outcome, Outcome::Failed | Outcome::Cancelled));
    wrong
        .map(|(account, member)| {
            let why = member.reason.as_deref().unwrap_or("no reason given");
            format!("{account}: {why}")
        })
        .collect()
}

/// Somebody or something else has brought the rollout to another place than a step was planned for.
pub(super) fn moved(rollout: &Rollout) -> StepError {
    StepError::new(
        ErrorClass::Failed,
        format!(
            "the rollout is somewhere else than when this was planned: {}; plan again",
            rollout.place()
        ),
    )
}

pub(super) fn no_profile() -> StepError {
    StepError::new(
        ErrorClass::Failed,
        "the configuration has the profile of this rollout no more; plan again",
    )
}

pub(super) fn halted(why: &str) -> StepError {
    StepError::new(ErrorClass::Failed, format!("the rollout is halted: {why}"))
}
