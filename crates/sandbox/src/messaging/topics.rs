//! Topics, and what publishing to one does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Event;
use crate::caller::{Caller, Identity};
use crate::iam;
use crate::iam::document::{Decision, Principal, Request, evaluate};
use crate::ids::AccountId;
use crate::timers;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Largest message, in bytes (SNS quotas).
const MAX_BYTES: usize = 262_144;

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) owner: AccountId,
    pub(super) policy: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) subscriptions: Vec<Subscription>,
}

/// A queue that gets what is published.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) arn: String,
    pub(super) queue: String,
    /// The message alone, without SNS's envelope.
    pub(super) raw: bool,
}

impl Topic {
    pub(super) fn new(owner: AccountId) -> Self {
        Self {
            owner,
            policy: None,
            attributes: BTreeMap::new(),
            subscriptions: Vec::new(),
        }
    }
}

/// A topic that does not exist.
pub(super) fn not_found() -> AwsError {
    AwsError::new(404, "NotFound", "Topic does not exist")
}

/// Asks whether a caller may use somebody's resource that has a policy: the owner by its own
/// permissions, others only when the policy allows it too.
pub(super) fn allowed(
    world: &World,
    caller: &Caller,
    (owner, policy): (AccountId, Option<&str>),
    action: &str,
    arn: &str,
) -> bool {
    if iam::authorize(world, caller, action, arn).is_err() {
        return false;
    }
    let role_arn = match &caller.identity {
        Identity::Role(name) => format!("arn:aws:iam::{}:role/{name}", caller.account),
        Identity::Administrator => of_session(&caller.arn),
    };
    let organization = &world.organization;
    let member = organization.account(caller.account).is_some();
    let account = caller.account.to_string();
    let mut context = vec![
        ("aws:PrincipalAccount", account.as_str()),
        ("aws:PrincipalArn", role_arn.as_str()),
    ];
    if member {
        context.push(("aws:PrincipalOrgID", organization.id.as_str()));
    }
    let request = Request {
        principal: Principal::Aws {
            account: caller.account,
            arns: &[&caller.arn, &role_arn],
        },
        action,
        resource: arn,
        context: &context,
    };
    match policy.map_or(Decision::Silent, |policy| evaluate(policy, &request)) {
        Decision::Allow => true,
        Decision::Deny => false,
        Decision::Silent => caller.account == owner,
    }
}

/// The ARN of the role whose session this is (what `aws:PrincipalArn` has), or the ARN as it is.
fn of_session(arn: &str) -> String {
    let role = arn
        .split_once(":assumed-role/")
        .and_then(|(before, name)| Some((before, name.split('/').next()?)));
    match role {
        Some((before, name)) => format!("{}:role/{name}", before.replace(":sts:", ":iam:")),
        None => arn.to_owned(),
    }
}

/// What is published.
pub(crate) struct Published<'a> {
    pub(crate) subject: Option<&'a str>,
    pub(crate) message: &'a str,
    /// By name, with type and value. What is delivered raw has none of them here.
    pub(crate) attributes: Map<String, Value>,
}

/// Publishes to a topic; returns the message's id. That the message was accepted says nothing about
/// whether anybody gets it.
///
/// # Errors
/// `NotFound`/404, `AuthorizationError`/403, `InvalidParameter`/400 for a message over 256 KiB.
pub(crate) fn publish(
    world: &mut World,
    caller: &Caller,
    arn: &str,
    Published {
        subject,
        message,
        attributes,
    }: &Published<'_>,
) -> Result<String, AwsError> {
    let topic = world.messaging.topics.get(arn).ok_or_else(not_found)?;
    if !allowed(
        world,
        caller,
        (topic.owner, topic.policy.as_deref()),
        "SNS:Publish",
        arn,
    ) {
        return Err(AwsError::new(
            403,
            "AuthorizationError",
            format!(
                "User: {} is not authorized to perform: SNS:Publish on resource: {arn} because no resource-based policy allows the SNS:Publish action",
                caller.arn
            ),
        ));
    }
    if message.is_empty() {
        return Err(AwsError::new(
            400,
            "InvalidParameter",
            "Invalid parameter: Empty message",
        ));
    }
    if message.len() > MAX_BYTES {
        return Err(AwsError::new(
            400,
            "InvalidParameter",
            "Invalid parameter: Message too long",
        ));
    }
    let id = world.ids.uuid_text();
    let now = world.now();
    let mut deliveries = Vec::new();
    for subscription in &world.messaging.topics[arn].subscriptions {
        let body = if subscription.raw {
            (*message).to_owned()
        } else {
            let mut envelope = json!({
                "Type": "Notification",
                "MessageId": id,
                "TopicArn": arn,
                "Message": message,
                "Timestamp": now.to_string(),
                "SignatureVersion": "1",
                "Signature": "EXAMPLE",
                "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000000000000000000000.pem",
                "UnsubscribeURL": format!("{}/?Action=Unsubscribe&SubscriptionArn={}", world.endpoint, subscription.arn),
            });
            if let Some(subject) = subject {
                envelope["Subject"] = (*subject).into();
            }
            if !attributes.is_empty() {
                envelope["MessageAttributes"] = attributes.clone().into();
            }
            envelope.to_string()
        };
        deliveries.push((subscription.queue.clone(), body));
    }
    for (queue, body) in deliveries {
        if !queue_accepts(world, &queue, ("sns.amazonaws.com", arn)) {
            continue;
        }
        let times = if world.ids.chance(world.scenario.messaging.duplicates) {
            2
        } else {
            1
        };
        for _ in 0..times {
            let event = Event::Deliver {
                queue: queue.clone(),
                message_id: world.ids.uuid_text(),
                body: body.clone(),
            };
            let delay = world.scenario.messaging.delivery;
            world.schedule(delay, timers::Event::Messaging(event));
        }
    }
    Ok(id)
}

/// Whether a queue's policy lets a service send for one of its sources: SNS for a topic, EventBridge for a rule.
pub(super) fn queue_accepts(world: &World, queue: &str, (service, source): (&str, &str)) -> bool {
    let Some(policy) = world
        .messaging
        .queues
        .get(queue)
        .and_then(|queue| queue.get("Policy"))
    else {
        return false;
    };
    let owner = source.split(':').nth(4).unwrap_or_default();
    let request = Request {
        principal: Principal::Service(service),
        action: "sqs:SendMessage",
        resource: queue,
        context: &[("aws:SourceArn", source), ("aws:SourceAccount", owner)],
    };
    evaluate(policy, &request) == Decision::Allow
}
