//! Topics, queues, their policies and subscriptions, real in the simulated SNS and SQS.

use serde_json::Value;

use super::{Made, Place, document, strings, text};
use crate::messaging::provisioned as provision;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Makes a resource; nothing for a type that is not known here.
pub(super) fn make(
    world: &mut World,
    place: &Place<'_>,
    name: String,
    properties: &Value,
) -> Result<Option<Made>, AwsError> {
    let stack = &world.stacks[place.key];
    let (account, region) = (stack.account, stack.region.clone());
    let attributes = |pairs: [(&str, &str); 2]| -> Vec<(Box<str>, Value)> {
        pairs.map(|(key, value)| (key.into(), value.into())).into()
    };
    Ok(Some(match place.kind {
        "AWS::SNS::Topic" => {
            let arn = provision::create_topic(world, account, &region, &name)?;
            provision::set_topic(world, &arn, &settings(properties, TOPIC_ATTRIBUTES));
            let made = attributes([("TopicArn", &arn), ("TopicName", &name)]);
            (arn, made)
        }
        "AWS::SQS::Queue" => {
            let arn = provision::create_queue(world, account, &region, &name)?;
            provision::set_queue(world, &arn, &settings(properties, QUEUE_ATTRIBUTES));
            let url = format!("{}/{account}/{name}", world.endpoint);
            let mut made = attributes([("Arn", &arn), ("QueueName", &name)]);
            made.push(("QueueUrl".into(), url.as_str().into()));
            (url, made)
        }
        "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy" => {
            set_policies(
                world,
                place,
                properties,
                &document(properties, "PolicyDocument"),
            );
            (name, Vec::new())
        }
        "AWS::SNS::Subscription" => {
            let topic = text(properties, "TopicArn").unwrap_or_default();
            let queue = text(properties, "Endpoint").unwrap_or_default();
            if text(properties, "Protocol").as_deref() != Some("sqs") {
                return Err(AwsError::new(
                    400,
                    "InvalidParameter",
                    "Invalid parameter: only the sqs protocol is simulated",
                ));
            }
            let raw = properties.get("RawMessageDelivery") == Some(&Value::Bool(true));
            let arn = provision::subscribe(world, &topic, &queue, raw)?;
            let made = vec![("Arn".into(), arn.as_str().into())];
            (arn, made)
        }
        _ => return Ok(None),
    }))
}

pub(super) fn change(
    world: &mut World,
    place: &Place<'_>,
    physical_id: &str,
    properties: &Value,
) -> Result<(), AwsError> {
    match place.kind {
        "AWS::SNS::Topic" => {
            provision::set_topic(world, physical_id, &settings(properties, TOPIC_ATTRIBUTES));
        }
        "AWS::SQS::Queue" => {
            let arn = queue_arn(world, place, physical_id);
            provision::set_queue(world, &arn, &settings(properties, QUEUE_ATTRIBUTES));
        }
        "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy" => {
            set_policies(
                world,
                place,
                properties,
                &document(properties, "PolicyDocument"),
            );
        }
        _ => {}
    }
    Ok(())
}

/// Takes a resource away; one that is gone stays gone.
pub(super) fn remove(world: &mut World, place: &Place<'_>, physical_id: &str, properties: &Value) {
    match place.kind {
        "AWS::SNS::Topic" => provision::delete_topic(world, physical_id),
        "AWS::SNS::Subscription" => provision::unsubscribe(world, physical_id),
        "AWS::SQS::Queue" => {
            let arn = queue_arn(world, place, physical_id);
            provision::delete_queue(world, &arn);
        }
        _ => set_policies(world, place, properties, ""),
    }
}

/// Properties of a type that are attributes of the same name in its API.
const TOPIC_ATTRIBUTES: &[&str] = &["DisplayName", "KmsMasterKeyId"];
const QUEUE_ATTRIBUTES: &[&str] = &[
    "DelaySeconds",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

fn settings(properties: &Value, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let given = names
        .iter()
        .filter(|name| properties.get(**name).is_some_and(|value| !value.is_null()));
    given
        .map(|name| (*name, document(properties, name)))
        .collect()
}

/// Gives all topics or queues of a policy resource a policy; an empty one takes it away.
fn set_policies(world: &mut World, place: &Place<'_>, properties: &Value, policy: &str) {
    if place.kind == "AWS::SNS::TopicPolicy" {
        for topic in strings(properties, "Topics") {
            provision::set_topic_policy(world, &topic, policy);
        }
    } else {
        for url in strings(properties, "Queues") {
            let arn = queue_arn(world, place, &url);
            provision::set_queue(world, &arn, &[("Policy", policy.to_owned())]);
        }
    }
}

/// The ARN of the queue with this URL.
fn queue_arn(world: &World, place: &Place<'_>, url: &str) -> String {
    let mut parts = url.rsplit('/');
    let (name, account) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let region = &world.stacks[place.key].region;
    format!("arn:aws:sqs:{region}:{account}:{name}")
}
