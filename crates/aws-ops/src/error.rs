//! What went wrong with a call to AWS: the operation, the code, the message and the request id, and what that means.
//! SDK errors end here; their debug form contains raw answers and must not be seen.

mod classify;
mod sdk;

use std::time::Duration;

/// What an error means for who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Passes by itself; it was retried and outlasted the retries. The call may have taken effect.
    Transient,
    /// Too fast, for longer than we wait.
    Throttled,
    /// Our identity may not do this.
    Denied,
    /// The request is wrong and will stay wrong.
    Invalid,
    /// Something else is going on, or something changed under us; look again, then decide.
    Conflict,
    /// What was named does not exist.
    NotFound,
    /// A quota of the AWS account is used up. Waiting does not help.
    Quota,
    /// There are no credentials, or AWS does not accept them.
    Credentials,
    /// No connection could be made.
    Unreachable,
    /// An answer that AWS does not give: a proxy, an emulator, or a change that we do not know.
    Unexpected,
}

impl ErrorClass {
    /// The class as a word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Quota => "quota",
            Self::Credentials => "credentials",
            Self::Unreachable => "unreachable",
            Self::Unexpected => "unexpected",
        }
    }
}

/// A call to AWS that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed: {message}{}{}", tail(" (", code.as_deref(), ")"), tail(" [request ", request_id.as_deref(), "]"))]
pub struct AwsError {
    /// The operation, as in `organizations:ListAccounts`.
    pub operation: &'static str,
    /// AWS's error code, when it sent one.
    pub code: Option<String>,
    /// What happened and, where we know it, what to do.
    pub message: String,
    /// AWS's id of the request, for its support.
    pub request_id: Option<String>,
    class: ErrorClass,
    retry_after: Option<Duration>,
}

fn tail(before: &str, text: Option<&str>, after: &str) -> String {
    text.map(|text| format!("{before}{text}{after}"))
        .unwrap_or_default()
}

impl AwsError {
    /// What the error means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Whether another try may succeed although nobody changes anything.
    #[must_use]
    pub fn passes(&self) -> bool {
        use ErrorClass::{Conflict, Throttled, Transient, Unreachable};
        matches!(self.class, Transient | Throttled | Unreachable | Conflict)
    }

    /// Whether AWS sent this error code.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether SQS does not know a delivery of a message any more: its visibility ran out, or the message was deleted. SQS
    /// says so in three ways, one of them an invalid parameter like many others (Amazon SQS API Reference,
    /// ChangeMessageVisibility).
    #[must_use]
    pub fn is_message_gone(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        match code.rsplit('.').next() {
            Some("MessageNotInflight" | "ReceiptHandleIsInvalid") => true,
            Some("InvalidParameterValue" | "InvalidParameterValueException") => {
                self.message.contains("Message does not exist")
            }
            _ => false,
        }
    }

    pub(crate) fn new(
        operation: &'static str,
        class: ErrorClass,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            code: None,
            message: message.into(),
            request_id: None,
            class,
            retry_after: None,
        }
    }

    /// An answer without something that AWS documents as always there, or with something unreadable in it.
    pub(crate) fn malformed(operation: &'static str, what: &str) -> Self {
        Self::new(
            operation,
            ErrorClass::Unexpected,
            format!("AWS answered with {what}"),
        )
    }

    /// How long AWS asked to wait before the next attempt.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_as_it_is_until_somebody_changes_something_is_told() {
        use ErrorClass::*;
        for (class, passes) in [
            (Transient, true),
            (Throttled, true),
            (Unreachable, true),
            (Conflict, true),
            (Denied, false),
            (Invalid, false),
            (NotFound, false),
            (Quota, false),
            (Credentials, false),
            (Unexpected, false),
        ] {
            let error = AwsError::new("cloudformation:DescribeStacks", class, "");
            assert_eq!(error.passes(), passes, "{}", class.as_str());
        }
    }

    #[test]
    fn a_message_that_is_gone_is_told_from_other_invalid_parameters() {
        let not_there = "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not \
                         available for visibility timeout change.";
        for (code, message, gone) in [
            ("MessageNotInflight", "", true),
            ("AWS.SimpleQueueService.MessageNotInflight", "", true),
            ("ReceiptHandleIsInvalid", "", true),
            ("InvalidParameterValue", not_there, true),
            (
                "InvalidParameterValue",
                "Value 99999 for parameter VisibilityTimeout is invalid.",
                false,
            ),
            ("AWS.SimpleQueueService.NonExistentQueue", "", false),
        ] {
            let error = AwsError {
                code: Some(code.into()),
                ..AwsError::new("sqs:ChangeMessageVisibility", ErrorClass::Invalid, message)
            };
            assert_eq!(error.is_message_gone(), gone, "{code}: {message}");
        }
    }

    #[test]
    fn an_error_tells_operation_message_code_and_request() {
        let error = AwsError {
            code: Some("ValidationError".into()),
            request_id: Some("r-1".into()),
            ..AwsError::new(
                "cloudformation:CreateStackSet",
                ErrorClass::Invalid,
                "no such thing",
            )
        };
        assert_eq!(
            error.to_string(),
            "cloudformation:CreateStackSet failed: no such thing (ValidationError) [request r-1]"
        );
    }
}
