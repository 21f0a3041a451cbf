//! What a run of a rollout does: everything that is due now, and no more than that.

mod course;
mod ends;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use super::{Phase, Rollout, WaveSettings, eligible, rows};
use crate::{
    desired::{Desired, Profile},
    ids::AwsAccountId,
    inventory::StackInstance,
    plan::{Plan, Severity},
    stackset_sync::{
        self, ObservedProfile, PlanError, SyncObserved, definition, definition::Difference, targets,
    },
    status::Reason,
};

/// Seconds that CloudFormation takes to change one stack, and to find that nothing changes.
const CHANGE: u64 = 60;
const NO_CHANGE: u64 = 10;

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
    if plan.is_refused() {
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
            if self.selects_nobody(wave, &candidate.name)? {
                self.refuse_empty(wave);
            }
        }
        if self.is_closed() || !self.plan.refusals.is_empty() {
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
            Phase::Staging | Phase::Rolling
                if self.differs_otherwise(rollout) || self.lacks_a_wave(rollout) => {}
            Phase::Staging => {
                if !self.is_closed() {
                    self.stage(rollout);
                    self.waves(rollout)?;
                }
            }
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

    /// Whether the stack set should be something else beside what the rollout makes of it; says so. Until it is staged, the
    /// template is to differ.
    fn differs_otherwise(&mut self, rollout: &Rollout) -> bool {
        let is_staging = rollout.phase == Phase::Staging;
        let words = self.difference.words.iter();
        let words: Vec<&str> = words
            .map(String::as_str)
            .filter(|word| !is_staging || *word == "tags" || word.starts_with("parameter "))
            .collect();
        if !self.difference.definition || words.is_empty() {
            return false;
        }
        let message = format!(
            "stack set {} differs in {} since the rollout of version {} began, and updating it would reach all accounts: put the \
             configuration back until the rollout is over, or go back with `runner policy rollback {}`",
            self.profile.stack_set,
            words.join(", "),
            rollout.to,
            self.profile.name
        );
        self.refuse("definition-differs", message);
        true
    }
}
