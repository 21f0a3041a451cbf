//! SNS topics and SQS queues: as far as a custom-resource provider behind a queue needs them.
//!
//! Topic and queue policies are evaluated. SNS delivers to SQS as the service `sns.amazonaws.com`, so a
//! queue policy that asks for the organization's id lets nothing in. Deliveries are at least once
//! and may overtake each other, with the scenario's probabilities.

mod messages;
pub(crate) mod provisioned;
mod queues;
mod sns;
mod sqs;
mod topics;

use serde_json::json;

pub(crate) use sns::handle as handle_sns;
pub(crate) use sqs::handle as handle_sqs;
pub(crate) use topics::{Published, publish};

use queues::Queue;
use topics::{Subscription, Topic};

use crate::timers;
use crate::world::World;

/// All topics and queues, by ARN.
#[derive(Debug, Default)]
pub(crate) struct Messaging {
    topics: std::collections::BTreeMap<String, Topic>,
    queues: std::collections::BTreeMap<String, Queue>,
}

/// What happens to messages by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message reaches a queue.
    Deliver {
        /// The queue's ARN.
        queue: String,
        /// The message's id.
        message_id: String,
        /// Its body.
        body: String,
    },
    /// A received message that was not deleted becomes visible again.
    Visible {
        /// The queue's ARN.
        queue: String,
        /// The message.
        sequence: u64,
        /// The receipt that has run out.
        receipt: String,
    },
}

/// Continues what an event is about.
pub(crate) fn on_event(world: &mut World, event: Event) {
    match event {
        Event::Deliver {
            queue,
            message_id,
            body,
        } => {
            queues::enqueue(world, &queue, &message_id, &body);
        }
        Event::Visible {
            queue,
            sequence,
            receipt,
        } => {
            let now = world.now();
            if let Some(queue) = world.messaging.queues.get_mut(&queue) {
                queue.expire(now, sequence, &receipt);
            }
        }
    }
}

/// Sends a message as a service, for one of its sources; a queue whose policy does not let it gets nothing.
pub(crate) fn send_for_service(
    world: &mut World,
    (service, source): (&str, &str),
    queue: &str,
    body: &str,
) {
    if !topics::queue_accepts(world, queue, (service, source)) {
        return;
    }
    let event = Event::Deliver {
        queue: queue.to_owned(),
        message_id: world.ids.uuid_text(),
        body: body.to_owned(),
    };
    world.schedule(crate::scenario::ZERO, timers::Event::Messaging(event));
}

/// Makes the provider's topic and queues when the scenario wants them.
pub(crate) fn set_up(world: &mut World) {
    if !world.scenario.provider.enabled {
        return;
    }
    let region = world.scenario.region.clone();
    let name = world.scenario.provider.name.clone();
    let account = world.organization.management;
    let topic_arn = format!("arn:aws:sns:{region}:{account}:{name}");
    let queue_arn = format!("arn:aws:sqs:{region}:{account}:{name}");
    let dead_arn = format!("{queue_arn}-dlq");
    let mut dead = Queue::new(account, &region, &format!("{name}-dlq"));
    dead.set("MessageRetentionPeriod", "1209600");
    let mut queue = Queue::new(account, &region, &name);
    queue.set("VisibilityTimeout", "300");
    queue.set(
        "RedrivePolicy",
        &json!({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 5}).to_string(),
    );
    queue.set(
        "Policy",
        &json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue_arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }]})
        .to_string(),
    );
    let mut topic = Topic::new(account);
    topic.policy = Some(
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": topic_arn,
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": world.organization.id}},
        }]})
        .to_string(),
    );
    topic.subscriptions.push(Subscription {
        arn: format!("{topic_arn}:{}", world.ids.uuid()),
        queue: queue_arn.clone(),
        raw: false,
    });
    world.messaging.topics.insert(topic_arn, topic);
    world.messaging.queues.insert(queue_arn, queue);
    world.messaging.queues.insert(dead_arn, dead);
}
