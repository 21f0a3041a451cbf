//! Stack set operations: what became of a submission, how an operation stands, and its result per account.
//!
//! `SUCCEEDED` only says that the failure tolerance was not exceeded. With a tolerance of 100 % every account may have
//! failed: read [`OperationOutcome::failed_instances`] and the result rows.

mod state;

use std::time::Duration;

use onboarding_core::{ids::StackSetName, inventory::DETECTION_PREFIX};
pub use state::{
    Operation, OperationAction, OperationOutcome, OperationResult, OperationStatus, ResultStatus,
    Submission,
};
use state::{action, failed, result_status, status};

use super::OperationPreferences;
use crate::{Aws, AwsError, ErrorClass};

/// A drift detection of a stack set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftDetection {
    /// The stack set.
    pub stack_set: StackSetName,
    /// How the operation goes through its instances.
    pub preferences: OperationPreferences,
    /// The operation's id, from [`new_detection_id`].
    pub operation_id: String,
}

/// A new id for an operation. Journal it, then use it: AWS runs one id once.
#[must_use]
pub fn new_operation_id() -> String {
    format!("{OUR_PREFIX}{}", uuid::Uuid::new_v4())
}

/// A new id for a drift detection. What only looks at stacks is told from what changes them by it.
#[must_use]
pub fn new_detection_id() -> String {
    format!("{DETECTION_PREFIX}{}", uuid::Uuid::new_v4())
}

/// Whether this program started an operation, in this run or another: by its id.
#[must_use]
pub fn is_ours(operation_id: &str) -> bool {
    operation_id.starts_with(OUR_PREFIX)
}

const OUR_PREFIX: &str = "spot-onboarding-";

/// How long to wait before looking at an operation again, that has been going on for so long: short at first, a tenth of
/// the elapsed time later, at most 20 s.
#[must_use]
pub fn next_poll_delay(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(Duration::from_millis(250), Duration::from_secs(20))
}

