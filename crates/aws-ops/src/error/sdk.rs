//! From an SDK error to ours: what may be shown is taken, the rest is dropped.

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use aws_smithy_types::error::{ErrorMetadata, metadata::ProvideErrorMetadata};
use aws_types::request_id::RequestId;

use super::{AwsError, ErrorClass, classify::classify};

/// Longer messages of AWS are cut: they end up in logs and reports.
const LONGEST_MESSAGE: usize = 1_000;

impl AwsError {
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
    use aws_credential_types::{
        Credentials,
        provider::{ProvideCredentials, error::CredentialsError, future},
    };
    use aws_sdk_sts::config::{BehaviorVersion, Region};

    use super::*;

    /// Finds nothing, or fails with a text that must not be shown.
    #[derive(Debug)]
    struct Failing(bool);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let result: Result<Credentials, _> = Err(if self.0 {
                CredentialsError::not_loaded("nothing here")
            } else {
                CredentialsError::provider_error("c4n4ry")
            });
            future::ProvideCredentials::ready(result)
        }
    }

    async fn call_with(provider: Failing) -> AwsError {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:9")
            .credentials_provider(provider)
            .build();
        let error = aws_sdk_sts::Client::from_conf(config)
            .get_caller_identity()
            .send()
            .await
            .unwrap_err();
        AwsError::from_sdk("sts:GetCallerIdentity", error)
    }

    #[tokio::test]
    async fn missing_credentials_say_what_to_do() {
        let error = call_with(Failing(true)).await;
        assert_eq!(error.class(), ErrorClass::Credentials);
        assert!(error.message.contains("AWS_PROFILE"), "{error}");
    }

    #[tokio::test]
    async fn what_a_credential_provider_says_is_not_shown() {
        let error = call_with(Failing(false)).await;
        assert_eq!(error.class(), ErrorClass::Credentials);
        assert!(!format!("{error} {error:?}").contains("c4n4ry"), "{error}");
    }
}
