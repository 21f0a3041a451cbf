//! Amazon EventBridge: the default event bus of each account and Region, the rules that stacks make on it, and the events that
//! services put there.
//!
//! A rule sends to queues whose policy lets it, and to the default event bus of another Region of its account. What services tell is
//! delivered at best effort: an event may be lost, late, or come twice, as the scenario says. Without rules nothing is even written.

mod cloudtrail;
mod pattern;
pub(crate) mod provisioned;
mod stack_sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use cloudtrail::{
    account_closed, account_created, account_joined, account_left, called, creation_failed,
};
pub(crate) use stack_sets::{heard_stack, instance_changed, operation_changed, stack_set_changed};

use crate::clock::SimTime;
use crate::ids::{AccountId, Ids};
use crate::messaging;
use crate::timers;
use crate::world::World;

/// The rules of all accounts, by ARN.
#[derive(Debug)]
pub(crate) struct Events {
    rules: BTreeMap<String, Rule>,
    /// A stream of its own: what is generated elsewhere is the same with and without rules.
    ids: Ids,
}

/// A rule on the default event bus of its account and Region.
#[derive(Debug)]
struct Rule {
    account: AccountId,
    region: String,
    pattern: Value,
    is_enabled: bool,
    /// The ARNs of its targets.
    targets: Vec<String>,
}

/// What happens to events by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// An event reaches the default event bus of an account and Region.
    Arrive {
        /// The account.
        account: AccountId,
        /// The Region.
        region: String,
        /// The event.
        event: Arc<Value>,
    },
}

impl Events {
    /// No rules yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rules: BTreeMap::new(),
            ids: Ids::new(seed, "events"),
        }
    }
}

/// Continues what an event is about: sends it where the rules of its bus say.
pub(crate) fn on_event(world: &mut World, event: Event) {
    let Event::Arrive {
        account,
        region,
        event,
    } = event;
    let matching = |rule: &Rule| {
        rule.is_enabled
            && rule.account == account
            && rule.region == region
            && pattern::matches(&rule.pattern, &event)
    };
    let rules = world.events.rules.iter();
    let deliveries: Vec<(String, String)> = rules
        .filter(|(_, rule)| matching(rule))
        .flat_map(|(arn, rule)| {
            rule.targets
                .iter()
                .map(|target| (arn.clone(), target.clone()))
        })
        .collect();
    for (rule, target) in deliveries {
        let parts: Vec<&str> = target.split(':').collect();
        match parts[..] {
            [_, _, "sqs", ..] => {
                messaging::send_for_service(
                    world,
                    ("events.amazonaws.com", &rule),
                    &target,
                    &event.to_string(),
                );
            }
            // Of another account nothing is simulated.
            [_, _, "events", other, owner, "event-bus/default"]
                if other != region && owner == account.to_string() =>
            {
                let event = Event::Arrive {
                    account,
                    region: other.to_owned(),
                    event: Arc::clone(&event),
                };
                world.schedule(crate::scenario::ZERO, timers::Event::Events(event));
            }
            _ => {}
        }
    }
}

/// Where an event is put: an account's default bus in a Region.
struct Place<'a> {
    account: AccountId,
    region: &'a str,
}

/// What a service puts on a bus.
struct New {
    source: &'static str,
    detail_type: &'static str,
    resources: Vec<String>,
    detail: Value,
}

/// Whether nobody could hear of anything.
fn is_deaf(world: &World) -> bool {
    world.events.rules.is_empty()
}

/// A service tells what has happened: once, not at all, or twice.
fn put(world: &mut World, place: &Place<'_>, new: New) {
    let scenario = &world.scenario.events;
    let (lost, duplicates, delivery) = (scenario.lost, scenario.duplicates, scenario.delivery);
    let ids = &mut world.events.ids;
    if ids.chance(lost) {
        return;
    }
    let times = if ids.chance(duplicates) { 2 } else { 1 };
    let id = ids.uuid_text();
    let event = Arc::new(json!({
        "version": "0",
        "id": id,
        "detail-type": new.detail_type,
        "source": new.source,
        "account": place.account.to_string(),
        "time": seconds(world.now()),
        "region": place.region,
        "resources": new.resources,
        "detail": new.detail,
    }));
    for _ in 0..times {
        let event = Event::Arrive {
            account: place.account,
            region: place.region.to_owned(),
            event: Arc::clone(&event),
        };
        world.schedule(delivery, timers::Event::Events(event));
    }
}

/// A moment as events have it: whole seconds, in UTC.
fn seconds(moment: SimTime) -> String {
    let text = moment.to_string();
    format!("{}Z", text.get(..19).unwrap_or_default())
}
