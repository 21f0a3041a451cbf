//! The SQS API (JSON 1.0).
//!
//! Visibility timeouts are simulated time; the wait of a long poll is real time, because the client
//! under test counts it on its own clock.

use serde_json::{Map, Value, json};

use super::messages::{batch, change_visibility, delete, receive, send};
use super::queues::Queue;
use super::topics::allowed;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// Answers one SQS call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    operation: &str,
    input: &Value,
) -> Result<JsonReply, AwsError> {
    let done = |value: Value| Ok(JsonReply::Done(value));
    match operation {
        "CreateQueue" => done(create_queue(world, call, input)?),
        "GetQueueUrl" => done(get_queue_url(world, call, input)?),
        "ListQueues" => done(list_queues(world, call, input)),
        "DeleteQueue" => {
            let arn = queue(world, call, operation, input)?;
            world.messaging.queues.remove(&arn);
            done(json!({}))
        }
        "PurgeQueue" => {
            let arn = queue(world, call, operation, input)?;
            if let Some(queue) = world.messaging.queues.get_mut(&arn) {
                queue.purge();
            }
            done(json!({}))
        }
        "GetQueueAttributes" => done(get_attributes(world, call, input)?),
        "SetQueueAttributes" => done(set_attributes(world, call, input)?),
        "SendMessage" => {
            let arn = queue(world, call, operation, input)?;
            done(send(world, &arn, input)?)
        }
        "SendMessageBatch" => batch(world, call, "SendMessage", input, send),
        "ReceiveMessage" => receive(world, call, input),
        "DeleteMessage" => {
            let arn = queue(world, call, operation, input)?;
            done(delete(world, &arn, input)?)
        }
        "DeleteMessageBatch" => batch(world, call, "DeleteMessage", input, delete),
        "ChangeMessageVisibility" => {
            let arn = queue(world, call, operation, input)?;
            done(change_visibility(world, &arn, input)?)
        }
        "ChangeMessageVisibilityBatch" => batch(
            world,
            call,
            "ChangeMessageVisibility",
            input,
            change_visibility,
        ),
        _ => Err(AwsError::invalid_action(operation, "2012-11-05")),
    }
}

fn does_not_exist() -> AwsError {
    AwsError::new(
        400,
        "QueueDoesNotExist",
        "The specified queue does not exist.",
    )
    .with_query_code("AWS.SimpleQueueService.NonExistentQueue")
}

pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterValue", message).with_query_code("InvalidParameterValue")
}

pub(super) fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, AwsError> {
    input
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            AwsError::new(
                400,
                "MissingParameter",
                format!("The request must contain the parameter {name}."),
            )
            .with_query_code("MissingParameter")
        })
}

pub(super) fn number(
    input: &Value,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, AwsError> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(invalid(format!(
                "Value {value} for parameter {name} is invalid. Reason: Must be between {} and {}.",
                range.start(),
                range.end()
            ))),
        },
    }
}

fn url(world: &World, queue: &Queue) -> String {
    format!("{}/{}/{}", world.endpoint, queue.account, queue.name)
}

/// The ARN of the queue that a QueueUrl names, if the caller may do this with it.
pub(super) fn queue(
    world: &World,
    call: &Call,
    operation: &str,
    input: &Value,
) -> Result<String, AwsError> {
    let url = required(input, "QueueUrl")?;
    let mut parts = url.trim_end_matches('/').rsplit('/');
    let (Some(name), Some(account)) = (parts.next(), parts.next()) else {
        return Err(does_not_exist());
    };
    let arn = format!("arn:aws:sqs:{}:{account}:{name}", call.region);
    let queue = world
        .messaging
        .queues
        .get(&arn)
        .ok_or_else(does_not_exist)?;
    let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
    if !allowed(
        world,
        &call.caller,
        (queue.account, queue.get("Policy")),
        &action,
        &arn,
    ) {
        return Err(AwsError::access_denied(format!(
            "User: {} is not authorized to perform: {} on resource: {arn} because no resource-based policy allows the {} action",
            call.caller.arn,
            action.to_lowercase(),
            action.to_lowercase()
        ))
        .with_query_code("AccessDenied"));
    }
    Ok(arn)
}

