//! What AWS's error codes mean.

use super::ErrorClass;

/// What an error code means. Codes from each service's API reference and from "Common errors".
pub(super) fn classify(code: Option<&str>, status: u16) -> ErrorClass {
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
            | "SlowDown"
            | "Throttled"
            | "KMSThrottling",
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
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "AuthorizationError"
            | "UnauthorizedOperation",
        ) => ErrorClass::Denied,
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
            | "ChangeSetNotFound"
            | "NoSuchConfigurationAggregatorException"
            | "AWSOrganizationsNotInUseException"
            | "AWS.SimpleQueueService.NonExistentQueue"
            | "QueueDoesNotExist"
            | "NotFound",
        ) => ErrorClass::NotFound,
        Some(code) if code.ends_with("NotFoundException") => ErrorClass::NotFound,
        Some(_) if status >= 500 => ErrorClass::Transient,
        Some(_) if (400..500).contains(&status) => ErrorClass::Invalid,
        Some(_) => ErrorClass::Unexpected,
    }
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
            (Some("AuthorizationError"), 403, ErrorClass::Denied),
            (Some("NotFound"), 404, ErrorClass::NotFound),
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
}
