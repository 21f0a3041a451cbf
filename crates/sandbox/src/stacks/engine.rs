//! What happens to a stack between a request and its end: stages of items, each item one resource.
//!
//! An item starts when all items that it depends on are done; independent ones go side by side. A
//! stage ends when nothing runs and nothing can start. A failed creation is removed; a failed update
//! is reverted by the same stage run with the generations swapped.

use std::mem;

use serde_json::Value;

use super::model::{Displaced, Failure, ItemState, Snapshot, StackKey, Stage, Status};
use super::scope::StackScope;
use super::{Event, custom, items, native, stages};
use crate::timers;
use crate::world::World;

/// What came of one item.
#[derive(Debug)]
pub(crate) enum Performed {
    /// The resource is as wanted.
    Done {
        /// Its physical id; unchanged when absent.
        physical_id: Option<String>,
        /// What `Fn::GetAtt` reads.
        attributes: Vec<(Box<str>, Value)>,
    },
    /// It is not.
    Failed {
        /// Why.
        reason: String,
        /// The id that a Delete must name.
        physical_id: Option<String>,
    },
    /// A provider has been asked; the answer comes later.
    Waiting,
}

impl Performed {
    /// A failure without a physical id.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            physical_id: None,
        }
    }
}

/// Begins the stage that the stack's status has just announced.
pub(super) fn begin(world: &mut World, key: StackKey, stage: Stage) {
    let stack = &mut world.stacks[key];
    let items = match stage {
        Stage::Forward | Stage::Revert => items::forward(stack),
        Stage::Cleanup => items::cleanup(stack),
        Stage::Remove => items::removal(stack),
    };
    stack.epoch += 1;
    if let Some(work) = stack.work.as_mut() {
        work.stage = stage;
        work.items = items;
    }
    advance(world, key);
}

/// Starts what can start; ends the stage when nothing runs any more.
pub(super) fn advance(world: &mut World, key: StackKey) {
    loop {
        let Some(work) = world.stacks[key].work.as_ref() else {
            return;
        };
        let forward = matches!(work.stage, Stage::Forward | Stage::Revert);
        let broken = forward
            && work
                .items
                .iter()
                .any(|item| item.state == ItemState::Failed);
        let next = work.items.iter().position(|item| {
            item.state == ItemState::Waiting
                && !broken
                && item
                    .after
                    .iter()
                    .all(|need| work.items[*need].state == ItemState::Done)
        });
        match next {
            Some(index) if forward => start_forward(world, key, index),
            Some(index) => start_removal(world, key, index),
            None if work
                .items
                .iter()
                .any(|item| item.state == ItemState::Running) =>
            {
                return;
            }
            None => return stages::end_stage(world, key),
        }
    }
}

fn set_state(world: &mut World, key: StackKey, index: usize, state: ItemState) {
    if let Some(work) = world.stacks[key].work.as_mut() {
        work.items[index].state = state;
    }
}

fn perform_later(world: &mut World, key: StackKey, index: usize) {
    set_state(world, key, index, ItemState::Running);
    let after = world.scenario.stack_sets.resource_time;
    let epoch = world.stacks[key].epoch;
    world.schedule(
        after,
        timers::Event::Stacks(Event::Perform { key, epoch, index }),
    );
}

fn start_forward(world: &mut World, key: StackKey, index: usize) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    let Some(work) = stack.work.as_ref() else {
        return;
    };
    let (logical_id, kind) = (
        work.items[index].logical_id.clone(),
        work.items[index].kind.clone(),
    );
    let exists = stack.position(&logical_id).is_some_and(|at| {
        let resource = &stack.resources[at];
        !resource.physical_id.is_empty() && resource.status != Status::DeleteComplete
    });
    let unchanged = if work.stage == Stage::Revert {
        !work.touched.contains(&logical_id)
    } else {
        exists && !differs(stack, &logical_id)
    };
    if unchanged {
        return set_state(world, key, index, ItemState::Done);
    }
    let status = if exists {
        Status::UpdateInProgress
    } else {
        Status::CreateInProgress
    };
    stack.set_resource_status(now, (&logical_id, &kind), status, None);
    if let Some(work) = stack.work.as_mut() {
        work.touched.push(logical_id);
    }
    perform_later(world, key, index);
}

/// Whether an update changes a resource: its properties, evaluated before and after, are not the same.
fn differs(stack: &super::Stack, logical_id: &str) -> bool {
    let (old, new) = (StackScope::previous(stack), StackScope::current(stack));
    let (Some(before), Some(after)) = (
        old.generation.template.resource(logical_id),
        new.generation.template.resource(logical_id),
    ) else {
        return true;
    };
    before.kind != after.kind
        || match (
            old.evaluate(&before.properties),
            new.evaluate(&after.properties),
        ) {
            (Ok(before), Ok(after)) => before != after,
            _ => true,
        }
}

