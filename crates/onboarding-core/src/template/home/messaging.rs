//! The topic, the queues, and who may put something into them.

use serde_json::{Value, json};

use super::{
    HomeSpec, encryption,
    policy::{allow, document, service},
    resource, retained,
};
use crate::template::{
    Resource,
    parts::{attribute, reference},
};

/// The logical id of the topic in the stack of the home Region.
pub const TOPIC_LOGICAL_ID: &str = "Topic";

/// How long a received message stays hidden before somebody else gets it, in seconds. The runner extends it; a function's own timeout
/// must not be longer (Lambda developer guide, "Configuring an Amazon SQS queue"), and is 15 minutes at most.
pub(super) const VISIBILITY: u32 = 900;

/// How often a message is received before it is put aside.
const RECEIVES: u32 = 5;

/// How long messages wait, in seconds: a request is answered within an hour or never, so a day is long; what was put
/// aside stays as long as SQS keeps anything.
const RETENTION: u32 = 86_400;
const LONGEST_RETENTION: u32 = 14 * 86_400;

/// The queues, by logical id and by the ending of their name.
pub(super) const QUEUE: (&str, &str) = ("Queue", "");
pub(super) const WAKE_UP: (&str, &str) = ("WakeUpQueue", "-wake-up");
const DEAD: (&str, &str) = ("DeadLetters", "-dlq");
const WAKE_UP_DEAD: (&str, &str) = ("WakeUpDeadLetters", "-wake-up-dlq");
const UNDELIVERED: (&str, &str) = ("Undelivered", "-undelivered");

/// The name of the wake-up queue that goes with a topic.
#[must_use]
pub fn wake_up_queue_name(topic_name: &str) -> String {
    format!("{topic_name}{}", WAKE_UP.1)
}

/// What the names of the provider's queue and of those with its dead letters end with.
pub(crate) const PROVIDER_QUEUE_ENDINGS: [&str; 3] = [QUEUE.1, DEAD.1, UNDELIVERED.1];

/// The queues in which something ends that nobody could deal with.
pub(super) const DEAD_ENDS: [(&str, &str); 3] = [DEAD, WAKE_UP_DEAD, UNDELIVERED];

/// Who may publish: the roles that CloudFormation StackSets works with, in accounts of the organization. Custom resources
/// are sent by the stack's own principal, not by a service.
pub(super) fn callers(spec: &HomeSpec) -> Value {
    let role = format!("arn:{}:iam::*:role/stacksets-exec-*", spec.partition());
    json!({
        "StringEquals": {"aws:PrincipalOrgID": spec.organization.as_str()},
        "ArnLike": {"aws:PrincipalArn": role},
    })
}

pub(super) fn resources(spec: &HomeSpec, rules: &[Resource]) -> Vec<Resource> {
    let mut topic = resource(
        TOPIC_LOGICAL_ID,
        "AWS::SNS::Topic",
        [("TopicName", spec.topic.name().into())],
    );
    add(&mut topic, encryption::of_topic(spec));
    let topic_policy = resource(
        "TopicPolicy",
        "AWS::SNS::TopicPolicy",
        [
            ("Topics", json!([reference(TOPIC_LOGICAL_ID)])),
            (
                "PolicyDocument",
                document(vec![allow(
                    "Stacks",
                    "*".into(),
                    &["sns:Publish"],
                    reference(TOPIC_LOGICAL_ID),
                    Some(callers(spec)),
                )]),
            ),
        ],
    );
    let mut subscription = resource(
        "Subscription",
        "AWS::SNS::Subscription",
        [
            ("TopicArn", reference(TOPIC_LOGICAL_ID)),
            ("Protocol", "sqs".into()),
            ("Endpoint", attribute(QUEUE.0, "Arn")),
            (
                "RedrivePolicy",
                json!({"deadLetterTargetArn": attribute(UNDELIVERED.0, "Arn")}),
            ),
        ],
    );
    // SNS would deliver nothing in between.
    subscription.depends_on = vec!["QueuePolicy".to_owned(), "UndeliveredPolicy".to_owned()];
    let from_topic = || json!({"ArnEquals": {"aws:SourceArn": reference(TOPIC_LOGICAL_ID)}});
    let rule_arns: Vec<Value> = rules
        .iter()
        .map(|rule| attribute(&rule.logical_id, "Arn"))
        .collect();
    vec![
        retained(topic),
        retained(topic_policy),
        dead_end(spec, DEAD),
        dead_end(spec, UNDELIVERED),
        dead_end(spec, WAKE_UP_DEAD),
        retained(queue(spec, QUEUE, DEAD)),
        queue(spec, WAKE_UP, WAKE_UP_DEAD),
        retained(sent_by(QUEUE, "sns.amazonaws.com", from_topic())),
        sent_by(UNDELIVERED, "sns.amazonaws.com", from_topic()),
        sent_by(
            WAKE_UP,
            "events.amazonaws.com",
            json!({"ArnEquals": {"aws:SourceArn": rule_arns}}),
        ),
        retained(subscription),
    ]
}

fn queue(spec: &HomeSpec, (logical_id, ending): (&str, &str), dead: (&str, &str)) -> Resource {
    let mut queue = resource(
        logical_id,
        "AWS::SQS::Queue",
        [
            ("QueueName", format!("{}{ending}", spec.topic.name()).into()),
            ("VisibilityTimeout", VISIBILITY.into()),
            ("MessageRetentionPeriod", RETENTION.into()),
            (
                "RedrivePolicy",
                json!({"deadLetterTargetArn": attribute(dead.0, "Arn"), "maxReceiveCount": RECEIVES}),
            ),
        ],
    );
    add(&mut queue, encryption::of_queue(spec));
    queue
}

fn dead_end(spec: &HomeSpec, (logical_id, ending): (&str, &str)) -> Resource {
    let mut queue = resource(
        logical_id,
        "AWS::SQS::Queue",
        [
            ("QueueName", format!("{}{ending}", spec.topic.name()).into()),
            ("MessageRetentionPeriod", LONGEST_RETENTION.into()),
        ],
    );
    add(&mut queue, encryption::of_queue(spec));
    // What is kept needs where it sends what it gives up.
    Resource {
        retained: logical_id != WAKE_UP_DEAD.0,
        ..queue
    }
}

/// The policy of a queue that a service sends to, for its own sources.
fn sent_by((queue, _): (&str, &str), sender: &str, source: Value) -> Resource {
    let policy = document(vec![allow(
        "Send",
        service(sender),
        &["sqs:SendMessage"],
        attribute(queue, "Arn"),
        Some(source),
    )]);
    let mut resource = resource(
        &format!("{queue}Policy"),
        "AWS::SQS::QueuePolicy",
        [
            ("Queues", json!([reference(queue)])),
            ("PolicyDocument", policy),
        ],
    );
    resource.retained = queue == UNDELIVERED.0;
    resource
}

fn add(resource: &mut Resource, properties: Vec<(&'static str, Value)>) {
    let properties = properties.into_iter();
    resource
        .properties
        .extend(properties.map(|(name, value)| (name.to_owned(), value)));
}
