//! The waves of a rollout, as far as they are due.

use std::collections::BTreeSet;

use super::{CHANGE, Planner, writing::CALLS_PER_LOOK};
use crate::{
    ids::AwsAccountId,
    plan::Risk,
    policy_rollout::{Outcome, Rollout, RolloutAction, WaveSettings, WaveState, select},
    stackset_sync::PlanError,
};

impl Planner<'_, '_> {
    /// The waves, as far as they are due, and what ends the rollout after the last one.
    pub(super) fn waves(&mut self, rollout: &Rollout) -> Result<(), PlanError> {
        let mut left: BTreeSet<AwsAccountId> = self.all_eligible();
        left.retain(|account| {
            let stack = self
                .eligible
                .get(account)
                .and_then(|one| one.stack_id.as_deref());
            !rollout.has_next(*account, stack)
        });
        for begun in rollout
            .waves
            .iter()
            .filter(|wave| wave.state == WaveState::Begun)
        {
            left.retain(|account| !begun.sweep.members.contains_key(account));
        }
        let now = self.observed.sync.now;
        let mut is_first = true;
        // What has begun comes to its end before anything else begins, wherever a wave was put since.
        let waves = self.settings.waves.iter();
        let (begun, rest): (Vec<&WaveSettings>, Vec<&WaveSettings>) =
            waves.partition(|wave| rollout.wave(&wave.name).is_some());
        for wave in begun.into_iter().chain(rest) {
            let begun = rollout.wave(&wave.name);
            match begun.map(|begun| begun.state) {
                Some(WaveState::Passed) => continue,
                Some(WaveState::Updated) => {
                    let since = begun.and_then(|begun| begun.updated_at).unwrap_or(now);
                    let until = since.saturating_add(wave.soak);
                    if now < until {
                        let until = (self.settings.moment)(until);
                        self.wait(format!("wave {:?} soaks until {until}", wave.name));
                        return Ok(());
                    }
                    let members = begun.map_or(0, |begun| begun.sweep.members.len());
                    self.check(rollout, wave, members);
                    continue;
                }
                Some(WaveState::Begun) | None => {}
            }
            let members = match begun {
                Some(begun) => begun.sweep.members.keys().copied().collect(),
                None => self.selected(wave, &rollout.to, &left)?,
            };
            if members.is_empty() {
                // Earlier waves have its accounts, or nobody is left. One whose accounts cannot be updated any more has tried
                // nothing out, and the next one would be the first.
                if self.selects_nobody(wave, &rollout.to)? && !self.eligible.is_empty() {
                    self.refuse_empty(wave);
                    return Ok(());
                }
                continue;
            }
            if self.is_closed() {
                return Ok(());
            }
            left.retain(|account| !members.contains(account));
            self.update(rollout, wave, &members, is_first);
            is_first = false;
            self.check(rollout, wave, members.len());
            if wave.soak > 0 {
                if !left.is_empty() {
                    let soak = wave.soak.unsigned_abs().div_ceil(60);
                    self.wait(format!("wave {:?} soaks for {soak} min", wave.name));
                }
                return Ok(());
            }
        }
        if self.is_closed() {
            return Ok(());
        }
        self.finish(rollout);
        Ok(())
    }

    /// Whether a wave names accounts, and none of those that could be updated.
    pub(super) fn selects_nobody(
        &self,
        wave: &WaveSettings,
        version: &str,
    ) -> Result<bool, PlanError> {
        let all = self.all_eligible();
        Ok(wave.selector.is_some() && self.selected(wave, version, &all)?.is_empty())
    }

    pub(super) fn refuse_empty(&mut self, wave: &WaveSettings) {
        self.refuse(
            "empty-wave",
            format!(
                "wave {:?} has no account that could be updated; correct its selector, or take the wave away",
                wave.name
            ),
        );
    }

    /// Whether a wave that has begun and whose gates are not passed is no longer configured; says so. Going on without it would
    /// be going on without its gates.
    pub(super) fn lacks_a_wave(&mut self, rollout: &Rollout) -> bool {
        let is_configured = |name: &str| self.settings.waves.iter().any(|wave| wave.name == name);
        let mut waves = rollout.waves.iter();
        let Some(lost) =
            waves.find(|wave| wave.state != WaveState::Passed && !is_configured(&wave.name))
        else {
            return false;
        };
        let message = format!(
            "wave {:?} has begun, its gates are not passed, and the job has no wave of this name any more: give it back its name, or \
             go back with `runner policy rollback {}`",
            lost.name, self.profile.name
        );
        self.refuse("wave-taken-away", message);
        true
    }

    fn update(
        &mut self,
        rollout: &Rollout,
        wave: &WaveSettings,
        members: &BTreeSet<AwsAccountId>,
        is_first: bool,
    ) {
        let begun = rollout.wave(&wave.name);
        let is_due = |account: &&AwsAccountId| {
            let member = begun.and_then(|begun| begun.sweep.members.get(account));
            member.is_none_or(|member| member.outcome == Outcome::Due)
        };
        let due: Vec<AwsAccountId> = members.iter().filter(is_due).copied().collect();
        for account in &due {
            self.due.insert(*account, format!("wave {}", wave.name));
        }
        let action = RolloutAction::UpdateWave {
            profile: rollout.profile.clone(),
            wave: wave.name.clone(),
            to: rollout.to.clone(),
            members: members.clone(),
        };
        let reason = format!(
            "wave {:?}: {} accounts get version {} in place of {}",
            wave.name,
            due.len(),
            rollout.to,
            rollout.from
        );
        let concurrency = wave.concurrency.unwrap_or(self.settings.concurrency);
        let mut estimate = self.operation(due.len() as u64, CHANGE, concurrency);
        // What each instance overrides already is asked for.
        estimate.aws_calls += due.len() as u64;
        if self.settings.reads_accounts {
            estimate.aws_calls += CALLS_PER_LOOK * due.len() as u64;
        }
        self.push(&action, due, reason, Risk::Medium, estimate);
        if let Some(step) = self.plan.steps.last_mut().filter(|_| is_first) {
            step.changes.clone_from(&self.observed.changes);
        }
    }

    fn check(&mut self, rollout: &Rollout, wave: &WaveSettings, members: usize) {
        let action = RolloutAction::CheckWave {
            profile: rollout.profile.clone(),
            wave: wave.name.clone(),
        };
        let what = if self.settings.reads_accounts {
            "its operation, what IAM has, and its links to Spot"
        } else {
            "its operation"
        };
        let reason = format!("the gates of wave {:?}: {what}", wave.name);
        let estimate = self.look(members);
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
    }

    pub(super) fn all_eligible(&self) -> BTreeSet<AwsAccountId> {
        self.eligible.keys().copied().collect()
    }

    pub(super) fn selected(
        &self,
        wave: &WaveSettings,
        version: &str,
        left: &BTreeSet<AwsAccountId>,
    ) -> Result<BTreeSet<AwsAccountId>, PlanError> {
        select(
            wave,
            version,
            &self.observed.sync,
            &self.all_eligible(),
            left,
        )
    }
}
