//! A rollout as it is written down: it survives restarts, and says what was done to which account.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::AwsAccountId;

/// A rollout of one version of a profile's policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id: that of the run that began it.
    pub id: String,
    /// The profile.
    pub profile: String,
    /// The name of the version that accounts had: the last good one.
    pub from: String,
    /// The name of the version that they get.
    pub to: String,
    /// Where it is.
    pub phase: Phase,
    /// Why it was halted last, one reason each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halted: Vec<String>,
    /// The waves that have begun, in their order.
    #[serde(default)]
    pub waves: Vec<WaveProgress>,
    /// Waves that were drawn anew, for all their accounts had left or were moved: who comes back may still have an override.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<WaveProgress>,
    /// Taking the overrides of its accounts away again, once that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Sweep>,
    /// When it began, in Unix seconds.
    pub opened_at: i64,
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Both versions are being put into the template.
    Staging,
    /// Waves get the next version, one after the other.
    Rolling,
    /// A gate was not passed. Nothing is done until somebody decides.
    Halted,
    /// All waves have the next version, which becomes everybody's.
    Finishing,
    /// The accounts that have the next version get the good one back.
    RollingBack,
    /// They have it, and the next version leaves the template.
    Unstaging,
    /// It is over: everybody has the next version.
    Done,
    /// It is over: everybody has what they had.
    RolledBack,
}

impl Phase {
    /// The phase as text, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Rolling => "rolling",
            Self::Halted => "halted",
            Self::Finishing => "finishing",
            Self::RollingBack => "rolling-back",
            Self::Unstaging => "unstaging",
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Whether the template has both versions in it.
    #[must_use]
    pub fn is_staged(self) -> bool {
        matches!(
            self,
            Self::Staging | Self::Rolling | Self::Halted | Self::RollingBack
        )
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack)
    }
}

/// A wave that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveProgress {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: WaveState,
    /// Its accounts, and what became of them.
    pub sweep: Sweep,
    /// What differed in its accounts before it began, by the ids of findings.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub known: BTreeSet<String>,
    /// When its last account was updated, in Unix seconds: since then it soaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<i64>,
}

/// Where a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveState {
    /// Its accounts are being updated.
    Begun,
    /// They are updated, and its gates are not passed yet.
    Updated,
    /// Its gates are passed.
    Passed,
}

/// Accounts that one thing is done to, and what became of each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// The accounts.
    pub members: BTreeMap<AwsAccountId, Member>,
    /// Those that the operation under way was asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<AwsAccountId>,
    /// The operation under way, as soon as CloudFormation has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The run that tries those again that failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
}

/// What became of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in AWS's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stack that was updated, or that an operation was asked to update. An account whose stack is another one by now was
    /// moved, and has lost its override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Box<str>>,
}

/// What became of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing yet.
    #[default]
    Due,
    /// It is done.
    Updated,
    /// It went wrong.
    Failed,
    /// It was not reached: the operation was stopped before, by us or by its failure tolerance.
    Cancelled,
    /// It has no stack instance any more, or CloudFormation passed it by.
    Gone,
}

impl Rollout {
    /// One that begins.
    #[must_use]
    pub fn new(id: String, profile: &str, from: &str, to: &str, now: i64) -> Self {
        Self {
            id,
            profile: profile.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            phase: Phase::Staging,
            halted: Vec::new(),
            waves: Vec::new(),
            dropped: Vec::new(),
            reset: None,
            opened_at: now,
        }
    }

    /// The wave of this name, when it has begun.
    #[must_use]
    pub fn wave(&self, name: &str) -> Option<&WaveProgress> {
        self.waves.iter().find(|wave| wave.name == name)
    }

    /// The wave of this name, when it has begun.
    pub fn wave_mut(&mut self, name: &str) -> Option<&mut WaveProgress> {
        self.waves.iter_mut().find(|wave| wave.name == name)
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let Self {
            from, to, phase, ..
        } = self;
        let wave = self.waves.last().map(|wave| {
            let state = match wave.state {
                WaveState::Begun => "begun",
                WaveState::Updated => "updated",
                WaveState::Passed => "passed",
            };
            format!(", and its last wave, {:?}, is {state}", wave.name)
        });
        let wave = wave.unwrap_or_default();
        format!(
            "that of version {to} after {from} is {}{wave}",
            phase.code()
        )
    }

    /// Every account that has, or may have, an override: those of all waves that have begun, and the stacks that were updated.
    pub fn members(&self) -> impl Iterator<Item = (AwsAccountId, &Member)> {
        let waves = self.waves.iter().chain(&self.dropped);
        let members = waves.flat_map(|wave| &wave.sweep.members);
        members.map(|(account, member)| (*account, member))
    }

