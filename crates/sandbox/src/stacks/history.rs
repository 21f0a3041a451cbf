//! Changes of status, written to the stack's history as they happen.

use std::sync::Arc;

use super::model::{Resource, Stack, StackEvent, StackKey, Status};
use crate::clock::SimTime;
use crate::world::World;

/// How many stacks keep their whole history. It is most of what a stack weighs.
const WHOLE_HISTORIES: usize = 10_000;

/// A stack has come to rest. Of those that did so long ago, only what happened to the stack itself and
/// what failed is remembered.
pub(super) fn settled(world: &mut World, key: StackKey) {
    let stacks = &mut world.stacks;
    stacks[key].events.shrink_to_fit();
    stacks.settled.push_back(key);
    if stacks.settled.len() <= WHOLE_HISTORIES {
        return;
    }
    if let Some(oldest) = stacks.settled.pop_front() {
        let events = &mut stacks[oldest].events;
        events.retain(|event| event.logical_id.is_none() || event.reason.is_some());
        events.shrink_to_fit();
    }
}

impl Stack {
    /// Gives the stack a status.
    pub(crate) fn set_status(&mut self, now: SimTime, status: Status, reason: Option<String>) {
        let reason: Option<Arc<str>> = reason.map(Arc::from);
        self.status = status;
        self.reason.clone_from(&reason);
        self.events.push(StackEvent {
            at: now,
            logical_id: None,
            status,
            reason,
        });
    }

    /// Gives a resource a status, adding the resource when the stack does not have it yet.
    pub(crate) fn set_resource_status(
        &mut self,
        now: SimTime,
        (logical_id, kind): (&Arc<str>, &Arc<str>),
        status: Status,
        reason: Option<&str>,
    ) {
        let reason: Option<Arc<str>> = reason.map(Arc::from);
        match self.position(logical_id) {
            Some(index) => {
                let resource = &mut self.resources[index];
                resource.status = status;
                resource.reason.clone_from(&reason);
                resource.changed = now;
            }
            None => self.resources.push(Resource {
                logical_id: logical_id.clone(),
                kind: kind.clone(),
                physical_id: Box::default(),
                status,
                reason: reason.clone(),
                attributes: Box::default(),
                changed: now,
            }),
        }
        self.events.push(StackEvent {
            at: now,
            logical_id: Some(logical_id.clone()),
            status,
            reason,
        });
    }
}
