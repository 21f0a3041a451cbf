//! What AWS Lambda invokes a function with, read into messages: a batch of an SQS queue, one notification of an SNS
//! topic, or a custom resource request itself.
//!
//! The form of the request in a message is for `wire` to read. No error tells any content: it may hold a token.

use jiff::Timestamp;
use serde_json::Value;

use crate::queue::Message;

/// What a function is invoked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Messages of a queue (AWS Lambda developer guide, "Using Lambda with Amazon SQS"). The receipt of each is its
    /// message id, by which a partial batch response names those that are left.
    Queue {
        /// The ARN of the queue, as Lambda says it.
        arn: String,
        /// Its messages.
        messages: Vec<Message>,
    },
    /// A notification of a topic: the text that was published (AWS Lambda developer guide, "Invoking Lambda functions
    /// with Amazon SNS notifications").
    Topic(Message),
    /// Anything else: what should be the request itself, as CloudFormation sends it to a function that a template names
    /// as ServiceToken.
    Function(Message),
}

/// An event that no answer could be given for. The whole invocation fails, so that Lambda repeats it or keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// It has records, but none of a source that is served.
    #[error("the event has records that are neither of one SQS queue nor of one SNS topic")]
    Source,
    /// A message of a queue cannot be named in a partial batch response.
    #[error("a record of the SQS batch has no message id")]
    MessageId,
    /// A notification has no text.
    #[error("the SNS record has no message")]
    NoMessage,
}

/// Reads an event. `received_at` stands for the times that it does not have.
///
/// # Errors
/// When its records are of another form than Lambda's documents say.
pub fn read(event: &Value, received_at: Timestamp) -> Result<Invocation, InvocationError> {
    let Some(records) = event.get("Records") else {
        return Ok(Invocation::Function(Message {
            body: event.to_string(),
            id: String::new(),
            receipt: String::new(),
            sent_at: received_at,
            receive_count: 1,
        }));
    };
    let records = records.as_array().ok_or(InvocationError::Source)?;
    match records.as_slice() {
        [record] if record["EventSource"] == "aws:sns" => {
            notification(&record["Sns"], received_at).map(Invocation::Topic)
        }
        records if records.iter().all(|one| one["eventSource"] == "aws:sqs") => {
            let arn = records
                .iter()
                .find_map(|one| one["eventSourceARN"].as_str());
            let messages = records.iter().map(|record| message(record, received_at));
            Ok(Invocation::Queue {
                arn: arn.unwrap_or_default().to_owned(),
                messages: messages.collect::<Result<_, _>>()?,
            })
        }
        _ => Err(InvocationError::Source),
    }
}

fn notification(sns: &Value, received_at: Timestamp) -> Result<Message, InvocationError> {
    let published: Option<Timestamp> = sns["Timestamp"].as_str().and_then(|at| at.parse().ok());
    Ok(Message {
        body: sns["Message"]
            .as_str()
            .ok_or(InvocationError::NoMessage)?
            .to_owned(),
        id: String::new(),
        receipt: String::new(),
        sent_at: published.unwrap_or(received_at).min(received_at),
        receive_count: 1,
    })
}

/// A message without a body is none that could be served, and is left as such.
fn message(record: &Value, received_at: Timestamp) -> Result<Message, InvocationError> {
    let id = record["messageId"].as_str().filter(|id| !id.is_empty());
    let id = id.ok_or(InvocationError::MessageId)?;
    let attribute = |name: &str| record["attributes"][name].as_str();
    let sent_at = attribute("SentTimestamp")
        .and_then(|millis| millis.parse().ok())
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Ok(Message {
        id: id.to_owned(),
        body: record["body"].as_str().unwrap_or_default().to_owned(),
        receipt: id.to_owned(),
        sent_at: sent_at.unwrap_or(received_at).min(received_at),
        receive_count: attribute("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_batch_is_read_with_the_times_and_counts_of_its_messages() {
        let record = |id: &str, attributes: Value| {
            json!({
                "messageId": id,
                "receiptHandle": "handle",
                "body": "{}",
                "attributes": attributes,
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:999999999999:spot",
                "awsRegion": "us-east-1",
            })
        };
        let attributes = json!({"SentTimestamp": "1795254600000", "ApproximateReceiveCount": "3"});
        let event = json!({"Records": [record("m-1", attributes), record("m-2", json!({}))]});
        let Ok(Invocation::Queue { arn, messages }) = read(&event, now()) else {
            panic!("not a batch")
        };
        let [first, second] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!(arn, "arn:aws:sqs:us-east-1:999999999999:spot");
        assert_eq!(first.receipt, "m-1");
        assert_eq!(first.receive_count, 3);
        assert_eq!(first.sent_at, "2026-11-21T09:50:00Z".parse().unwrap());
        assert_eq!(second.sent_at, now());
    }

    #[test]
    fn a_notification_and_a_request_are_told_apart() {
        let sns = json!({"Records": [{
            "EventVersion": "1.0",
            "EventSource": "aws:sns",
            "Sns": {"Type": "Notification", "Message": "text", "Timestamp": "2026-11-21T09:59:00.000Z"},
        }]});
        let Ok(Invocation::Topic(message)) = read(&sns, now()) else {
            panic!("not a notification")
        };
        assert_eq!(message.body, "text");
        assert_eq!(message.sent_at, "2026-11-21T09:59:00Z".parse().unwrap());
        let request = json!({"RequestType": "Create"});
        let Ok(Invocation::Function(message)) = read(&request, now()) else {
            panic!("not a request")
        };
        assert_eq!(message.body, request.to_string());
    }

    #[test]
    fn records_that_could_not_be_answered_for_are_an_error() {
        let sqs = |record: Value| {
            let mut record = record;
            record["eventSource"] = json!("aws:sqs");
            json!({"Records": [record]})
        };
        for (event, error) in [
            (json!({"Records": {}}), InvocationError::Source),
            (
                json!({"Records": [{"eventSource": "aws:s3"}]}),
                InvocationError::Source,
            ),
            (json!({"Records": [7]}), InvocationError::Source),
            (sqs(json!({"body": "x"})), InvocationError::MessageId),
            (
                sqs(json!({"body": "x", "messageId": ""})),
                InvocationError::MessageId,
            ),
            (
                json!({"Records": [{"EventSource": "aws:sns", "Sns": {}}]}),
                InvocationError::NoMessage,
            ),
        ] {
            assert_eq!(read(&event, now()), Err(error), "{event}");
        }
        let empty = json!({"Records": []});
        let nothing = Invocation::Queue {
            arn: String::new(),
            messages: Vec::new(),
        };
        assert_eq!(read(&empty, now()), Ok(nothing));
    }

    proptest! {
        #[test]
        fn no_time_of_an_event_is_in_the_future(millis in any::<i64>(), text in ".{0,40}") {
            let sqs = json!({"Records": [{
                "eventSource": "aws:sqs", "messageId": "m", "body": text,
                "attributes": {"SentTimestamp": millis.to_string()},
            }]});
            let Ok(Invocation::Queue { messages, .. }) = read(&sqs, now()) else { panic!("not a batch") };
            prop_assert!(messages[0].sent_at <= now());
        }
    }
}
