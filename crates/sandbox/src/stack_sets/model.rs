//! Stack sets, instances and operations as data. A set can hold 100,000 instances and an operation as
//! many rows, so both are small.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::preferences::Preferences;
use super::targets::Targets;
use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::organizations::OuIndex;
use crate::stacks::{Generation, StackKey};
use crate::template::ParameterValues;

/// A stack set, by its position in [`StackSets`](super::StackSets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetKey(pub(crate) u32);

/// A Region, by its position in [`StackSet::regions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RegionIndex(pub(crate) u16);

/// An instance is one account in one Region.
pub(crate) type InstanceKey = (AccountId, RegionIndex);

/// A row of an operation that waits for a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstanceTask {
    pub(crate) set: SetKey,
    pub(crate) operation: u32,
    pub(crate) row: u32,
}

/// `AutoDeployment` of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AutoDeployment {
    pub(crate) enabled: bool,
    pub(crate) retain: bool,
    pub(crate) depends_on: Vec<String>,
}

/// A stack set.
#[derive(Debug)]
pub(crate) struct StackSet {
    pub(crate) name: String,
    pub(crate) uuid: String,
    /// The Region that the set lives in.
    pub(crate) home: Arc<str>,
    /// The management account (or, for self-managed sets, the creator).
    pub(crate) owner: AccountId,
    pub(crate) active: bool,
    pub(crate) description: Option<String>,
    pub(crate) generation: Generation,
    pub(crate) service_managed: bool,
    pub(crate) auto_deployment: Option<AutoDeployment>,
    pub(crate) managed_execution: bool,
    pub(crate) administration_role: Option<String>,
    pub(crate) execution_role: Arc<str>,
    pub(crate) client_token: Option<String>,
    pub(crate) regions: Vec<Arc<str>>,
    pub(crate) instances: BTreeMap<InstanceKey, Instance>,
    /// Units (and the root) that were deployed to, with their Regions: what auto-deployment follows.
    pub(crate) deployed: BTreeMap<OuIndex, Vec<RegionIndex>>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) operation_ids: HashMap<String, u32>,
    pub(crate) running: Vec<u32>,
    pub(crate) queue: VecDeque<u32>,
    /// The last completed drift detection.
    pub(crate) drift: Option<SetDrift>,
}

/// What a drift detection of a set came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetDrift {
    /// When it ended.
    pub(crate) at: SimTime,
    /// Instances that it looked at.
    pub(crate) total: usize,
    /// Of those, instances with a stack that is not as its template says.
    pub(crate) drifted: usize,
}

impl SetDrift {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        if self.drifted > 0 {
            "DRIFTED"
        } else {
            "IN_SYNC"
        }
    }
}

impl StackSet {
    /// `<name>:<uuid>`.
    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.name, self.uuid)
    }

    /// The set's ARN.
    pub(crate) fn arn(&self) -> String {
        format!(
            "arn:aws:cloudformation:{}:{}:stackset/{}",
            self.home,
            self.owner,
            self.id()
        )
    }

    /// The index of a Region, new ones added.
    pub(crate) fn region(&mut self, name: &str) -> RegionIndex {
        let position = self.regions.iter().position(|region| &**region == name);
        let position = position.unwrap_or_else(|| {
            self.regions.push(name.into());
            self.regions.len() - 1
        });
        RegionIndex(u16::try_from(position).unwrap_or(u16::MAX))
    }

    /// The index of a Region that the set knows.
    pub(crate) fn known_region(&self, name: &str) -> Option<RegionIndex> {
        let position = self.regions.iter().position(|region| &**region == name)?;
        u16::try_from(position).ok().map(RegionIndex)
    }

    /// The name of a Region.
    pub(crate) fn region_name(&self, region: RegionIndex) -> &Arc<str> {
        &self.regions[usize::from(region.0)]
    }

    /// Whether an operation runs or waits.
    pub(crate) fn busy(&self) -> Option<u32> {
        self.running.first().or(self.queue.front()).copied()
    }
}

