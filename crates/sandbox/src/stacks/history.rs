//! Changes of status, written to the stack's history as they happen.

use std::sync::Arc;

use super::model::{Resource, Stack, StackEvent, Status};
use crate::clock::SimTime;

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
