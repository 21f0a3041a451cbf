//! Answers of custom resource providers: through a ResponseURL, from inside, or none in time.
//!
//! CloudFormation user guide, "Custom resource reference objects": the fields of a response, and its 4,096 bytes.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Event;
use super::custom::Pending;
use super::engine::{self, Performed};
use crate::timers;
use crate::world::World;

/// Largest response, in bytes.
const MAX_RESPONSE: usize = 4096;

/// Longest physical id, in bytes.
const MAX_PHYSICAL_ID: usize = 1024;

/// A provider's `PUT` to a ResponseURL; the HTTP status is S3's.
pub(crate) fn respond(
    world: &mut World,
    token: &str,
    content_type: Option<&str>,
    body: &[u8],
) -> u16 {
    // The presigned URL is signed with an empty Content-Type: any other one breaks the signature.
    let signed = content_type.is_none_or(str::is_empty);
    let Some(token) = Uuid::parse_str(token).ok().filter(|_| signed) else {
        return 403;
    };
    receive(world, token, body);
    200
}

/// Takes an answer. A late or second one is stored by S3 and read by nobody.
fn receive(world: &mut World, token: Uuid, body: &[u8]) {
    let Some(pending) = world.stacks.waiting.remove(&token) else {
        return;
    };
    forget_timeouts(world);
    let performed = match read(world, &pending, token, body) {
        Ok(performed) => performed,
        Err(reason) => failed(world, &pending, reason, None),
    };
    engine::settle(world, pending.key, pending.epoch, pending.index, performed);
}

/// Takes the timeouts of answered requests out of the queue, once they are most of it: an hour is long
/// when a hundred thousand stacks are made in a minute.
fn forget_timeouts(world: &mut World) {
    world.stacks.answered += 1;
    if world.stacks.answered < 1000 || world.stacks.answered < world.timers.len() / 2 {
        return;
    }
    world.stacks.answered = 0;
    let waiting = &world.stacks.waiting;
    world.timers.retain(|event| match event {
        timers::Event::Stacks(Event::ServiceTimeout { token }) => waiting.contains_key(token),
        _ => true,
    });
}

fn read(
    world: &mut World,
    pending: &Pending,
    token: Uuid,
    body: &[u8],
) -> Result<Performed, String> {
    if body.len() > MAX_RESPONSE {
        return Err("Response object is too long.".into());
    }
    let response: Value = serde_json::from_slice(body)
        .map_err(|error| format!("Invalid response object: Malformed JSON ({error})"))?;
    let field = |name: &str| {
        response
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let expected = [
        ("RequestId", token.to_string()),
        ("LogicalResourceId", pending.logical_id.to_string()),
        ("StackId", world.stacks[pending.key].id()),
    ];
    for (name, expected) in expected {
        if field(name) != expected {
            return Err(format!(
                "Invalid response object: Value of property {name} does not match the request"
            ));
        }
    }
    let physical_id = Some(field("PhysicalResourceId").to_owned()).filter(|id| !id.is_empty());
    match field("Status") {
        "SUCCESS" => match physical_id {
            Some(id) if id.len() <= MAX_PHYSICAL_ID => Ok(Performed::Done {
                physical_id: Some(id),
                attributes: match response.get("Data") {
                    Some(Value::Object(data)) => data
                        .iter()
                        .map(|(key, value)| (key.as_str().into(), value.clone()))
                        .collect(),
                    _ => Vec::new(),
                },
            }),
            _ => Err("Invalid PhysicalResourceId".into()),
        },
        "FAILED" => {
            let reason = match (field("Reason"), &physical_id) {
                (_, None) => "Invalid PhysicalResourceId".to_owned(),
                ("", _) => "Vendor response doesn't contain Reason".to_owned(),
                (reason, _) => format!(
                    "Received response status [FAILED] from custom resource. Message returned: {reason} (RequestId: {token})"
                ),
            };
            Ok(failed(world, pending, reason, physical_id))
        }
        _ => Err(
            "Invalid response object: Value of property Status must be SUCCESS or FAILED".into(),
        ),
    }
}

/// A failure. A resource that a provider has been asked to create gets an id in any case, because the
/// rollback sends a Delete.
fn failed(
    world: &mut World,
    pending: &Pending,
    reason: String,
    physical_id: Option<String>,
) -> Performed {
    let physical_id = physical_id.or_else(|| {
        let suffix = world.ids.upper(12);
        pending.creates.then(|| {
            format!(
                "{}-{}-{suffix}",
                world.stacks[pending.key].name, pending.logical_id
            )
        })
    });
    Performed::Failed {
        reason,
        physical_id,
    }
}

/// The time for an answer is over.
pub(super) fn timed_out(world: &mut World, token: Uuid) {
    let Some(pending) = world.stacks.waiting.remove(&token) else {
        return;
    };
    let reason = format!(
        "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId [{token}]. If you are using the Python cfn-response module, you may need to update your Lambda function code so that CloudFormation can attach the updated version."
    );
    let performed = failed(world, &pending, reason, None);
    engine::settle(world, pending.key, pending.epoch, pending.index, performed);
}

/// The answer of a provider that runs in process.
pub(super) fn answer(
    world: &mut World,
    token: Uuid,
    request: &Value,
    result: Result<String, String>,
) {
    let echo = |name: &str| request.get(name).cloned().unwrap_or_default();
    let mut response = json!({
        "StackId": echo("StackId"),
        "RequestId": echo("RequestId"),
        "LogicalResourceId": echo("LogicalResourceId"),
    });
    match result {
        Ok(physical_id) => {
            response["Status"] = "SUCCESS".into();
            response["PhysicalResourceId"] = physical_id.into();
        }
        Err(reason) => {
            let existing = request.get("PhysicalResourceId").and_then(Value::as_str);
            response["Status"] = "FAILED".into();
            response["Reason"] = reason.into();
            response["PhysicalResourceId"] = existing.unwrap_or("CREATE_FAILED").into();
        }
    }
    receive(world, token, response.to_string().as_bytes());
}
