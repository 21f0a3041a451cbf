//! The SNS API (Query protocol).

use serde_json::{Map, Value, json};

use super::topics::{Published, Subscription, Topic, allowed, not_found, publish};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// Answers one SNS call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    match request.action.as_str() {
        "CreateTopic" => create_topic(world, call, request),
        "DeleteTopic" => {
            owned(world, call, required(request, "TopicArn")?)?;
            world
                .messaging
                .topics
                .remove(required(request, "TopicArn")?);
            Ok(QueryReply::NoResult)
        }
        "ListTopics" => Ok(list_topics(world, call)),
        "GetTopicAttributes" => topic_attributes(world, call, request),
        "SetTopicAttributes" => set_topic_attribute(world, call, request),
        "Publish" => publish_message(world, call, request),
        "Subscribe" => subscribe(world, call, request),
        "Unsubscribe" => unsubscribe(world, request),
        "ListSubscriptionsByTopic" => list_subscriptions(world, call, request),
        "GetSubscriptionAttributes" => subscription_attributes(world, request),
        "SetSubscriptionAttributes" => set_subscription_attribute(world, request),
        _ => Err(AwsError::invalid_action(&request.action, &request.version)),
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(
        400,
        "InvalidParameter",
        format!("Invalid parameter: {}", message.into()),
    )
}

fn required<'a>(request: &'a QueryRequest, name: &str) -> Result<&'a str, AwsError> {
    request
        .get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| invalid(name))
}

/// A topic of the caller's own account.
fn owned<'a>(world: &'a mut World, call: &Call, arn: &str) -> Result<&'a mut Topic, AwsError> {
    let topic = world.messaging.topics.get_mut(arn).ok_or_else(not_found)?;
    if topic.owner == call.caller.account {
        Ok(topic)
    } else {
        Err(AwsError::new(
            403,
            "AuthorizationError",
            format!("User: {} is not authorized", call.caller.arn),
        ))
    }
}

