//! CloudFormation's errors, with AWS's codes, statuses and texts.

use crate::template::TemplateError;
use crate::wire::errors::AwsError;

impl From<TemplateError> for AwsError {
    fn from(error: TemplateError) -> Self {
        Self::validation(error.0)
    }
}

/// `StackSetNotFoundException`/404.
pub(crate) fn stack_set_not_found(name: &str) -> AwsError {
    AwsError::new(
        404,
        "StackSetNotFoundException",
        format!("StackSet {name} not found"),
    )
}

/// `StackSetNotEmptyException`/409.
pub(crate) fn stack_set_not_empty() -> AwsError {
    AwsError::new(409, "StackSetNotEmptyException", "StackSet is not empty")
}

/// `NameAlreadyExistsException`/409.
pub(crate) fn name_already_exists(name: &str) -> AwsError {
    AwsError::new(
        409,
        "NameAlreadyExistsException",
        format!("StackSet {name} already exists with different parameters"),
    )
}

/// `StackInstanceNotFoundException`/404.
pub(crate) fn stack_instance_not_found(set: &str, account: &str, region: &str) -> AwsError {
    AwsError::new(
        404,
        "StackInstanceNotFoundException",
        format!(
            "Stack instance for StackSet {set} in account {account} and region {region} not found"
        ),
    )
}

/// `OperationNotFoundException`/404.
pub(crate) fn operation_not_found(id: &str) -> AwsError {
    AwsError::new(
        404,
        "OperationNotFoundException",
        format!("Operation {id} not found"),
    )
}

/// `OperationInProgressException`/409; the running operation's id is the last word.
pub(crate) fn operation_in_progress(arn: &str, id: &str) -> AwsError {
    AwsError::new(
        409,
        "OperationInProgressException",
        format!("Another Operation on StackSet {arn} is in progress: {id}"),
    )
}

/// `OperationIdAlreadyExistsException`/409.
pub(crate) fn operation_id_already_exists(id: &str) -> AwsError {
    AwsError::new(
        409,
        "OperationIdAlreadyExistsException",
        format!("Operation with id {id} already exists"),
    )
}

/// `InvalidOperationException`/400.
pub(crate) fn invalid_operation(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidOperationException", message)
}

/// `LimitExceededException`/400.
pub(crate) fn limit_exceeded(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "LimitExceededException", message)
}

/// `InsufficientCapabilitiesException`/400.
pub(crate) fn insufficient_capabilities(needed: &str) -> AwsError {
    AwsError::new(
        400,
        "InsufficientCapabilitiesException",
        format!("Requires capabilities : [{needed}]"),
    )
}

/// A stack that does not exist, as DescribeStacks says it.
pub(crate) fn stack_with_id_does_not_exist(name: &str) -> AwsError {
    AwsError::validation(format!("Stack with id {name} does not exist"))
}

/// A stack that does not exist, as DescribeStackEvents says it.
pub(crate) fn stack_does_not_exist(name: &str) -> AwsError {
    AwsError::validation(format!("Stack [{name}] does not exist"))
}

/// `ChangeSetNotFound`/404.
pub(crate) fn change_set_not_found(name: &str) -> AwsError {
    AwsError::new(
        404,
        "ChangeSetNotFound",
        format!("ChangeSet [{name}] does not exist"),
    )
}

/// `InvalidChangeSetStatus`/400.
pub(crate) fn invalid_change_set_status(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidChangeSetStatus", message)
}