/// `StackInstance.Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstanceStatus {
    Current,
    Outdated,
    Inoperable,
}

impl InstanceStatus {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "CURRENT",
            Self::Outdated => "OUTDATED",
            Self::Inoperable => "INOPERABLE",
        }
    }
}

/// `StackInstanceStatus.DetailedStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetailedStatus {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Inoperable,
    SkippedSuspendedAccount,
}

impl DetailedStatus {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Inoperable => "INOPERABLE",
            Self::SkippedSuspendedAccount => "SKIPPED_SUSPENDED_ACCOUNT",
        }
    }
}

/// A stack instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) stack: Option<StackKey>,
    pub(crate) status: InstanceStatus,
    pub(crate) detailed: DetailedStatus,
    /// A running operation has a row for it.
    pub(crate) busy: bool,
    /// The unit through which it was targeted.
    pub(crate) unit: Option<OuIndex>,
    pub(crate) last_operation: u32,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) overrides: Option<Arc<ParameterValues>>,
    /// The last drift detection: when, and whether it found anything.
    pub(crate) drift: Option<(SimTime, bool)>,
}

/// `StackSetOperation.Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationAction {
    Create,
    Update,
    Delete,
    DetectDrift,
}

impl OperationAction {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::DetectDrift => "DETECT_DRIFT",
        }
    }
}

/// `StackSetOperation.Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationStatus {
    Queued,
    Running,
    Stopping,
    Stopped,
    Succeeded,
    Failed,
}

impl OperationStatus {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// `StackSetOperationResultSummary.Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowStatus {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl RowStatus {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// One target of an operation.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) account: AccountId,
    pub(crate) region: RegionIndex,
    pub(crate) status: RowStatus,
    /// What listings show until `changed` is old enough.
    pub(crate) before: RowStatus,
    pub(crate) changed: SimTime,
    pub(crate) unit: Option<OuIndex>,
    pub(crate) reason: Option<Arc<str>>,
}

/// The progress of an operation in one Region; its rows are adjacent.
#[derive(Debug)]
pub(crate) struct RegionRun {
    pub(crate) next: usize,
    pub(crate) end: usize,
    pub(crate) targets: usize,
    pub(crate) running: usize,
    pub(crate) failures: usize,
}

/// Changes of parameter overrides that an operation brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overrides {
    /// As they are.
    #[default]
    Keep,
    /// Exactly these; keys in the second list keep their present override.
    Set(ParameterValues, Vec<String>),
}

/// A stack set operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) action: OperationAction,
    pub(crate) status: OperationStatus,
    pub(crate) reason: Option<String>,
    /// Statuses with the time since when, for listings that lag.
    pub(crate) history: Vec<(SimTime, OperationStatus)>,
    pub(crate) created: SimTime,
    pub(crate) ended: Option<SimTime>,
    pub(crate) preferences: Preferences,
    /// For deletions: the stacks stay.
    pub(crate) retain: Option<bool>,
    pub(crate) targets: Targets,
    /// Regions asked for; all that the set uses when empty.
    pub(crate) target_regions: Vec<RegionIndex>,
    pub(crate) overrides: Overrides,
    /// An UpdateStackSet: all instances unless it names targets.
    pub(crate) whole_set: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) region_runs: Vec<RegionRun>,
    pub(crate) failed: usize,
}

impl Operation {
    /// Whether it has ended.
    pub(crate) fn over(&self) -> bool {
        self.ended.is_some()
    }

    /// Gives it a status.
    pub(crate) fn set_status(&mut self, now: SimTime, status: OperationStatus) {
        self.status = status;
        self.history.push((now, status));
        if matches!(
            status,
            OperationStatus::Stopped | OperationStatus::Succeeded | OperationStatus::Failed
        ) {
            self.ended = Some(now);
        }
    }
}
