//! What went wrong with a call to AWS: the operation, the code, the message and the request id, and what that means.
//! SDK errors end here; their debug form contains raw answers and must not be seen.

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use aws_smithy_types::error::{ErrorMetadata, metadata::ProvideErrorMetadata};
use aws_types::request_id::RequestId;

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

/// Longer messages of AWS are cut: they end up in logs and reports.
const LONGEST_MESSAGE: usize = 1_000;

impl AwsError {
    /// What the error means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Whether AWS sent this error code.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
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

    /// Takes from an SDK error what may be shown, and drops the rest.
    pub(crate) fn from_sdk<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match &error {
            SdkError::ConstructionFailure(_) => without_answer(operation, &error, || {
                Self::new(
                    operation,
                    ErrorClass::Invalid,
                    format!("the request could not be built: {}", innermost(&error)),
                )
            }),
            SdkError::TimeoutError(_) => Self::new(
                operation,
                ErrorClass::Transient,
                "no answer within the timeout; it may have taken effect",
            ),
            SdkError::DispatchFailure(failure) => without_answer(operation, &error, || {
                if failure.is_timeout() && !has_source(&error, "(Connect)") {
                    return Self::new(
                        operation,
                        ErrorClass::Transient,
                        "no answer within the timeout; it may have taken effect",
                    );
                }
                if failure.is_timeout() || has_source(&error, "(Connect)") {
                    return Self::new(
                        operation,
                        ErrorClass::Unreachable,
                        format!(
                            "no connection to the AWS endpoint ({}); check the network, the proxy settings \
                             (HTTPS_PROXY, NO_PROXY), the Region and AWS_ENDPOINT_URL",
                            innermost(&error)
                        ),
                    );
                }
                Self::new(
                    operation,
                    ErrorClass::Transient,
                    format!(
                        "the connection broke ({}); it may have taken effect",
                        innermost(&error)
                    ),
                )
            }),
            SdkError::ResponseError(response) => {
                let raw = response.raw();
                Self {
                    request_id: raw.headers().request_id().map(str::to_owned),
                    ..Self::new(
                        operation,
                        ErrorClass::Unexpected,
                        unreadable(raw.status().as_u16()),
                    )
                }
            }
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                Self::from_answer(
                    operation,
                    service.err().meta(),
                    raw.status().as_u16(),
                    raw.headers(),
                )
            }
            // The enum is open; a kind of failure that we do not know yet.
            _ => Self::new(
                operation,
                ErrorClass::Unexpected,
                "the AWS SDK failed in a way that this version does not know",
            ),
        }
    }

    fn from_answer(
        operation: &'static str,
        meta: &ErrorMetadata,
        status: u16,
        headers: &Headers,
    ) -> Self {
        let class = classify(meta.code(), status);
        let message = match (class, meta.code(), meta.message()) {
            (_, None, _) => unreadable(status),
            (ErrorClass::Credentials, _, message) => format!(
                "AWS does not accept the credentials ({}); renew them or choose others (AWS_PROFILE, \
                 AWS_ACCESS_KEY_ID, aws sso login)",
                cut(message.unwrap_or("no reason given"))
            ),
            (_, _, Some(message)) => cut(message).to_owned(),
            (_, _, None) => "AWS gave no reason".to_owned(),
        };
        Self {
            operation,
            code: meta.code().map(str::to_owned),
            message,
            request_id: headers
                .request_id()
                .or_else(|| meta.request_id())
                .map(str::to_owned),
            class,
            retry_after: headers
                .get("x-amz-retry-after")
                .and_then(|millis| millis.parse().ok())
                .map(Duration::from_millis),
        }
    }
}

