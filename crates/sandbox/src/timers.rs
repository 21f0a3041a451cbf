//! The queue of things that will happen: events ordered by simulated time.
//!
//! An event that is no longer wanted is ignored by the module it belongs to; one that makes many of
//! those takes them out from time to time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::sync::watch;

use crate::clock::SimTime;
use crate::{config_service, events, messaging, organizations, stack_sets, stacks};

/// Something that happens by itself at a simulated moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// For [`organizations::on_event`].
    Organizations(organizations::Event),
    /// For [`stack_sets::on_event`].
    StackSets(stack_sets::Event),
    /// For [`stacks::on_event`].
    Stacks(stacks::Event),
    /// For [`messaging::on_event`].
    Messaging(messaging::Event),
    /// For [`config_service::on_event`].
    Config(config_service::Event),
    /// For [`events::on_event`].
    Events(events::Event),
}

/// Pending events; the earliest first, equal times in the order they were scheduled.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Entry {
    at: SimTime,
    sequence: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
            changed: watch::Sender::new(()),
        }
    }

    /// Adds an event and wakes the task that waits for the earliest one.
    pub(crate) fn push(&mut self, at: SimTime, event: Event) {
        let earliest = self.next();
        self.sequence += 1;
        self.heap.push(Reverse(Entry {
            at,
            sequence: self.sequence,
            event,
        }));
        if earliest.is_none_or(|next| at < next) {
            self.changed.send_replace(());
        }
    }

    /// When the earliest event is due.
    pub(crate) fn next(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the earliest event if it is due.
    pub(crate) fn pop_due(&mut self, now: SimTime) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }

    /// Takes out the events that are not wanted any more.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&Event) -> bool) {
        self.heap.retain(|Reverse(entry)| wanted(&entry.event));
        self.heap.shrink_to_fit();
    }

    /// How many events are pending.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Makes whoever waits for the earliest event look again: the clock has changed.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Tells when an event became the earliest.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
