//! What SQS does with messages: sending, receiving, deleting, visibility, alone and in batches.

use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::queues::{self, Message};
use super::sqs::{invalid, number, queue, required};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// Most messages of one call, and longest wait and visibility (SQS quotas).
const MAX_BATCH: u64 = 10;

const MAX_WAIT: u64 = 20;

const MAX_VISIBILITY: u64 = 43_200;

const MAX_BYTES: usize = 262_144;

pub(super) fn send(world: &mut World, arn: &str, input: &Value) -> Result<Value, AwsError> {
    let body = required(input, "MessageBody")?;
    if body.len() > MAX_BYTES {
        return Err(invalid(
            "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.",
        ));
    }
    let id = world.ids.uuid_text();
    queues::enqueue(world, arn, &id, body);
    Ok(json!({"MessageId": id, "MD5OfMessageBody": md5(body)}))
}

fn md5(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

pub(super) fn receive(
    world: &mut World,
    call: &Call,
    input: &Value,
) -> Result<JsonReply, AwsError> {
    let arn = queue(world, call, "ReceiveMessage", input)?;
    let limit = number(input, "MaxNumberOfMessages", 1..=MAX_BATCH)?.unwrap_or(1);
    let queue = &world.messaging.queues[&arn];
    let wait = number(input, "WaitTimeSeconds", 0..=MAX_WAIT)?
        .unwrap_or_else(|| queue.seconds("ReceiveMessageWaitTimeSeconds"));
    let visibility = number(input, "VisibilityTimeout", 0..=MAX_VISIBILITY)?
        .unwrap_or_else(|| queue.seconds("VisibilityTimeout"));
    let changed = queue.subscribe();
    let limit = usize::try_from(limit).unwrap_or(1);
    let received = queues::receive(world, &arn, limit, Duration::from_secs(visibility));
    if received.is_empty() {
        let until = call.arrived + Duration::from_secs(wait).mul_f64(world.clock.speed());
        if world.now() < until {
            return Ok(JsonReply::Wait { changed, until });
        }
        return Ok(JsonReply::Done(json!({})));
    }
    let names: Vec<&str> = ["AttributeNames", "MessageSystemAttributeNames"]
        .into_iter()
        .filter_map(|name| input.get(name)?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let messages: Vec<Value> = received
        .iter()
        .map(|(receipt, one)| message(receipt, one, &names))
        .collect();
    Ok(JsonReply::Done(json!({"Messages": messages})))
}

fn message(receipt: &str, message: &Message, names: &[&str]) -> Value {
    let mut value = json!({
        "MessageId": message.id,
        "ReceiptHandle": receipt,
        "MD5OfBody": md5(&message.body),
        "Body": message.body,
    });
    let first = message.first_received.unwrap_or(message.sent);
    let attributes: Map<String, Value> = [
        ("ApproximateReceiveCount", message.receive_count.to_string()),
        ("SentTimestamp", message.sent.0.to_string()),
        ("ApproximateFirstReceiveTimestamp", first.0.to_string()),
    ]
    .into_iter()
    .filter(|(name, _)| names.contains(&"All") || names.contains(name))
    .map(|(name, text)| (name.to_owned(), text.into()))
    .collect();
    if !attributes.is_empty() {
        value["Attributes"] = Value::Object(attributes);
    }
    value
}

pub(super) fn delete(world: &mut World, arn: &str, input: &Value) -> Result<Value, AwsError> {
    let receipt = required(input, "ReceiptHandle")?;
    if !receipt.starts_with("AQEB") {
        return Err(AwsError::new(
            400,
            "ReceiptHandleIsInvalid",
            "The input receipt handle is invalid.",
        )
        .with_query_code("ReceiptHandleIsInvalid"));
    }
    if let Some(queue) = world.messaging.queues.get_mut(arn) {
        queue.delete(receipt);
    }
    Ok(json!({}))
}

pub(super) fn change_visibility(
    world: &mut World,
    arn: &str,
    input: &Value,
) -> Result<Value, AwsError> {
    let receipt = required(input, "ReceiptHandle")?;
    let seconds = number(input, "VisibilityTimeout", 0..=MAX_VISIBILITY)?
        .ok_or_else(|| invalid("VisibilityTimeout is required"))?;
    let sequence = world
        .messaging
        .queues
        .get(arn)
        .and_then(|queue| queue.in_flight(receipt));
    let Some(sequence) = sequence else {
        return Err(AwsError::new(
            400,
            "InvalidParameterValue",
            format!("Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."),
        )
        .with_query_code("InvalidParameterValue"));
    };
    queues::hide(world, arn, sequence, receipt, Duration::from_secs(seconds));
    Ok(json!({}))
}

/// Runs an operation for each entry of a batch: each succeeds or fails by itself.
pub(super) fn batch(
    world: &mut World,
    call: &Call,
    operation: &str,
    input: &Value,
    mut one: impl FnMut(&mut World, &str, &Value) -> Result<Value, AwsError>,
) -> Result<JsonReply, AwsError> {
    let arn = queue(world, call, operation, input)?;
    let entries = input
        .get("Entries")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if entries.is_empty() || entries.len() as u64 > MAX_BATCH {
        let (code, query, text) = if entries.is_empty() {
            (
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
                "There should be at least one entry in the request.",
            )
        } else {
            (
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10.",
            )
        };
        return Err(AwsError::new(400, code, text).with_query_code(query));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let id = entry.get("Id").cloned().unwrap_or_default();
        match one(world, &arn, entry) {
            Ok(mut value) => {
                value["Id"] = id;
                successful.push(value);
            }
            Err(error) => failed.push(json!({
                "Id": id, "SenderFault": true, "Code": error.code, "Message": error.message,
            })),
        }
    }
    Ok(JsonReply::Done(
        json!({"Successful": successful, "Failed": failed}),
    ))
}