impl Aws {
    /// An operation of a stack set.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such operation or stack set.
    pub async fn describe_operation(
        &self,
        stack_set: &StackSetName,
        operation_id: &str,
    ) -> Result<Operation, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeStackSetOperation";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .describe_stack_set_operation()
                    .stack_set_name(stack_set.as_str())
                    .operation_id(operation_id)
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await?;
        let operation = output
            .stack_set_operation
            .ok_or_else(|| AwsError::malformed(OPERATION, "no operation"))?;
        Ok(Operation {
            action: action(operation.action().map(|action| action.as_str())),
            status: status(operation.status().map(|status| status.as_str())),
            failed_instances: failed(operation.status_details()),
            created_at: operation.creation_timestamp().map(|time| time.secs()),
            ended_at: operation.end_timestamp().map(|time| time.secs()),
            id: operation
                .operation_id
                .unwrap_or_else(|| operation_id.to_owned()),
            status_reason: operation.status_reason,
        })
    }

    /// The recent operations of a stack set, newest first: reading ends with the first page on which every operation is
    /// over. AWS keeps 90 days of them, answers the newest first without promising it (when it does not, all are read), and
    /// may be a moment behind.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such stack set.
    pub async fn recent_operations(
        &self,
        stack_set: &StackSetName,
    ) -> Result<Vec<Operation>, AwsError> {
        const OPERATION: &str = "cloudformation:ListStackSetOperations";
        let mut operations: Vec<Operation> = Vec::new();
        self.governed
            .pages(
                OPERATION,
                |token| {
                    self.clients
                        .cloudformation()
                        .list_stack_set_operations()
                        .stack_set_name(stack_set.as_str())
                        .max_results(100)
                        .set_next_token(token)
                        .call_as(self.call_as.to_sdk())
                        .send()
                },
                |output| {
                    let before = operations.len();
                    for summary in output.summaries.unwrap_or_default() {
                        operations.push(Operation {
                            action: action(summary.action().map(|action| action.as_str())),
                            status: status(summary.status().map(|status| status.as_str())),
                            failed_instances: failed(summary.status_details()),
                            created_at: summary.creation_timestamp().map(|time| time.secs()),
                            ended_at: summary.end_timestamp().map(|time| time.secs()),
                            id: summary.operation_id.ok_or_else(|| {
                                AwsError::malformed(OPERATION, "an operation without an id")
                            })?,
                            status_reason: summary.status_reason,
                        });
                    }
                    let page = &operations[before..];
                    let newest_first = operations.is_sorted_by(|newer, older| {
                        older.created_at.is_some() && newer.created_at >= older.created_at
                    });
                    let enough = newest_first
                        && !page.is_empty()
                        && !page.iter().any(Operation::is_under_way);
                    Ok(output.next_token.filter(|_| !enough))
                },
            )
            .await?;
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.created_at));
        Ok(operations)
    }

    /// Stops an operation: what has started is finished, the rest is cancelled.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when it is not running.
    pub async fn stop_operation(
        &self,
        stack_set: &StackSetName,
        operation_id: &str,
    ) -> Result<(), AwsError> {
        self.governed
            .call("cloudformation:StopStackSetOperation", || {
                self.clients
                    .cloudformation()
                    .stop_stack_set_operation()
                    .stack_set_name(stack_set.as_str())
                    .operation_id(operation_id)
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await?;
        Ok(())
    }

    /// The result rows of an operation so far, in AWS's order. AWS may be a moment behind.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such operation or stack set.
    pub async fn operation_results(
        &self,
        stack_set: &StackSetName,
        operation_id: &str,
    ) -> Result<Vec<OperationResult>, AwsError> {
        const OPERATION: &str = "cloudformation:ListStackSetOperationResults";
        let malformed = || AwsError::malformed(OPERATION, "a result without account or Region");
        let mut results = Vec::new();
        self.governed
            .pages(
                OPERATION,
                |token| {
                    self.clients
                        .cloudformation()
                        .list_stack_set_operation_results()
                        .stack_set_name(stack_set.as_str())
                        .operation_id(operation_id)
                        .max_results(100)
                        .set_next_token(token)
                        .call_as(self.call_as.to_sdk())
                        .send()
                },
                |output| {
                    for row in output.summaries.unwrap_or_default() {
                        results.push(OperationResult {
                            account: row
                                .account()
                                .and_then(|id| id.parse().ok())
                                .ok_or_else(malformed)?,
                            region: row
                                .region()
                                .and_then(|region| region.parse().ok())
                                .ok_or_else(malformed)?,
                            status: result_status(row.status().map(|status| status.as_str())),
                            targeted_ou: row
                                .organizational_unit_id()
                                .and_then(|id| id.parse().ok()),
                            reason: row.status_reason,
                        });
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(results)
    }

    /// Lets CloudFormation look for drift in all stacks of a stack set. Nothing is changed; other operations wait meanwhile.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such stack set.
    pub async fn detect_drift(&self, detection: &DriftDetection) -> Result<Submission, AwsError> {
        let answer = self
            .governed
            .call("cloudformation:DetectStackSetDrift", || {
                self.clients
                    .cloudformation()
                    .detect_stack_set_drift()
                    .stack_set_name(detection.stack_set.as_str())
                    .operation_preferences(detection.preferences.to_sdk())
                    .operation_id(&detection.operation_id)
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await
            .map(|output| output.operation_id);
        self.submitted(&detection.stack_set, &detection.operation_id, answer)
            .await
    }

    /// What the answer to a request that starts an operation means.
    pub(super) async fn submitted(
        &self,
        stack_set: &StackSetName,
        operation_id: &str,
        answer: Result<Option<String>, AwsError>,
    ) -> Result<Submission, AwsError> {
        match answer {
            Ok(id) => Ok(Submission::Started {
                operation_id: id.unwrap_or_else(|| operation_id.to_owned()),
            }),
            Err(error) if error.is_code("OperationInProgressException") => Ok(Submission::Busy {
                operation_id: running_operation(&error.message),
            }),
            // Something changed under us; the same advice: wait, look again, and ask with a new id.
            Err(error) if error.is_code("StaleRequestException") => {
                Ok(Submission::Busy { operation_id: None })
            }
            Err(error) if error.is_code("OperationIdAlreadyExistsException") => {
                match self.describe_operation(stack_set, operation_id).await {
                    Ok(operation) => Ok(Submission::Adopted {
                        operation_id: operation.id,
                    }),
                    // Not an operation of this stack set: the refusal stands.
                    Err(missing) if missing.class() == ErrorClass::NotFound => Err(error),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// The running operation's id in AWS's refusal: `Another Operation on StackSet <arn> is in progress: <operation id>`.
fn running_operation(message: &str) -> Option<String> {
    let (_, id) = message.rsplit_once("in progress:")?;
    let id = id.trim().trim_end_matches('.');
    let valid = (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    valid.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_operation_is_read_from_the_refusal() {
        let text = "Another Operation on StackSet arn:aws:cloudformation:us-east-1:111122223333:stackset/spot:aa-bb is in \
                    progress: 0f1e2d3c-1111-2222-3333-444455556666";
        assert_eq!(
            running_operation(text).as_deref(),
            Some("0f1e2d3c-1111-2222-3333-444455556666")
        );
        for other in [
            "Another operation is in progress",
            "in progress: a b",
            "in progress: ",
        ] {
            assert_eq!(running_operation(other), None, "{other}");
        }
    }

    #[test]
    fn polls_grow_with_the_elapsed_time() {
        assert_eq!(next_poll_delay(Duration::ZERO), Duration::from_millis(250));
        assert_eq!(
            next_poll_delay(Duration::from_secs(60)),
            Duration::from_secs(6)
        );
        assert_eq!(
            next_poll_delay(Duration::from_secs(3_600)),
            Duration::from_secs(20)
        );
    }

    #[test]
    fn operation_ids_have_the_form_that_cloudformation_takes() {
        let id = new_operation_id();
        for id in [id, new_detection_id()] {
            assert!(id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            assert!(is_ours(&id), "{id}");
        }
    }
}