fn start_removal(world: &mut World, key: StackKey, index: usize) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    let Some(work) = stack.work.as_ref() else {
        return;
    };
    let item = &work.items[index];
    let (logical_id, kind) = (item.logical_id.clone(), item.kind.clone());
    if item.retain {
        stack.set_resource_status(now, (&logical_id, &kind), Status::DeleteSkipped, None);
        return set_state(world, key, index, ItemState::Done);
    }
    if item.physical_id.is_empty() {
        stack.set_resource_status(now, (&logical_id, &kind), Status::DeleteComplete, None);
        return set_state(world, key, index, ItemState::Done);
    }
    stack.set_resource_status(now, (&logical_id, &kind), Status::DeleteInProgress, None);
    perform_later(world, key, index);
}

/// Does what a started item is about.
pub(super) fn perform(world: &mut World, key: StackKey, epoch: u32, index: usize) {
    let stack = &world.stacks[key];
    let Some(work) = stack.work.as_ref().filter(|_| stack.epoch == epoch) else {
        return;
    };
    let Some(item) = work.items.get(index) else {
        return;
    };
    let custom =
        item.kind.starts_with("Custom::") || &*item.kind == "AWS::CloudFormation::CustomResource";
    let performed = match work.stage {
        Stage::Forward | Stage::Revert if custom => custom::apply(world, key, index),
        Stage::Forward | Stage::Revert => native::apply(world, key, index),
        Stage::Cleanup | Stage::Remove if custom => custom::remove(world, key, index),
        Stage::Cleanup | Stage::Remove => native::remove(world, key, index),
    };
    settle(world, key, epoch, index, performed);
}

/// Takes note of what came of an item and goes on.
pub(super) fn settle(
    world: &mut World,
    key: StackKey,
    epoch: u32,
    index: usize,
    performed: Performed,
) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    let running = |work: &super::model::Work| {
        work.items
            .get(index)
            .is_some_and(|item| item.state == ItemState::Running)
    };
    let current = stack.epoch == epoch && stack.work.as_deref().is_some_and(running);
    if !current || matches!(performed, Performed::Waiting) {
        return;
    }
    let Some(mut work) = stack.work.take() else {
        return;
    };
    let forward = matches!(work.stage, Stage::Forward | Stage::Revert);
    let reverting = work.stage == Stage::Revert;
    let item = &mut work.items[index];
    let names = (item.logical_id.clone(), item.kind.clone());
    match performed {
        Performed::Waiting => {}
        Performed::Done {
            physical_id,
            attributes,
        } => {
            item.state = ItemState::Done;
            if !forward {
                stack.set_resource_status(now, (&names.0, &names.1), Status::DeleteComplete, None);
            } else if let Some(at) = stack.position(&names.0) {
                let resource = &mut stack.resources[at];
                let created = resource.status == Status::CreateInProgress;
                let attributes = attributes.into_boxed_slice();
                let old_attributes = mem::replace(&mut resource.attributes, attributes);
                if let Some(physical_id) = physical_id
                    && *resource.physical_id != *physical_id
                {
                    let old = mem::replace(&mut resource.physical_id, physical_id.into());
                    if !old.is_empty() {
                        work.displaced.push(Displaced {
                            logical_id: names.0.clone(),
                            kind: names.1.clone(),
                            physical_id: old,
                            attributes: old_attributes,
                            original: !reverting,
                        });
                    }
                }
                let status = if created {
                    Status::CreateComplete
                } else {
                    Status::UpdateComplete
                };
                stack.set_resource_status(now, (&names.0, &names.1), status, None);
            }
        }
        Performed::Failed {
            reason,
            physical_id,
        } => {
            item.state = ItemState::Failed;
            work.failure.get_or_insert_with(|| Failure {
                logical_id: names.0.clone(),
                kind: names.1.clone(),
                reason: reason.clone(),
            });
            let at = stack.position(&names.0);
            if let (true, Some(at), Some(physical_id)) = (forward, at, physical_id)
                && stack.resources[at].physical_id.is_empty()
            {
                stack.resources[at].physical_id = physical_id.into();
            }
            let status = match at.map(|at| stack.resources[at].status) {
                _ if !forward => Status::DeleteFailed,
                Some(Status::CreateInProgress) => Status::CreateFailed,
                _ => Status::UpdateFailed,
            };
            stack.set_resource_status(now, (&names.0, &names.1), status, Some(&reason));
        }
    }
    stack.work = Some(work);
    advance(world, key);
}

/// The state that an update must be able to return to.
pub(super) fn snapshot(stack: &super::Stack) -> Snapshot {
    Snapshot {
        generation: stack.generation.clone(),
        resources: stack.resources.clone(),
    }
}
