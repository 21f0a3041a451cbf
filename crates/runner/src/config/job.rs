//! `jobs/*.toml`: what runs, when, and how it behaves when things go wrong.
//!
//! A job file is read twice, first for its `kind` and then with the parameters of that kind, so that every error has
//! its line.

use std::collections::BTreeSet;

use onboarding_core::{
    events::EventKind, orphan_cleanup::CleanupAction, policy_rollout::RolloutAction,
    stackset_sync::SyncAction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    drift_audit::DriftAuditParams,
    duration::{self, HumanDuration},
    enroll::EnrollParams,
    events::WakeOn,
    external::ExternalJob,
    orphan_cleanup::OrphanCleanupParams,
    policy_rollout::PolicyRolloutParams,
    retry::RetryConfig,
    schedule::Schedule,
    text::Text,
};

/// A job, read from `jobs/<name>.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFile {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// When it runs by itself; never without one.
    pub schedule: Option<Schedule>,
    /// The events of AWS that wake it.
    pub wake_on: BTreeSet<EventKind>,
    /// What happens when it is due while it still runs.
    pub overlap: Overlap,
    /// How long the runner's own work may take. Waiting for AWS is not counted.
    pub timeout: HumanDuration,
    /// How long one operation of AWS may take.
    pub operation_timeout: HumanDuration,
    /// Whether a person must approve the plan.
    pub approval: Approval,
    /// How long a plan that was made can be approved and applied.
    pub plan_lifetime: HumanDuration,
    /// Whether the schedule is in force, and events wake it. A disabled job can still be run by hand.
    pub enabled: bool,
    /// How many of its steps go side by side at most, where the file says it.
    pub concurrency: Option<u32>,
    /// How a step is tried again.
    pub retry: RetryConfig,
    /// What it does, with the parameters of that kind.
    pub params: JobParams,
}

impl JobFile {
    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        match &self.params {
            JobParams::StacksetSync(_) => JobKind::StacksetSync.name(),
            JobParams::DriftAudit(_) => JobKind::DriftAudit.name(),
            JobParams::Enroll(_) => JobKind::Enroll.name(),
            JobParams::OrphanCleanup(_) => JobKind::OrphanCleanup.name(),
            JobParams::PolicyRollout(_) => JobKind::PolicyRollout.name(),
            JobParams::External(job) => &job.kind,
        }
    }
}

impl JobParams {
    /// The profiles that it is about, by name; all when empty.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        match self {
            Self::StacksetSync(params) => &params.profiles,
            Self::DriftAudit(params) => &params.profiles,
            Self::Enroll(params) => &params.profiles,
            // What one profile does not target, another may.
            Self::OrphanCleanup(_) => &[],
            Self::PolicyRollout(params) => params.profile.as_slice(),
            Self::External(job) => &job.params.profiles,
        }
    }
}

/// What a job does, of what is built in. Any other kind is a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Brings stack sets, stack instances and Spot accounts in line with the profiles.
    StacksetSync,
    /// Compares what is with what should be, and changes nothing unless it is asked to.
    DriftAudit,
    /// Brings every targeted account to enrolled, whatever it lacks.
    Enroll,
    /// Deletes Spot accounts that nobody needs any more.
    OrphanCleanup,
    /// Rolls a version of a profile's policies out, in waves.
    PolicyRollout,
}

