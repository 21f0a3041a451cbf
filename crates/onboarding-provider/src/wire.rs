//! A message of the queue, read into a request and its deadline.
//!
//! The body is what SNS delivers to SQS (a JSON object with the request as a text in `Message`), or the request itself
//! with SNS's raw delivery. No error tells any content: it may hold a token.

use std::time::Duration;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        ResourceRequest, Unanswerable,
        request::{self, DEFAULT_SERVICE_TIMEOUT},
    },
    ids::TopicArn,
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    origin::{self, OriginError},
    response_hosts::ResponseHosts,
};

/// The longest body that is read: SQS carries at most 1 MiB.
pub const LONGEST_BODY: usize = 1 << 20;

/// What the templates ask for, to which every request is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Their ServiceToken; requests for another are refused. Without it, any is served.
    pub topic: Option<TopicArn>,
    /// The ARN of the Lambda function that they name instead, when it is that which was invoked.
    pub function: Option<String>,
    /// Their ServiceTimeout: no request is worked on for longer, whatever it says itself.
    pub service_timeout: Duration,
    /// When the one who serves ends: no request is worked on for longer.
    pub ends: Option<Timestamp>,
    /// Where answers may go beside CloudFormation's own buckets.
    pub response_hosts: ResponseHosts,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            topic: None,
            function: None,
            service_timeout: DEFAULT_SERVICE_TIMEOUT,
            ends: None,
            response_hosts: ResponseHosts::default(),
        }
    }
}

/// A request and when CloudFormation stops waiting for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The request.
    pub request: ResourceRequest,
    /// The moment it was published, plus its ServiceTimeout or the contract's, whichever is shorter; or earlier, when the
    /// one who serves ends earlier, or the address for the answer does.
    pub deadline: Timestamp,
}

/// A message that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is too long to be one.
    #[error("the message has {0} bytes, more than any request")]
    TooLong(usize),
    /// It is not a request.
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
    /// It is none that CloudFormation sends for our templates.
    #[error("not a request of our templates: {reason}")]
    Origin {
        /// Why.
        reason: OriginError,
        /// What it asks for, and until when CloudFormation would wait for an answer.
        refused: Box<Delivered>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    #[serde(rename = "Type")]
    kind: String,
    message: String,
    timestamp: Option<Timestamp>,
}

impl Envelope {
    fn of(body: &str) -> Option<Self> {
        let envelope: Self = serde_json::from_str(body).ok()?;
        (envelope.kind == "Notification").then_some(envelope)
    }
}

/// The same message without the token of Spot's own templates: a notification that says when it was published, for the queue
/// will count from now. None when there is no token in it.
pub(crate) fn without_token(body: &str, sent_at: Timestamp) -> Option<String> {
    if body.len() > LONGEST_BODY {
        return None;
    }
    let envelope = Envelope::of(body);
    let text = envelope.as_ref().map_or(body, |one| one.message.as_str());
    let message = request::without_token(text)?;
    let published = envelope.and_then(|one| one.timestamp);
    let published = published.or_else(|| Signature::in_request(&message).signed);
    let published = published.unwrap_or(sent_at);
    let copy = json!({"Type": "Notification", "Message": message, "Timestamp": published});
    Some(copy.to_string())
}

/// Reads a message body. `sent_at` is when the queue got it: the deadline counts from there when neither SNS nor the
/// signature of the address says when it was published. Of an event that a function was invoked with, `sent_at` is only when
/// it came out of Lambda's own queue: without a time of its own, it counts as half of its ServiceTimeout old, for as long as
/// our template lets Lambda keep it.
///
/// # Errors
/// When it is no request of CloudFormation, or not one of our templates.
pub fn read(body: &str, sent_at: Timestamp, contract: &Contract) -> Result<Delivered, WireError> {
    if body.len() > LONGEST_BODY {
        return Err(WireError::TooLong(body.len()));
    }
    let envelope = Envelope::of(body);
    let (mut request, published) = match &envelope {
        Some(envelope) => (
            ResourceRequest::parse(&envelope.message)?,
            envelope.timestamp,
        ),
        None => (ResourceRequest::parse(body)?, None),
    };
    let origin = origin::check(&request, contract);
    let timeout = request.service_timeout.min(contract.service_timeout);
    let signature = Signature::of(request.response_url.expose());
    let undated = || match contract.function {
        Some(_) => sent_at.checked_sub(timeout / 2).unwrap_or(sent_at),
        None => sent_at,
    };
    // A clock of the future would give a request more time than CloudFormation does.
    let published = published
        .or(signature.signed)
        .unwrap_or_else(undated)
        .min(sent_at);
    let deadline = after(published, timeout);
    let deadline = signature.expires.unwrap_or(deadline).min(deadline);
    // How old the request is, is told from these two.
    request.service_timeout = timeout;
    request.published = Some(published.as_millisecond());
    match origin {
        Ok(()) => Ok(Delivered {
            deadline: contract.ends.map_or(deadline, |ends| deadline.min(ends)),
            request,
        }),
        Err(reason) => Err(WireError::Origin {
            reason,
            refused: Box::new(Delivered { request, deadline }),
        }),
    }
}

