//! A stack set and its instances as CloudFormation describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AwsAccountId, OuId, Region, StackSetName};

/// Whether an instance is in sync with its stack set (CloudFormation API reference, StackInstanceSummary `Status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceStatus {
    /// In sync with the stack set's definition.
    Current,
    /// Not in sync: not made yet, failed, or the definition changed.
    Outdated,
    /// A deletion failed; excluded from updates until it is removed with its stack retained.
    Inoperable,
    /// A value that we do not know.
    Unknown,
}

/// The progress of the last operation on an instance (`StackInstanceStatus.DetailedStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceDetailedStatus {
    /// Accepted, not started; may also mean that the definition changed and nothing is going on.
    Pending,
    /// In progress.
    Running,
    /// Done.
    Succeeded,
    /// Failed; the reason is in `status_reason`.
    Failed,
    /// Not done because the operation stopped or its failure tolerance was exceeded.
    Cancelled,
    /// See [`InstanceStatus::Inoperable`].
    Inoperable,
    /// The account is suspended; AWS skips it.
    SkippedSuspendedAccount,
    /// An import failed.
    FailedImport,
    /// Absent, or a value that we do not know.
    Unknown,
}

/// How the ids of the drift detections begin that this program starts.
pub const DETECTION_PREFIX: &str = "spot-onboarding-drift-";

/// What CloudFormation's own drift detection says of a stack (CloudFormation API reference, StackInstanceSummary `DriftStatus`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DriftStatus {
    /// Some resource is not as its template says, as far as CloudFormation looks.
    Drifted,
    /// None is.
    InSync,
    /// Nobody has asked it yet.
    #[default]
    NotChecked,
    /// A value that we do not know.
    Unknown,
}

impl DriftStatus {
    /// As CloudFormation writes it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Drifted => "DRIFTED",
            Self::InSync => "IN_SYNC",
            Self::NotChecked => "NOT_CHECKED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The last verdict of CloudFormation's own drift detection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct StackDrift {
    /// What it said.
    pub status: DriftStatus,
    /// When it looked, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<i64>,
}

/// One stack instance (an account and Region of a stack set).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackInstance {
    /// The account that it is deployed to.
    pub account: AwsAccountId,
    /// The Region that it is deployed to.
    pub region: Region,
    /// Sync with the stack set.
    pub status: InstanceStatus,
    /// Progress of the last operation.
    pub detailed_status: InstanceDetailedStatus,
    /// Why it is not as it should be, in AWS's words.
    pub status_reason: Option<Box<str>>,
    /// The stack behind it. Absent when creation failed or the account is suspended.
    pub stack_id: Option<Box<str>>,
    /// The root or OU that was targeted (not the account's parent).
    pub targeted_ou: Option<OuId>,
    /// The operation that touched it last.
    pub last_operation_id: Option<Box<str>>,
    /// What CloudFormation's own drift detection said of it last.
    pub drift: StackDrift,
}

/// The definition of a stack set (`DescribeStackSet`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedStackSet {
    /// Its name.
    pub name: StackSetName,
    /// Its id (`name:uuid`).
    pub id: String,
    /// Its ARN.
    pub arn: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its template, as text.
    pub template_body: String,
    /// Its parameters. NoEcho values read back as `****`.
    pub parameters: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its capabilities, sorted.
    pub capabilities: Vec<String>,
    /// Whether it uses service-managed permissions (organization targets).
    pub service_managed: bool,
    /// Whether AWS deploys to accounts that join the targets by itself.
    pub auto_deployment: bool,
    /// Whether AWS keeps stacks of accounts that leave the targets.
    pub retain_stacks_on_account_removal: bool,
    /// Whether non-conflicting operations run together and others queue.
    pub managed_execution: bool,
    /// The OUs that it was deployed to.
    pub organizational_units: Vec<OuId>,
    /// When CloudFormation last completed a drift detection of it, in Unix seconds.
    pub drift_checked_at: Option<i64>,
}