impl JobKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::StacksetSync,
        Self::DriftAudit,
        Self::Enroll,
        Self::OrphanCleanup,
        Self::PolicyRollout,
    ];

    /// Its name in job files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StacksetSync => "stackset-sync",
            Self::DriftAudit => "drift-audit",
            Self::Enroll => "enroll",
            Self::OrphanCleanup => "orphan-cleanup",
            Self::PolicyRollout => "policy-rollout",
        }
    }

    /// What it does, for people.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::StacksetSync => {
                "brings stack sets, stack instances and Spot accounts in line with the profiles"
            }
            Self::DriftAudit => {
                "compares every account with what it should be, in IAM too, and changes nothing unless asked to fix"
            }
            Self::Enroll => "brings every targeted account to enrolled, whatever it lacks",
            Self::OrphanCleanup => {
                "deletes Spot accounts whose AWS account is gone, within limits, and keeps what is needed to make them again"
            }
            Self::PolicyRollout => {
                "rolls a version of a profile's policies out in waves, with gates between them, and goes back"
            }
        }
    }

    /// Whether steps of its jobs change stack sets, so that what stack sets tell meanwhile is their doing. An audit has steps only
    /// where it is asked to fix something.
    #[must_use]
    pub fn changes_stack_sets(self) -> bool {
        match self {
            Self::StacksetSync
            | Self::DriftAudit
            | Self::Enroll
            | Self::OrphanCleanup
            | Self::PolicyRollout => true,
        }
    }

    /// What its steps can do.
    #[must_use]
    pub fn actions(self) -> Vec<&'static str> {
        match self {
            Self::StacksetSync | Self::DriftAudit | Self::Enroll => SyncAction::NAMES.to_vec(),
            Self::OrphanCleanup => [&SyncAction::NAMES[..], &CleanupAction::NAMES].concat(),
            Self::PolicyRollout => [&SyncAction::NAMES[..], &RolloutAction::NAMES].concat(),
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The parameters of a job, by its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum JobParams {
    /// Those of `stackset-sync`.
    StacksetSync(StacksetSyncParams),
    /// Those of `drift-audit`.
    DriftAudit(DriftAuditParams),
    /// Those of `enroll`.
    Enroll(EnrollParams),
    /// Those of `orphan-cleanup`.
    OrphanCleanup(OrphanCleanupParams),
    /// Those of `policy-rollout`.
    PolicyRollout(PolicyRolloutParams),
    /// Those of a plugin, with the plugin.
    External(Box<ExternalJob>),
}

/// Parameters of a kind `stackset-sync` job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StacksetSyncParams {
    /// The profiles that it syncs, by name; all when empty.
    pub profiles: Vec<String>,
}

/// A job file as it is written, with the parameters of its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Job")]
pub(super) struct WrittenJob<P: Default> {
    /// What the job does.
    pub(super) kind: String,
    /// When it runs by itself; without one it runs only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<Schedule>,
    /// The events of AWS that wake it, beside its schedule; `[]` for none. Without it, all of them wake jobs of the kinds `stackset-sync`
    /// and `enroll`, and none wake others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wake_on: Option<Vec<WakeOn>>,
    /// What happens when it is due while it still runs.
    #[serde(default)]
    pub(super) overlap: Overlap,
    /// How long the runner's own work may take. Waiting for an operation of AWS is not counted.
    #[serde(default = "timeout")]
    pub(super) timeout: Text<HumanDuration>,
    /// How long one operation of AWS may take before the run gives up waiting for it.
    #[serde(default = "operation_timeout")]
    pub(super) operation_timeout: Text<HumanDuration>,
    /// Whether a person must approve the plan before it is applied. `--set` cannot change it.
    #[serde(default)]
    pub(super) approval: Approval,
    /// How long a plan that was made can be approved and applied.
    #[serde(default = "plan_lifetime")]
    pub(super) plan_lifetime: Text<HumanDuration>,
    /// Whether the schedule is in force, and events wake it. A disabled job can still be run by hand.
    #[serde(default = "enabled")]
    pub(super) enabled: bool,
    /// How many of its steps go side by side at most. Without it 8; with `enrollment.provider = "direct"`, where each account is a
    /// step, as many as accounts of an operation elsewhere, and never more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub(super) concurrency: Option<u32>,
    /// How a step is tried again when AWS or Spot fails or throttles.
    #[serde(default)]
    pub(super) retry: RetryConfig,
    /// Parameters of its kind.
    #[serde(default)]
    pub(super) params: P,
}

fn timeout() -> Text<HumanDuration> {
    duration::seconds(3600)
}

fn operation_timeout() -> Text<HumanDuration> {
    duration::seconds(24 * 3600)
}

fn plan_lifetime() -> Text<HumanDuration> {
    duration::seconds(24 * 3600)
}

fn enabled() -> bool {
    true
}

impl<P: Default> WrittenJob<P> {
    /// The job under its name.
    pub(super) fn named(self, name: &str, params: impl FnOnce(P) -> JobParams) -> JobFile {
        let mut job = JobFile {
            name: name.to_owned(),
            schedule: self.schedule,
            wake_on: BTreeSet::new(),
            overlap: self.overlap,
            timeout: self.timeout.0,
            operation_timeout: self.operation_timeout.0,
            approval: self.approval,
            plan_lifetime: self.plan_lifetime.0,
            enabled: self.enabled,
            concurrency: self.concurrency,
            retry: self.retry,
            params: params(self.params),
        };
        job.wake_on = match self.wake_on {
            Some(wake_on) => wake_on.into_iter().map(EventKind::from).collect(),
            None => job.params.wakes_on().iter().copied().collect(),
        };
        job
    }
}

/// What happens when a job is due while it still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// This time is left out.
    #[default]
    Skip,
    /// It runs afterwards.
    Queue,
    /// The running one is stopped first.
    Replace,
}

/// Whether a person must approve a plan before it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// No.
    #[default]
    Never,
    /// Yes.
    Required,
}
