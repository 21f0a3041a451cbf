//! What an aggregator of AWS Config tells: where it has its data from, and IAM's roles and managed policies as AWS Config captured
//! them last.

use std::collections::BTreeMap;

use super::{LiveRole, PolicyReading};
use crate::ids::{AwsAccountId, Region};

/// Where an aggregator has data from, and how that went the last time (AWS Config API reference, AggregatedSourceStatus).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatedSource {
    /// The account; none for the organization as a whole.
    pub account: Option<AwsAccountId>,
    /// The Region in which AWS Config recorded it.
    pub region: Region,
    /// How it went.
    pub status: SourceStatus,
    /// Of when this status is, in Unix seconds. AWS does not say that all that was recorded until then was collected.
    pub updated: Option<i64>,
    /// What went wrong, in AWS's words.
    pub error: Option<String>,
}

/// How collecting from a source went (AWS Config API reference, AggregatedSourceStatus, LastUpdateStatus).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceStatus {
    /// The data was moved.
    Succeeded,
    /// The data is not the most recent.
    Outdated,
    /// The data could not be moved, or AWS says something that we do not know.
    Failed,
}

/// The recorder of an account in a Region, as the aggregator has it (AWS Config resource schema,
/// AWS::Config::ConfigurationRecorder).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorder {
    /// Whose it is.
    pub account: AwsAccountId,
    /// Where it records.
    pub region: Region,
    /// Whether it does.
    pub state: RecorderState,
    /// Whether it is that of a service of AWS, which records what that service needs, whatever the account's own does.
    pub is_of_service: bool,
}

/// Whether a recorder records, from what tells least of it to what tells most against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecorderState {
    /// It is not there any more.
    Deleted,
    /// It records.
    Running,
    /// It was stopped: what it saw last stays as it is.
    Stopped,
}

/// A role as AWS Config captured it last. It does not tell when the role was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRole {
    /// When it was captured, in Unix seconds: it may have been changed since.
    pub captured: i64,
    /// The role itself.
    pub role: LiveRole,
    /// The managed policies that are attached to it: name by ARN.
    pub attached: BTreeMap<String, String>,
    /// Its inline policies: each document as JSON text, by the policy's name.
    pub inline: BTreeMap<String, String>,
}

/// A managed policy of an account's own as AWS Config captured it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPolicy {
    /// When it was captured, in Unix seconds.
    pub captured: i64,
    /// Its ARN.
    pub arn: String,
    /// Its default version.
    pub document: PolicyReading,
}
