//! What a run of a rollout does: everything that is due now, and no more than that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    KIND, Outcome, Phase, Rollout, RolloutAction, WaveSettings, WaveState, eligible, rows, select,
};
use crate::{
    desired::{Desired, Profile},
    ids::AwsAccountId,
    inventory::StackInstance,
    plan::{Estimate, Finding, Plan, Refusal, Risk, Severity, Step},
    stackset_sync::{
        self, ObservedProfile, PlanError, SyncObserved, definition, definition::Difference, targets,
    },
    status::Reason,
};

/// Seconds that CloudFormation takes to change one stack, and to find that nothing changes.
const CHANGE: u64 = 60;
const NO_CHANGE: u64 = 10;

/// Calls that looking into one account takes.
const CALLS_PER_LOOK: u64 = 9;

/// A version of the policies, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
}

/// When changes may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Whether they may now.
    pub is_open: bool,
    /// When it opens next, in Unix seconds, when it is not open.
    pub opens_at: Option<i64>,
}

/// Everything that one run knows.
#[derive(Debug, Clone)]
pub struct RolloutObserved {
    /// What `stackset-sync` looks at, for the one profile.
    pub sync: SyncObserved,
    /// The version that is good; none when nothing is deployed yet.
    pub good: Option<Candidate>,
    /// The version that the files say.
    pub candidate: Candidate,
    /// Why the version that the files say cannot be rolled out.
    pub unfit: Option<String>,
    /// Whether it was rolled back before.
    pub rejected: bool,
    /// What the next step towards an account changes in what it has, in words: to the candidate, or back.
    pub changes: Vec<String>,
    /// The rollout that is not over.
    pub rollout: Option<Rollout>,
    /// When changes may be made.
    pub window: Window,
}

/// How a rollout is to go.
#[derive(Debug, Clone)]
pub struct RolloutSettings {
    /// The waves, the last one without a selector.
    pub waves: Vec<WaveSettings>,
    /// How many accounts an operation works on at a time, unless a wave says otherwise.
    pub concurrency: u32,
    /// Whether accounts are looked into.
    pub reads_accounts: bool,
    /// A moment in Unix seconds, for people.
    pub moment: fn(i64) -> String,
}

/// Plans a run.
///
/// # Errors
/// The configuration contradicts itself or the organization: see [`PlanError`].
pub fn plan(
    observed: &RolloutObserved,
    desired: &Desired,
    settings: &RolloutSettings,
) -> Result<Plan, PlanError> {
    let mut plan = stackset_sync::plan(&observed.sync, desired)?;
    plan.steps.clear();
    plan.findings.clear();
    let refusals = std::mem::take(&mut plan.refusals);
    let (Some(profile), Some(state)) = (desired.profiles.first(), observed.sync.profiles.first())
    else {
        return Ok(plan);
    };
    if state.stack_set.is_some() && !state.is_ours {
        plan.refusals = refusals;
        return Ok(plan);
    }
    let deployment = targets::effective_deployment(profile)?;
    let enrolled = plan.accounts.iter().filter(|row| {
        row.targeted && matches!(row.reason, Reason::Enrolled | Reason::EnrolledElsewhere)
    });
    let enrolled: BTreeSet<AwsAccountId> = enrolled.map(|row| row.account).collect();
    let mut planner = Planner {
        observed,
        settings,
        profile,
        state,
        difference: definition::compare(profile, state, deployment),
        eligible: eligible(&observed.sync, &enrolled),
        plan: &mut plan,
        due: BTreeMap::new(),
        waits: None,
    };
    planner.all()?;
    let Planner {
        due,
        waits,
        eligible,
        ..
    } = planner;
    rows::settle(&mut plan, observed, &eligible, &due, waits.as_deref());
    plan.findings.sort();
    if plan.refusals.iter().any(|refusal| refusal.whole_plan) {
        plan.steps.clear();
    }
    Ok(plan)
}

struct Planner<'a, 'p> {
    observed: &'a RolloutObserved,
    settings: &'a RolloutSettings,
    profile: &'a Profile,
    state: &'a ObservedProfile,
    /// How the stack set differs from what it should be now.
    difference: Difference,
    eligible: BTreeMap<AwsAccountId, &'a StackInstance>,
    plan: &'p mut Plan,
    /// The accounts that are worked on, and why.
    due: BTreeMap<AwsAccountId, String>,
    /// For what the others wait.
    waits: Option<String>,
}

impl Planner<'_, '_> {
    fn all(&mut self) -> Result<(), PlanError> {
        match &self.observed.rollout {
            None => self.none_open(),
            Some(rollout) => self.open(rollout),
        }
    }

