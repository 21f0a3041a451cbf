//! What CloudFormation does with topics and queues, as the account that they belong to.

use super::queues::Queue;
use super::topics::{Subscription, Topic, not_found};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

fn exists(what: &str) -> AwsError {
    AwsError::new(400, "EntityAlreadyExists", format!("{what} already exists"))
}

/// Creates a topic; returns its ARN. Unlike the API, CloudFormation refuses a name that is taken.
pub(crate) fn create_topic(
    world: &mut World,
    account: AccountId,
    region: &str,
    name: &str,
) -> Result<String, AwsError> {
    let arn = format!("arn:aws:sns:{region}:{account}:{name}");
    if world.messaging.topics.contains_key(&arn) {
        return Err(exists(name));
    }
    let topic = Topic::new(account);
    world.messaging.topics.insert(arn.clone(), topic);
    Ok(arn)
}

/// Sets attributes of a topic.
pub(crate) fn set_topic(world: &mut World, arn: &str, attributes: &[(&str, String)]) {
    if let Some(topic) = world.messaging.topics.get_mut(arn) {
        for (name, value) in attributes {
            topic.attributes.insert((*name).to_owned(), value.clone());
        }
    }
}

/// Gives a topic a policy; an empty one takes it away.
pub(crate) fn set_topic_policy(world: &mut World, arn: &str, policy: &str) {
    if let Some(topic) = world.messaging.topics.get_mut(arn) {
        topic.policy = (!policy.is_empty()).then(|| policy.to_owned());
    }
}

/// Deletes a topic with its subscriptions.
pub(crate) fn delete_topic(world: &mut World, arn: &str) {
    world.messaging.topics.remove(arn);
}

/// Subscribes a queue; returns the subscription's ARN.
pub(crate) fn subscribe(
    world: &mut World,
    topic: &str,
    queue: &str,
    raw: bool,
) -> Result<String, AwsError> {
    let arn = format!("{topic}:{}", world.ids.uuid());
    let topic = world
        .messaging
        .topics
        .get_mut(topic)
        .ok_or_else(not_found)?;
    topic.subscriptions.push(Subscription {
        arn: arn.clone(),
        queue: queue.to_owned(),
        raw,
    });
    Ok(arn)
}

/// Ends a subscription.
pub(crate) fn unsubscribe(world: &mut World, arn: &str) {
    for topic in world.messaging.topics.values_mut() {
        topic.subscriptions.retain(|one| one.arn != arn);
    }
}

/// Creates a queue; returns its ARN.
pub(crate) fn create_queue(
    world: &mut World,
    account: AccountId,
    region: &str,
    name: &str,
) -> Result<String, AwsError> {
    let queue = Queue::new(account, region, name);
    let arn = queue.arn();
    if world.messaging.queues.contains_key(&arn) {
        return Err(exists(name));
    }
    world.messaging.queues.insert(arn.clone(), queue);
    Ok(arn)
}

/// Sets attributes of a queue; an empty policy takes it away.
pub(crate) fn set_queue(world: &mut World, arn: &str, attributes: &[(&str, String)]) {
    if let Some(queue) = world.messaging.queues.get_mut(arn) {
        for (name, value) in attributes {
            queue.set(name, value);
        }
    }
}

/// Deletes a queue with what is in it.
pub(crate) fn delete_queue(world: &mut World, arn: &str) {
    world.messaging.queues.remove(arn);
}
