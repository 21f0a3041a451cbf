//! What an operation is, how it stands and how it ended, read from AWS's words.

use aws_sdk_cloudformation::types::StackSetOperationStatusDetails;
use onboarding_core::ids::{AwsAccountId, OuId, Region};

/// What became of a request that starts an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// It runs or queues, under our id.
    Started {
        /// The operation's id.
        operation_id: String,
    },
    /// It had been started before, by an earlier attempt with the same id of ours.
    Adopted {
        /// The operation's id.
        operation_id: String,
    },
    /// Nothing was started: another operation is running on the stack set, and the two may not run together.
    Busy {
        /// The running operation, as AWS names it in the refusal.
        operation_id: Option<String>,
    },
}

/// How an operation stands (CloudFormation API reference, StackSetOperation `Status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationStatus {
    /// Waits for others.
    Queued,
    /// In progress.
    Running,
    /// Told to stop; what had started is being finished.
    Stopping,
    /// Over: the failure tolerance was not exceeded. Not the same as success.
    Succeeded,
    /// Over: the failure tolerance was exceeded.
    Failed,
    /// Over: stopped.
    Stopped,
    /// A value that we do not know, or none.
    Unknown,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationAction {
    /// Creates instances.
    Create,
    /// Updates instances.
    Update,
    /// Deletes instances.
    Delete,
    /// Looks for drift.
    DetectDrift,
    /// A value that we do not know, or none.
    Unknown,
}

/// A stack set operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What it does.
    pub action: OperationAction,
    /// How it stands.
    pub status: OperationStatus,
    /// Why, in AWS's words.
    pub status_reason: Option<String>,
    /// How many instances failed, when AWS says so.
    pub failed_instances: Option<u32>,
    /// When it was submitted, in Unix seconds.
    pub created_at: Option<i64>,
    /// When it ended, in Unix seconds.
    pub ended_at: Option<i64>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationOutcome {
    /// Its last status.
    pub status: OperationStatus,
    /// How many instances failed; none when AWS does not say, and then only the result rows tell.
    pub failed_instances: Option<u32>,
}

impl OperationOutcome {
    /// Whether nothing failed, as far as the operation itself tells.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.status == OperationStatus::Succeeded && self.failed_instances == Some(0)
    }
}

impl Operation {
    /// Whether it waits, runs, or is being stopped.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(
            self.status,
            OperationStatus::Queued | OperationStatus::Running | OperationStatus::Stopping
        )
    }

    /// How it ended; none while it is not over.
    #[must_use]
    pub fn outcome(&self) -> Option<OperationOutcome> {
        matches!(
            self.status,
            OperationStatus::Succeeded | OperationStatus::Failed | OperationStatus::Stopped
        )
        .then_some(OperationOutcome {
            status: self.status,
            failed_instances: self.failed_instances,
        })
    }
}

/// How an operation stands in one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultStatus {
    /// Not started.
    Pending,
    /// In progress.
    Running,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Not done: the operation was stopped or its failure tolerance exceeded.
    Cancelled,
    /// A value that we do not know, or none.
    Unknown,
}

/// The result of an operation in one account and Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationResult {
    /// The account.
    pub account: AwsAccountId,
    /// The Region.
    pub region: Region,
    /// How it stands.
    pub status: ResultStatus,
    /// Why, in AWS's words.
    pub reason: Option<String>,
    /// The targeted root or unit.
    pub targeted_ou: Option<OuId>,
}

pub(super) fn failed(details: Option<&StackSetOperationStatusDetails>) -> Option<u32> {
    u32::try_from(details?.failed_stack_instances_count()?).ok()
}

pub(super) fn status(text: Option<&str>) -> OperationStatus {
    match text {
        Some("QUEUED") => OperationStatus::Queued,
        Some("RUNNING") => OperationStatus::Running,
        Some("STOPPING") => OperationStatus::Stopping,
        Some("SUCCEEDED") => OperationStatus::Succeeded,
        Some("FAILED") => OperationStatus::Failed,
        Some("STOPPED") => OperationStatus::Stopped,
        _ => OperationStatus::Unknown,
    }
}

pub(super) fn action(text: Option<&str>) -> OperationAction {
    match text {
        Some("CREATE") => OperationAction::Create,
        Some("UPDATE") => OperationAction::Update,
        Some("DELETE") => OperationAction::Delete,
        Some("DETECT_DRIFT") => OperationAction::DetectDrift,
        _ => OperationAction::Unknown,
    }
}

pub(super) fn result_status(text: Option<&str>) -> ResultStatus {
    match text {
        Some("PENDING") => ResultStatus::Pending,
        Some("RUNNING") => ResultStatus::Running,
        Some("SUCCEEDED") => ResultStatus::Succeeded,
        Some("FAILED") => ResultStatus::Failed,
        Some("CANCELLED") => ResultStatus::Cancelled,
        _ => ResultStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn succeeded_is_clean_only_when_aws_says_that_nothing_failed() {
        for (status, failed_instances, clean) in [
            (OperationStatus::Succeeded, Some(0), true),
            (OperationStatus::Succeeded, Some(60), false),
            (OperationStatus::Succeeded, None, false),
            (OperationStatus::Stopped, Some(0), false),
        ] {
            let outcome = OperationOutcome {
                status,
                failed_instances,
            };
            assert_eq!(outcome.is_clean(), clean, "{outcome:?}");
        }
    }
}