    fn none_open(&mut self) -> Result<(), PlanError> {
        let candidate = &self.observed.candidate;
        let Some(good) = &self.observed.good else {
            let message = format!(
                "stack set {} is not there yet: `runner exec {}` deploys version {} to all accounts; later versions are rolled \
                 out in waves",
                self.profile.stack_set,
                stackset_sync::KIND,
                candidate.name
            );
            self.find("nothing-deployed", Severity::Info, message);
            return Ok(());
        };
        if good.digest == candidate.digest {
            return Ok(());
        }
        if let Some(why) = &self.observed.unfit {
            self.refuse(
                "versions-do-not-fit",
                format!(
                    "version {} cannot be rolled out from version {}: {why}",
                    candidate.name, good.name
                ),
            );
            return Ok(());
        }
        if self.observed.rejected {
            self.refuse(
                "version-rejected",
                format!(
                    "version {} was rolled back before; change the policy, or let it be tried again with `runner policy resume {}`",
                    candidate.name, self.profile.name
                ),
            );
            return Ok(());
        }
        if self.difference.definition {
            // Staging sends the whole definition: what else has changed would reach all accounts with it.
            self.refuse(
                "definition-differs",
                format!(
                    "stack set {} differs in {} already, and staging a version must change nothing in any account: run {} first",
                    self.profile.stack_set,
                    self.difference.words.join(", "),
                    stackset_sync::KIND
                ),
            );
            return Ok(());
        }
        for wave in &self.settings.waves {
            if wave.selector.is_some()
                && self
                    .selected(wave, &candidate.name, &self.all_eligible())?
                    .is_empty()
            {
                self.refuse(
                    "empty-wave",
                    format!(
                        "wave {:?} has no account that could be updated; correct its selector, or take the wave away",
                        wave.name
                    ),
                );
            }
        }
        if self.is_closed() {
            return Ok(());
        }
        let rollout = Rollout::new(
            String::new(),
            &self.profile.name,
            &good.name,
            &candidate.name,
            self.observed.sync.now,
        );
        self.stage(&rollout);
        self.waves(&rollout)
    }

    fn open(&mut self, rollout: &Rollout) -> Result<(), PlanError> {
        if self.observed.candidate.name != rollout.to && !rollout.phase.is_over() {
            let message = format!(
                "the files say version {} by now; this rollout goes on with {}, and the next one takes theirs",
                self.observed.candidate.name, rollout.to
            );
            self.find("files-moved-on", Severity::Info, message);
        }
        match rollout.phase {
            Phase::Staging => {
                if !self.is_closed() {
                    self.stage(rollout);
                    self.waves(rollout)?;
                }
            }
            Phase::Rolling if self.difference.definition => self.refuse(
                "definition-differs",
                format!(
                    "stack set {} differs in {} since version {} was staged, and updating it would reach all accounts: put the \
                     configuration back until the rollout is over, or go back with `runner policy rollback {}`",
                    self.profile.stack_set,
                    self.difference.words.join(", "),
                    rollout.to,
                    self.profile.name
                ),
            ),
            Phase::Rolling => self.waves(rollout)?,
            Phase::Halted => {
                self.waits = Some("the rollout is halted".to_owned());
                self.refuse(
                    "rollout-halted",
                    format!(
                        "the rollout of version {} is halted: {}; mend the cause and `runner policy resume {2}`, or go back to version \
                         {3} with `runner policy rollback {2}`",
                        rollout.to,
                        rollout.halted.join(" | "),
                        self.profile.name,
                        rollout.from
                    ),
                );
            }
            Phase::Finishing => self.finish(rollout),
            Phase::RollingBack => {
                self.revert(rollout);
                self.unstage(rollout);
            }
            Phase::Unstaging => self.unstage(rollout),
            Phase::Done | Phase::RolledBack => {}
        }
        Ok(())
    }

    /// Both versions into the template.
    fn stage(&mut self, rollout: &Rollout) {
        let action = RolloutAction::Stage {
            profile: rollout.profile.clone(),
            from: rollout.from.clone(),
            to: rollout.to.clone(),
            kept_parameters: self.difference.kept_parameters.clone(),
        };
        let reason = format!(
            "version {} comes into the template beside {}, which all accounts keep",
            rollout.to, rollout.from
        );
        let accounts = self.state.instances.len() as u64;
        let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
        let fact = format!(
            "the definition of {}: {}",
            self.profile.stack_set,
            definition::digest(self.state)
        );
        if let Some(step) = self.plan.steps.last_mut() {
            step.preconditions.push(fact);
        }
    }