fn texts(input: &Value, name: &str) -> Vec<(String, String)> {
    let map = input.get(name).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn create_queue(world: &mut World, call: &Call, input: &Value) -> Result<Value, AwsError> {
    let name = required(input, "QueueName")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.len() > 80 || !name.bytes().all(allowed) {
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    let attributes = texts(input, "Attributes");
    let new = Queue::new(call.caller.account, &call.region, name);
    let arn = new.arn();
    let existed = world.messaging.queues.contains_key(&arn);
    let queue = world.messaging.queues.entry(arn.clone()).or_insert(new);
    for (key, value) in &attributes {
        if existed && queue.get(key) != Some(value) {
            return Err(AwsError::new(
                400,
                "QueueNameExists",
                format!("A queue already exists with the same name and a different value for attribute {key}"),
            )
            .with_query_code("QueueAlreadyExists"));
        }
        queue.set(key, value);
    }
    Ok(json!({"QueueUrl": url(world, &world.messaging.queues[&arn])}))
}

fn get_queue_url(world: &World, call: &Call, input: &Value) -> Result<Value, AwsError> {
    let name = required(input, "QueueName")?;
    let owner = input
        .get("QueueOwnerAWSAccountId")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let owner = owner.unwrap_or_else(|| call.caller.account.to_string());
    let arn = format!("arn:aws:sqs:{}:{owner}:{name}", call.region);
    let queue = world
        .messaging
        .queues
        .get(&arn)
        .ok_or_else(does_not_exist)?;
    Ok(json!({"QueueUrl": url(world, queue)}))
}

fn list_queues(world: &World, call: &Call, input: &Value) -> Value {
    let prefix = input
        .get("QueueNamePrefix")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let urls: Vec<String> = world
        .messaging
        .queues
        .values()
        .filter(|queue| {
            queue.account == call.caller.account
                && queue.region == call.region
                && queue.name.starts_with(prefix)
        })
        .map(|queue| url(world, queue))
        .collect();
    if urls.is_empty() {
        json!({})
    } else {
        json!({"QueueUrls": urls})
    }
}

fn get_attributes(world: &World, call: &Call, input: &Value) -> Result<Value, AwsError> {
    let arn = queue(world, call, "GetQueueAttributes", input)?;
    let queue = &world.messaging.queues[&arn];
    let names: Vec<&str> = input
        .get("AttributeNames")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (waiting, in_flight) = queue.counts();
    let mut all = queue.attributes().clone();
    all.insert("QueueArn".into(), arn.clone());
    all.insert("ApproximateNumberOfMessages".into(), waiting.to_string());
    all.insert(
        "ApproximateNumberOfMessagesNotVisible".into(),
        in_flight.to_string(),
    );
    all.insert("ApproximateNumberOfMessagesDelayed".into(), "0".into());
    let wanted: Map<String, Value> = all
        .into_iter()
        .filter(|(key, _)| names.contains(&"All") || names.contains(&key.as_str()))
        .map(|(key, value)| (key, value.into()))
        .collect();
    Ok(if wanted.is_empty() {
        json!({})
    } else {
        json!({"Attributes": wanted})
    })
}

fn set_attributes(world: &mut World, call: &Call, input: &Value) -> Result<Value, AwsError> {
    let arn = queue(world, call, "SetQueueAttributes", input)?;
    let attributes = texts(input, "Attributes");
    if let Some(queue) = world.messaging.queues.get_mut(&arn) {
        for (key, value) in attributes {
            queue.set(&key, &value);
        }
    }
    Ok(json!({}))
}