/// What the address for the answer says about its time. CloudFormation signs one for each request, and a function that it
/// invokes is told no other time and may be invoked again much later.
#[derive(Default)]
struct Signature {
    /// When it was signed: signature version 4 says so (Amazon S3 API reference, "Authenticating Requests: Using Query
    /// Parameters", X-Amz-Date), version 2 does not.
    signed: Option<Timestamp>,
    /// When S3 stops taking an answer there: X-Amz-Expires in seconds after it was signed, or in version 2 Expires in seconds
    /// since 1970 (Amazon S3 User Guide, "Signing and authenticating REST requests", query string request authentication).
    expires: Option<Timestamp>,
}

impl Signature {
    fn in_request(request: &str) -> Self {
        let request: Option<Value> = serde_json::from_str(request).ok();
        let address = request.as_ref().and_then(|one| one["ResponseURL"].as_str());
        address.map_or_else(Self::default, Self::of)
    }

    fn of(address: &str) -> Self {
        let Ok(url) = Url::parse(address) else {
            return Self::default();
        };
        let value = |wanted: &str| {
            let found = url.query_pairs().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        let signed: Option<Timestamp> = value("X-Amz-Date").and_then(|date| date.parse().ok());
        let seconds = value("X-Amz-Expires").and_then(|seconds| seconds.parse().ok());
        let absolute = value("Expires").and_then(|seconds| seconds.parse().ok());
        let expires = match (signed, seconds) {
            (Some(signed), Some(seconds)) => Some(after(signed, Duration::from_secs(seconds))),
            _ => absolute.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        };
        Self { signed, expires }
    }
}

fn after(moment: Timestamp, wait: Duration) -> Timestamp {
    moment.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Value {
        json!({
            "RequestType": "Create",
            "RequestId": "req-1",
            "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/s/uuid",
            "ResponseURL": "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
            "ResourceType": "Custom::SpotAccount",
            "LogicalResourceId": "SpotAccount",
            "ResourceProperties": {"AwsAccountId": "111111111111", "ServiceTimeout": "600", "Token": "canary"},
        })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_notification_and_a_raw_request_are_read() {
        let sent_at = at("2026-11-21T10:00:05Z");
        let notification = json!({
            "Type": "Notification",
            "MessageId": "m",
            "TopicArn": "arn:aws:sns:us-east-1:999999999999:spot",
            "Subject": "AWS CloudFormation custom resource request",
            "Message": request().to_string(),
            "Timestamp": "2026-11-21T10:00:00.123Z",
        });
        let delivered = read(&notification.to_string(), sent_at, &Contract::default()).unwrap();
        assert_eq!(delivered.deadline, at("2026-11-21T10:10:00.123Z"));
        assert!(!format!("{delivered:?}").contains("canary"));
        let raw = read(&request().to_string(), sent_at, &Contract::default()).unwrap();
        assert_eq!(raw.deadline, at("2026-11-21T10:10:05Z"));
        let published = |delivered: &Delivered| delivered.request.published.unwrap();
        assert_eq!(published(&raw) - published(&delivered), 4877);
        let mut request = raw.request;
        request.published = delivered.request.published;
        assert_eq!(request, delivered.request);
    }

    #[test]
    fn a_request_gets_no_more_time_than_the_templates_ask_for() {
        let sent_at = at("2026-11-21T10:00:00Z");
        for (configured, deadline) in [
            (300, "2026-11-21T10:05:00Z"),
            (3600, "2026-11-21T10:10:00Z"),
        ] {
            let contract = Contract {
                service_timeout: Duration::from_secs(configured),
                ..Contract::default()
            };
            let delivered = read(&request().to_string(), sent_at, &contract).unwrap();
            assert_eq!(delivered.deadline, at(deadline));
        }
    }

    #[test]
    fn a_request_without_a_notification_counts_from_its_signature() {
        let mut raw = request();
        let address = raw["ResponseURL"].as_str().unwrap().to_owned();
        raw["ResponseURL"] = json!(format!(
            "{address}?X-Amz-Date=20261121T095500Z&X-Amz-Expires=7200"
        ));
        let now = at("2026-11-21T10:00:00Z");
        let delivered = read(&raw.to_string(), now, &Contract::default()).unwrap();
        assert_eq!(delivered.deadline, at("2026-11-21T10:05:00Z"));
        raw["ResponseURL"] = json!(format!("{address}?X-Amz-Date=tomorrow"));
        let delivered = read(&raw.to_string(), now, &Contract::default()).unwrap();
        assert_eq!(delivered.deadline, at("2026-11-21T10:10:00Z"));
    }

    #[test]
    fn a_direct_request_without_a_time_counts_as_half_of_its_time_old() {
        let now = at("2026-11-21T10:00:00Z");
        let function = "arn:aws:lambda:us-east-1:999999999999:function:spot";
        let contract = Contract {
            function: Some(function.to_owned()),
            ..Contract::default()
        };
        let mut raw = request();
        raw["ServiceToken"] = json!(function);
        let address = raw["ResponseURL"].as_str().unwrap().to_owned();
        let deadline = |query: &str| {
            let mut raw = raw.clone();
            raw["ResponseURL"] = json!(format!("{address}{query}"));
            read(&raw.to_string(), now, &contract).unwrap().deadline
        };
        assert_eq!(deadline(""), at("2026-11-21T10:05:00Z"));
        // Version 2 of the signature says only when the address ends: 10:02.
        let until = at("2026-11-21T10:02:00Z").as_second();
        let version_2 = format!("?AWSAccessKeyId=a&Signature=b&Expires={until}");
        assert_eq!(deadline(&version_2), at("2026-11-21T10:02:00Z"));
        let later = format!("?Expires={}", until + 7200);
        assert_eq!(deadline(&later), at("2026-11-21T10:05:00Z"));
        // Version 4 says both.
        assert_eq!(
            deadline("?X-Amz-Date=20261121T095900Z&X-Amz-Expires=7200"),
            at("2026-11-21T10:09:00Z")
        );
        assert_eq!(
            deadline("?X-Amz-Date=20261121T095900Z&X-Amz-Expires=120"),
            at("2026-11-21T10:01:00Z")
        );
        for nonsense in [
            "?Expires=never",
            "?Expires=-99999999999999",
            "?X-Amz-Expires=9",
        ] {
            assert_eq!(deadline(nonsense), at("2026-11-21T10:05:00Z"), "{nonsense}");
        }
    }

    #[test]
    fn a_request_ends_with_the_one_who_serves_it() {
        let contract = Contract {
            ends: Some(at("2026-11-21T10:01:00Z")),
            ..Contract::default()
        };
        let delivered = read(
            &request().to_string(),
            at("2026-11-21T10:00:00Z"),
            &contract,
        );
        assert_eq!(delivered.unwrap().deadline, at("2026-11-21T10:01:00Z"));
    }

    #[test]
    fn a_message_loses_its_token_and_keeps_its_deadline() {
        let later = at("2026-11-21T10:06:00Z");
        let mut signed = request();
        let address = signed["ResponseURL"].as_str().unwrap();
        signed["ResponseURL"] = json!(format!("{address}?X-Amz-Date=20261121T095500Z"));
        let notification = |timestamp: Value| {
            json!({"Type": "Notification", "Message": request().to_string(), "Timestamp": timestamp})
                .to_string()
        };
        for (body, deadline) in [
            (
                notification(json!("2026-11-21T09:58:00Z")),
                "2026-11-21T10:08:00Z",
            ),
            (notification(Value::Null), "2026-11-21T10:10:00Z"),
            (request().to_string(), "2026-11-21T10:10:00Z"),
            (signed.to_string(), "2026-11-21T10:05:00Z"),
        ] {
            let sent_at = at("2026-11-21T10:00:00Z");
            let copy = without_token(&body, sent_at).unwrap();
            assert!(!copy.contains("canary"), "{copy}");
            assert_eq!(without_token(&copy, later), None);
            let original = read(&body, sent_at, &Contract::default()).unwrap();
            let copied = read(&copy, later, &Contract::default()).unwrap();
            assert_eq!(copied, original);
            assert_eq!(copied.deadline, at(deadline), "{body}");
        }
        for untouched in [
            "",
            "text",
            "{\"Type\": \"Notification\", \"Message\": \"text\"}",
        ] {
            assert_eq!(without_token(untouched, later), None);
        }
    }

    #[test]
    fn a_time_in_the_future_gives_no_more_time() {
        let notification = json!({
            "Type": "Notification", "Message": request().to_string(), "Timestamp": "2099-01-01T00:00:00Z",
        });
        let delivered = read(
            &notification.to_string(),
            at("2026-11-21T10:00:00Z"),
            &Contract::default(),
        )
        .unwrap();
        assert_eq!(delivered.deadline, at("2026-11-21T10:10:00Z"));
    }

    #[test]
    fn what_is_no_request_is_told_without_its_content() {
        let canary = "canary".repeat(10);
        for body in [
            canary.clone(),
            json!({"Type": "Notification", "Message": canary}).to_string(),
            json!({"Type": "SubscriptionConfirmation", "Message": canary, "Token": canary})
                .to_string(),
            "x".repeat(LONGEST_BODY + 1),
            String::new(),
        ] {
            let error = read(&body, Timestamp::now(), &Contract::default()).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in "(?s).{0,300}", message in "(?s).{0,300}") {
            let _ = read(&body, Timestamp::now(), &Contract::default());
            let notification = json!({"Type": "Notification", "Message": message});
            let _ = read(&notification.to_string(), Timestamp::MAX, &Contract::default());
        }
    }
}