    /// The waves, as far as they are due, and what ends the rollout after the last one.
    fn waves(&mut self, rollout: &Rollout) -> Result<(), PlanError> {
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
        for wave in &self.settings.waves {
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
                // Earlier waves have its accounts, or nobody is left.
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

    fn finish(&mut self, rollout: &Rollout) {
        let accounts = self.state.instances.len() as u64;
        if rollout.phase != Phase::Finishing || self.difference.definition {
            let action = RolloutAction::Promote {
                profile: rollout.profile.clone(),
                to: rollout.to.clone(),
                kept_parameters: self.difference.kept_parameters.clone(),
            };
            let reason = format!(
                "version {} becomes what every account has, and {} leaves the template",
                rollout.to, rollout.from
            );
            let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
            self.push(&action, Vec::new(), reason, Risk::Medium, estimate);
        }
        let action = RolloutAction::ClearOverrides {
            profile: rollout.profile.clone(),
        };
        let reason =
            "what the waves' accounts were told by themselves, all are told now".to_owned();
        let mut estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        estimate.aws_calls += accounts;
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
    }

    fn revert(&mut self, rollout: &Rollout) {
        let Some(reset) = &rollout.reset else { return };
        let back: Vec<AwsAccountId> = reset
            .members
            .iter()
            .filter(|(_, member)| !matches!(member.outcome, Outcome::Updated | Outcome::Gone))
            .map(|(account, _)| *account)
            .filter(|account| {
                self.state
                    .instances
                    .iter()
                    .any(|one| one.account == *account)
            })
            .collect();
        for account in &back {
            self.due
                .insert(*account, format!("back to {}", rollout.from));
        }
        let mut estimate = self.operation(back.len() as u64, CHANGE, self.settings.concurrency);
        estimate.aws_calls += back.len() as u64;
        let reason = format!(
            "{} accounts that got version {}, or were about to, get {} back",
            back.len(),
            rollout.to,
            rollout.from
        );
        let members = back.len();
        if !back.is_empty() {
            let action = RolloutAction::Revert {
                profile: rollout.profile.clone(),
                to: rollout.from.clone(),
            };
            self.push(&action, back, reason, Risk::Medium, estimate);
            if let Some(step) = self.plan.steps.last_mut() {
                step.changes.clone_from(&self.observed.changes);
            }
        }
        if self.settings.reads_accounts && !reset.members.is_empty() {
            let action = RolloutAction::CheckRevert {
                profile: rollout.profile.clone(),
            };
            let reason = format!("see in IAM that they have version {}", rollout.from);
            let estimate = self.look(members);
            self.push(&action, Vec::new(), reason, Risk::Low, estimate);
        }
    }

    fn unstage(&mut self, rollout: &Rollout) {
        let action = RolloutAction::Unstage {
            profile: rollout.profile.clone(),
            version: rollout.to.clone(),
            kept_parameters: self.difference.kept_parameters.clone(),
        };
        let reason = format!(
            "version {} leaves the template; all accounts have {}",
            rollout.to, rollout.from
        );
        let accounts = self.state.instances.len() as u64;
        let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
    }

    fn all_eligible(&self) -> BTreeSet<AwsAccountId> {
        self.eligible.keys().copied().collect()
    }

    fn selected(
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

    /// Whether nothing may be changed now; says so.
    fn is_closed(&mut self) -> bool {
        let window = self.observed.window;
        if !window.is_open {
            let until = window.opens_at.map(self.settings.moment);
            self.wait(match until {
                Some(until) => format!("the change window opens at {until}"),
                None => "the change window never opens".to_owned(),
            });
        }
        !window.is_open
    }

    fn wait(&mut self, why: String) {
        if self.waits.is_none() {
            self.find("rollout-waits", Severity::Info, why.clone());
            self.waits = Some(why);
        }
    }

    fn find(&mut self, reason: &str, severity: Severity, message: String) {
        self.plan.findings.push(Finding {
            id: format!("{reason}:{}", self.profile.name),
            severity,
            reason: reason.to_owned(),
            message,
            ..Finding::default()
        });
    }

    fn refuse(&mut self, guard: &str, message: String) {
        self.plan.refusals.push(Refusal {
            guard: guard.to_owned(),
            message,
            whole_plan: true,
        });
    }

    /// An operation on so many accounts.
    fn operation(&self, accounts: u64, each: u64, concurrency: u32) -> Estimate {
        let seconds = accounts.div_ceil(u64::from(concurrency.max(1))) * each;
        Estimate {
            aws_calls: 1 + seconds / 20 + 2 * accounts.div_ceil(100),
            spot_calls: 0,
            seconds,
        }
    }

    fn look(&self, accounts: usize) -> Estimate {
        if !self.settings.reads_accounts {
            return Estimate::default();
        }
        Estimate {
            aws_calls: CALLS_PER_LOOK * accounts as u64,
            spot_calls: 0,
            seconds: 1 + accounts as u64 / 100,
        }
    }

    /// Adds a step, which builds on the one before.
    fn push(
        &mut self,
        action: &RolloutAction,
        accounts: Vec<AwsAccountId>,
        reason: String,
        risk: Risk,
        estimate: Estimate,
    ) {
        let profile = &self.profile.name;
        let id = match action {
            RolloutAction::UpdateWave { wave, .. } | RolloutAction::CheckWave { wave, .. } => {
                format!("{}:{profile}:{wave}", action.name())
            }
            _ => format!("{}:{profile}", action.name()),
        };
        let before = self.plan.steps.last();
        let preconditions = before.map(|before| format!("step:{}", before.id));
        let order = before.map_or(10, |before| before.order + 10);
        self.plan.steps.push(Step {
            id,
            kind: KIND.to_owned(),
            action: action.name().to_owned(),
            accounts,
            reason,
            risk,
            order,
            preconditions: preconditions.into_iter().collect(),
            changes: Vec::new(),
            estimate,
            // Our payloads are plain data with text keys, which JSON can always carry.
            payload: serde_json::to_value(action).unwrap_or_default(),
        });
    }
}