/// What an error code means. Codes from each service's API reference and from "Common errors".
fn classify(code: Option<&str>, status: u16) -> ErrorClass {
    match code {
        // No AWS service answers without a code.
        None if status == 429 => ErrorClass::Throttled,
        None => ErrorClass::Unexpected,
        Some(
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "PriorRequestNotComplete"
            | "SlowDown",
        ) => ErrorClass::Throttled,
        // The SDK takes LimitExceededException for throttling; of CloudFormation it is a quota, and permanent.
        Some("LimitExceededException" | "LimitExceeded" | "ConstraintViolationException") => {
            ErrorClass::Quota
        }
        Some(
            "ConcurrentModificationException"
            | "ConcurrentModification"
            | "FinalizingOrganizationException"
            | "RequestTimeout"
            | "RequestTimeoutException",
        ) => ErrorClass::Transient,
        Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") => {
            ErrorClass::Denied
        }
        Some(
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "OptInRequired",
        ) => ErrorClass::Credentials,
        Some(
            "OperationInProgressException"
            | "OperationIdAlreadyExistsException"
            | "StaleRequestException"
            | "NameAlreadyExistsException"
            | "CreatedButModifiedException"
            | "StackSetNotEmptyException"
            | "AlreadyExistsException"
            | "EntityAlreadyExists",
        ) => ErrorClass::Conflict,
        Some(
            "NoSuchEntity"
            | "NoSuchEntityException"
            | "ParameterNotFound"
            | "ResourceNotFoundException"
            | "AWSOrganizationsNotInUseException"
            | "AWS.SimpleQueueService.NonExistentQueue"
            | "QueueDoesNotExist",
        ) => ErrorClass::NotFound,
        Some(code) if code.ends_with("NotFoundException") => ErrorClass::NotFound,
        Some(_) if status >= 500 => ErrorClass::Transient,
        Some(_) if (400..500).contains(&status) => ErrorClass::Invalid,
        Some(_) => ErrorClass::Unexpected,
    }
}

/// A failure before any answer: credentials that could not be had, or what `otherwise` says.
fn without_answer(
    operation: &'static str,
    error: &(dyn Error + 'static),
    otherwise: impl FnOnce() -> AwsError,
) -> AwsError {
    let credentials = sources(error).find_map(|source| source.downcast_ref::<CredentialsError>());
    match credentials {
        None => otherwise(),
        Some(CredentialsError::CredentialsNotLoaded(_)) => AwsError::new(
            operation,
            ErrorClass::Credentials,
            "no AWS credentials found; set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run \
             `aws sso login`, or run where a role is attached",
        ),
        // Only the outermost text: sources may quote what a credential process or endpoint answered.
        Some(error) => AwsError::new(
            operation,
            ErrorClass::Credentials,
            format!(
                "AWS credentials could not be loaded ({error}); check the profile, the credential process or the \
                 attached role"
            ),
        ),
    }
}

fn unreadable(status: u16) -> String {
    format!(
        "the answer (HTTP {status}) is not one of AWS's; check AWS_ENDPOINT_URL and any proxy in between"
    )
}

fn cut(message: &str) -> &str {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((index, _)) => &message[..index],
        None => message,
    }
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn has_source(error: &(dyn Error + 'static), text: &str) -> bool {
    sources(error).any(|source| source.to_string().contains(text))
}

/// The text of the first cause. Only for failures without an answer: nothing of one can be in it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    sources(error)
        .last()
        .map(|source| cut(&source.to_string()).to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_aws_documents() {
        for (code, status, class) in [
            (Some("TooManyRequestsException"), 400, ErrorClass::Throttled),
            (Some("Throttling"), 400, ErrorClass::Throttled),
            (Some("LimitExceededException"), 400, ErrorClass::Quota),
            (Some("LimitExceeded"), 409, ErrorClass::Quota),
            (
                Some("ConcurrentModificationException"),
                400,
                ErrorClass::Transient,
            ),
            (Some("AccessDenied"), 403, ErrorClass::Denied),
            (Some("ExpiredToken"), 403, ErrorClass::Credentials),
            (
                Some("OperationInProgressException"),
                409,
                ErrorClass::Conflict,
            ),
            (Some("StackSetNotFoundException"), 404, ErrorClass::NotFound),
            (Some("ValidationError"), 400, ErrorClass::Invalid),
            (Some("InternalFailure"), 500, ErrorClass::Transient),
            (Some("ServiceUnavailable"), 503, ErrorClass::Transient),
            (None, 500, ErrorClass::Unexpected),
            (None, 429, ErrorClass::Throttled),
        ] {
            assert_eq!(classify(code, status), class, "{code:?} {status}");
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