/// The entries of a map parameter: `Attributes.entry.N.key` and `.value`.
fn entries(request: &QueryRequest, name: &str) -> Vec<(String, String)> {
    (1..)
        .map_while(|number| {
            let key = request.get(&format!("{name}.entry.{number}.key"))?;
            let value = request
                .get(&format!("{name}.entry.{number}.value"))
                .unwrap_or_default();
            Some((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn create_topic(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = required(request, "Name")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.len() > 256 || !name.bytes().all(allowed) {
        return Err(invalid("Topic Name"));
    }
    let account = call.caller.account;
    let arn = format!("arn:aws:sns:{}:{account}:{name}", call.region);
    let topic = world
        .messaging
        .topics
        .entry(arn.clone())
        .or_insert_with(|| Topic::new(account));
    for (name, value) in entries(request, "Attributes") {
        set(topic, &name, &value);
    }
    let mut xml = Xml::new();
    xml.text("TopicArn", arn);
    Ok(xml.into())
}

fn set(topic: &mut Topic, name: &str, value: &str) {
    if name == "Policy" {
        topic.policy = Some(value.to_owned());
    } else {
        topic.attributes.insert(name.to_owned(), value.to_owned());
    }
}

fn list_topics(world: &World, call: &Call) -> QueryReply {
    let prefix = format!("arn:aws:sns:{}:{}:", call.region, call.caller.account);
    let arns = world
        .messaging
        .topics
        .keys()
        .filter(|arn| arn.starts_with(&prefix));
    let mut xml = Xml::new();
    xml.list("Topics", arns, |xml, arn| {
        xml.text("TopicArn", arn);
    });
    xml.into()
}

fn map(xml: &mut Xml, entries: impl IntoIterator<Item = (String, String)>) {
    xml.element("Attributes", |xml| {
        for (key, value) in entries {
            xml.element("entry", |xml| {
                xml.text("key", key).text("value", value);
            });
        }
    });
}

fn topic_attributes(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let arn = required(request, "TopicArn")?;
    let topic = world.messaging.topics.get(arn).ok_or_else(not_found)?;
    if !allowed(
        world,
        &call.caller,
        (topic.owner, topic.policy.as_deref()),
        "SNS:GetTopicAttributes",
        arn,
    ) {
        return Err(AwsError::new(
            403,
            "AuthorizationError",
            format!("User: {} is not authorized", call.caller.arn),
        ));
    }
    let mut attributes = topic.attributes.clone();
    attributes.insert("TopicArn".into(), arn.into());
    attributes.insert("Owner".into(), topic.owner.to_string());
    attributes.insert(
        "SubscriptionsConfirmed".into(),
        topic.subscriptions.len().to_string(),
    );
    let default = || {
        json!({"Version": "2008-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["SNS:Publish", "SNS:GetTopicAttributes"],
            "Resource": arn, "Condition": {"StringEquals": {"AWS:SourceOwner": topic.owner.to_string()}},
        }]})
        .to_string()
    };
    attributes.insert(
        "Policy".into(),
        topic.policy.clone().unwrap_or_else(default),
    );
    let mut xml = Xml::new();
    map(&mut xml, attributes);
    Ok(xml.into())
}

fn set_topic_attribute(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = required(request, "AttributeName")?;
    let topic = owned(world, call, required(request, "TopicArn")?)?;
    set(
        topic,
        name,
        request.get("AttributeValue").unwrap_or_default(),
    );
    Ok(QueryReply::NoResult)
}

fn publish_message(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let arn = required(request, "TopicArn").or_else(|_| required(request, "TargetArn"))?;
    let message = required(request, "Message")?;
    let published = Published {
        subject: request.get("Subject"),
        message,
        attributes: message_attributes(request)?,
    };
    let id = publish(world, &call.caller, arn, &published)?;
    let mut xml = Xml::new();
    xml.text("MessageId", id);
    Ok(xml.into())
}

/// `MessageAttributes.entry.N`, as they are delivered: by name, with type and value. None may be empty.
fn message_attributes(request: &QueryRequest) -> Result<Map<String, Value>, AwsError> {
    let mut attributes = Map::new();
    for number in 1.. {
        let of = |name: &str| request.get(&format!("MessageAttributes.entry.{number}.{name}"));
        let Some(name) = of("Name") else { break };
        let data_type = of("Value.DataType").unwrap_or_default();
        let value = of("Value.StringValue").or_else(|| of("Value.BinaryValue"));
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Err(AwsError::new(
                400,
                "ParameterValueInvalid",
                format!(
                    "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
                     '{data_type}'."
                ),
            ));
        };
        attributes.insert(name.to_owned(), json!({"Type": data_type, "Value": value}));
    }
    Ok(attributes)
}

fn subscribe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let topic_arn = required(request, "TopicArn")?.to_owned();
    let endpoint = required(request, "Endpoint")?;
    if required(request, "Protocol")? != "sqs" || !endpoint.starts_with("arn:aws:sqs:") {
        return Err(invalid("only the sqs protocol is simulated"));
    }
    let raw = entries(request, "Attributes")
        .iter()
        .any(|(key, value)| key == "RawMessageDelivery" && value == "true");
    let arn = format!("{topic_arn}:{}", world.ids.uuid());
    let topic = owned(world, call, &topic_arn)?;
    let existing = topic.subscriptions.iter().find(|one| one.queue == endpoint);
    let arn = existing.map_or(arn, |one| one.arn.clone());
    if existing.is_none() {
        topic.subscriptions.push(Subscription {
            arn: arn.clone(),
            queue: endpoint.to_owned(),
            raw,
        });
    }
    let mut xml = Xml::new();
    xml.text("SubscriptionArn", arn);
    Ok(xml.into())
}

fn find<'a>(
    world: &'a mut World,
    request: &QueryRequest,
) -> Result<&'a mut Subscription, AwsError> {
    let arn = required(request, "SubscriptionArn")?;
    world
        .messaging
        .topics
        .values_mut()
        .flat_map(|topic| &mut topic.subscriptions)
        .find(|one| one.arn == arn)
        .ok_or_else(|| AwsError::new(404, "NotFound", "Subscription does not exist"))
}

fn unsubscribe(world: &mut World, request: &QueryRequest) -> Result<QueryReply, AwsError> {
    let arn = required(request, "SubscriptionArn")?;
    for topic in world.messaging.topics.values_mut() {
        topic.subscriptions.retain(|one| one.arn != arn);
    }
    Ok(QueryReply::NoResult)
}

fn list_subscriptions(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let arn = required(request, "TopicArn")?.to_owned();
    let topic = owned(world, call, &arn)?;
    let owner = topic.owner;
    let mut xml = Xml::new();
    xml.list("Subscriptions", &topic.subscriptions, |xml, one| {
        xml.text("SubscriptionArn", &one.arn)
            .text("Owner", owner)
            .text("Protocol", "sqs")
            .text("Endpoint", &one.queue)
            .text("TopicArn", &arn);
    });
    Ok(xml.into())
}

fn subscription_attributes(
    world: &mut World,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let one = find(world, request)?;
    let attributes = [
        ("SubscriptionArn".to_owned(), one.arn.clone()),
        ("Protocol".to_owned(), "sqs".to_owned()),
        ("Endpoint".to_owned(), one.queue.clone()),
        ("RawMessageDelivery".to_owned(), one.raw.to_string()),
        ("PendingConfirmation".to_owned(), "false".to_owned()),
    ];
    let mut xml = Xml::new();
    map(&mut xml, attributes);
    Ok(xml.into())
}

fn set_subscription_attribute(
    world: &mut World,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let raw = request.get("AttributeValue") == Some("true");
    if required(request, "AttributeName")? != "RawMessageDelivery" {
        return Err(invalid("only RawMessageDelivery is simulated"));
    }
    find(world, request)?.raw = raw;
    Ok(QueryReply::NoResult)
}