    /// Whether an account has the next version by an override, going by the stack that it has now.
    #[must_use]
    pub fn has_next(&self, account: AwsAccountId, stack: Option<&str>) -> bool {
        if !self.phase.is_staged() {
            return false;
        }
        let is_reset = self.reset.as_ref().is_some_and(|reset| {
            let member = reset.members.get(&account);
            member.is_some_and(|member| member.outcome == Outcome::Updated)
        });
        let mut waves = self.waves.iter();
        !is_reset
            && waves.any(|wave| {
                let done = wave.sweep.members.get(&account);
                done.is_some_and(|done| {
                    done.outcome == Outcome::Updated && done.stack.as_deref() == stack
                })
            })
    }

    /// Whether an operation that was asked for may be giving an account another version right now, so that nobody can say which
    /// one it should have.
    #[must_use]
    pub fn is_changing(&self, account: AwsAccountId) -> bool {
        let waves = self.waves.iter().map(|wave| &wave.sweep);
        let mut sweeps = waves.chain(&self.reset);
        self.phase.is_staged() && sweeps.any(|sweep| sweep.asked.contains(&account))
    }

    /// The operations that may be under way for it.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        let sweeps = self.waves.iter().map(|wave| &wave.sweep);
        let operations = sweeps.chain(&self.reset);
        operations.filter_map(|sweep| sweep.operation.as_deref())
    }

    /// Whether nobody else may update an account: it is of a wave that has begun, so that it may have an override.
    #[must_use]
    pub fn is_held(&self, account: AwsAccountId) -> bool {
        let mut waves = self.waves.iter();
        self.phase.is_staged() && waves.any(|wave| wave.sweep.members.contains_key(&account))
    }

    /// Halts it, for these reasons.
    pub fn halt(&mut self, reasons: Vec<String>) {
        self.phase = Phase::Halted;
        self.halted = reasons;
    }

    /// Lets a halted one go on: what failed is tried again, and the gates are asked again. Tells whether it was halted.
    pub fn resume(&mut self) -> bool {
        if self.phase != Phase::Halted {
            return false;
        }
        self.phase = Phase::Rolling;
        // One whose accounts have all left is drawn anew: it has tried nothing out.
        let is_over = |wave: &WaveProgress| {
            let mut members = wave.sweep.members.values();
            wave.state != WaveState::Passed && members.all(|member| member.outcome == Outcome::Gone)
        };
        let waves = std::mem::take(&mut self.waves).into_iter();
        let (over, waves) = waves.partition(is_over);
        self.waves = waves;
        self.dropped.extend::<Vec<_>>(over);
        for wave in self.waves.iter_mut() {
            if wave.state != WaveState::Passed && wave.sweep.retry() {
                wave.state = WaveState::Begun;
            }
        }
        true
    }

    /// Turns it back. Tells whether it can be: not when everybody is getting the next version already.
    pub fn roll_back(&mut self) -> bool {
        let can_be = matches!(
            self.phase,
            Phase::Staging | Phase::Rolling | Phase::Halted | Phase::RollingBack
        );
        if can_be && self.phase != Phase::RollingBack {
            self.phase = Phase::RollingBack;
            let members = self.members().map(|(account, _)| account);
            self.reset = Some(Sweep::over(members.collect::<Vec<_>>()));
        }
        can_be
    }
}

impl Sweep {
    /// One over these accounts.
    #[must_use]
    pub fn over(accounts: impl IntoIterator<Item = AwsAccountId>) -> Self {
        let members = accounts.into_iter();
        Self {
            members: members
                .map(|account| (account, Member::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// The accounts with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = AwsAccountId> {
        let members = self.members.iter();
        members
            .filter(move |(_, member)| member.outcome == outcome)
            .map(|(account, _)| *account)
    }

    /// Whether an operation may be under way for any.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty() || self.operation.is_some()
    }

    /// Forgets the operation, which is over.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
        self.operation = None;
    }

    /// How many went wrong, or were not reached.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.with(Outcome::Failed).count() + self.with(Outcome::Cancelled).count()
    }

    /// Lets those be tried again that failed or were not reached. Tells whether there are any, or any that are not done.
    pub fn retry(&mut self) -> bool {
        self.forget_asked();
        for member in self.members.values_mut() {
            if matches!(member.outcome, Outcome::Failed | Outcome::Cancelled) {
                *member = Member::default();
            }
        }
        self.with(Outcome::Due).next().is_some()
    }

    /// Writes down what became of those that were asked for: by the rows that the operation had for them, and what was known of
    /// them when it was asked for.
    pub fn settle(&mut self, mut of: impl FnMut(AwsAccountId, &Member) -> Member) {
        self.operation = None;
        for account in std::mem::take(&mut self.asked) {
            let member = self.members.entry(account).or_default();
            *member = of(account, member);
        }
    }
}
