//! Queues: what is in them, what is in flight, and what became too much and went to the dead-letter queue.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::Event;
use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::timers;
use crate::world::World;

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) sent: SimTime,
    pub(super) first_received: Option<SimTime>,
    pub(super) receive_count: u32,
    receipt: Option<String>,
    hidden_until: SimTime,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) account: AccountId,
    pub(super) region: String,
    pub(super) name: String,
    attributes: BTreeMap<String, String>,
    messages: HashMap<u64, Message>,
    ready: VecDeque<u64>,
    receipts: HashMap<String, u64>,
    next: u64,
    changed: watch::Sender<()>,
}

impl Queue {
    pub(super) fn new(account: AccountId, region: &str, name: &str) -> Self {
        let attributes = [
            ("DelaySeconds", "0"),
            ("MaximumMessageSize", "262144"),
            ("MessageRetentionPeriod", "345600"),
            ("ReceiveMessageWaitTimeSeconds", "0"),
            ("SqsManagedSseEnabled", "true"),
            ("VisibilityTimeout", "30"),
        ];
        Self {
            account,
            region: region.to_owned(),
            name: name.to_owned(),
            attributes: attributes
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            messages: HashMap::new(),
            ready: VecDeque::new(),
            receipts: HashMap::new(),
            next: 0,
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:sqs:{}:{}:{}", self.region, self.account, self.name)
    }

    pub(super) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }

    /// Sets an attribute; an empty policy removes it.
    pub(super) fn set(&mut self, attribute: &str, value: &str) {
        if value.is_empty() {
            self.attributes.remove(attribute);
        } else {
            self.attributes
                .insert(attribute.to_owned(), value.to_owned());
        }
    }

    pub(super) fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    pub(super) fn seconds(&self, attribute: &str) -> u64 {
        self.get(attribute)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    /// Messages that wait, and messages in flight.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.ready.len(), self.receipts.len())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn put(&mut self, message: Message, place: Option<usize>) {
        let sequence = self.next;
        self.next += 1;
        self.messages.insert(sequence, message);
        match place {
            Some(place) => self.ready.insert(place.min(self.ready.len()), sequence),
            None => self.ready.push_back(sequence),
        }
        self.changed.send_replace(());
    }

    /// A receipt has run out: the message is there again unless it was deleted or received anew.
    pub(super) fn expire(&mut self, now: SimTime, sequence: u64, receipt: &str) {
        let current = self.messages.get_mut(&sequence);
        let due =
            |one: &&mut Message| one.receipt.as_deref() == Some(receipt) && one.hidden_until <= now;
        if let Some(message) = current.filter(due) {
            message.receipt = None;
            self.receipts.remove(receipt);
            self.ready.push_back(sequence);
            self.changed.send_replace(());
        }
    }

    /// Deletes what a receipt stands for. Deleting twice is fine; so is a receipt that has run out.
    pub(super) fn delete(&mut self, receipt: &str) {
        if let Some(sequence) = self.receipts.remove(receipt) {
            self.messages.remove(&sequence);
        }
    }

    /// The message behind a receipt that is in flight.
    pub(super) fn in_flight(&self, receipt: &str) -> Option<u64> {
        self.receipts.get(receipt).copied()
    }

    pub(super) fn purge(&mut self) {
        self.messages.clear();
        self.ready.clear();
        self.receipts.clear();
    }

    fn dead_letters(&self) -> Option<(String, u32)> {
        let policy: Value = serde_json::from_str(self.get("RedrivePolicy")?).ok()?;
        let count = &policy["maxReceiveCount"];
        let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
        Some((
            policy["deadLetterTargetArn"].as_str()?.to_owned(),
            u32::try_from(count).ok()?,
        ))
    }
}

/// Puts a message into a queue, perhaps ahead of others.
pub(super) fn enqueue(world: &mut World, arn: &str, message_id: &str, body: &str) {
    let now = world.now();
    let overtakes = world.ids.chance(world.scenario.messaging.reordered);
    let waiting = world
        .messaging
        .queues
        .get(arn)
        .map_or(0, |queue| queue.counts().0);
    let place = overtakes.then(|| world.ids.below(waiting as u64 + 1) as usize);
    if let Some(queue) = world.messaging.queues.get_mut(arn) {
        let message = Message {
            id: message_id.to_owned(),
            body: body.to_owned(),
            sent: now,
            first_received: None,
            receive_count: 0,
            receipt: None,
            hidden_until: now,
        };
        queue.put(message, place);
    }
}

/// Takes up to `limit` messages out of sight; what was received too often goes to the dead-letter queue.
pub(super) fn receive(
    world: &mut World,
    arn: &str,
    limit: usize,
    visibility: Duration,
) -> Vec<(String, Message)> {
    let now = world.now();
    let mut received = Vec::new();
    while received.len() < limit {
        let receipt = format!("AQEB{}", world.ids.hex(48));
        let Some(queue) = world.messaging.queues.get_mut(arn) else {
            break;
        };
        let Some(sequence) = queue.ready.pop_front() else {
            break;
        };
        let dead_letters = queue.dead_letters();
        let Some(message) = queue.messages.get_mut(&sequence) else {
            continue;
        };
        if let Some((dead, limit)) = dead_letters
            && message.receive_count >= limit
        {
            let message = queue.messages.remove(&sequence);
            if let (Some(message), Some(dead)) = (message, world.messaging.queues.get_mut(&dead)) {
                dead.put(
                    Message {
                        receive_count: 0,
                        first_received: None,
                        ..message
                    },
                    None,
                );
            }
            continue;
        }
        message.receive_count += 1;
        message.first_received.get_or_insert(now);
        message.receipt = Some(receipt.clone());
        let copy = message.clone();
        queue.receipts.insert(receipt.clone(), sequence);
        hide(world, arn, sequence, &receipt, visibility);
        received.push((receipt, copy));
    }
    received
}

/// Makes a received message visible again after a while, counted from now.
pub(super) fn hide(
    world: &mut World,
    arn: &str,
    sequence: u64,
    receipt: &str,
    visibility: Duration,
) {
    let until = world.now() + visibility;
    if let Some(message) = world
        .messaging
        .queues
        .get_mut(arn)
        .and_then(|queue| queue.messages.get_mut(&sequence))
    {
        message.hidden_until = until;
    }
    let event = Event::Visible {
        queue: arn.to_owned(),
        sequence,
        receipt: receipt.to_owned(),
    };
    world.schedule(visibility, timers::Event::Messaging(event));
}
