//! The ends of stages: what follows a stage, and what a stack is after the last.

use std::mem;

use super::engine::begin;
use super::model::{Action, ItemState, OnFailure, Outcome, StackKey, Stage, Status};
use super::{history, items};
use crate::stack_sets;
use crate::world::World;

/// Nothing of the stage runs any more: what comes next?
pub(super) fn end_stage(world: &mut World, key: StackKey) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    let Some(work) = stack.work.as_ref() else {
        return;
    };
    let failed = work
        .items
        .iter()
        .any(|item| item.state == ItemState::Failed);
    let reason = |what: &str| {
        Some(format!(
            "The following resource(s) failed to {what}: [{}].",
            work.items
                .iter()
                .filter(|item| item.state == ItemState::Failed)
                .map(|item| &*item.logical_id)
                .collect::<Vec<_>>()
                .join(", ")
        ))
    };
    match (work.stage, work.action, failed) {
        (Stage::Forward, Action::Create, false) => finish(world, key, Status::CreateComplete, None),
        (Stage::Forward, Action::Create, true) => {
            let reason = reason("create");
            let (status, stage) = match work.on_failure {
                OnFailure::DoNothing => return finish(world, key, Status::CreateFailed, reason),
                OnFailure::Rollback => (Status::RollbackInProgress, Stage::Remove),
                OnFailure::Delete => (Status::DeleteInProgress, Stage::Remove),
            };
            stack.set_status(now, status, reason);
            begin(world, key, stage);
        }
        (Stage::Forward, _, false) => {
            if items::cleanup(stack).is_empty() {
                return finish(world, key, Status::UpdateComplete, None);
            }
            stack.set_status(now, Status::UpdateCompleteCleanup, None);
            begin(world, key, Stage::Cleanup);
        }
        (Stage::Forward, _, true) => {
            let reason = reason("update");
            stack.set_status(now, Status::UpdateRollbackInProgress, reason);
            let resources = stack.resources.clone();
            if let Some(previous) = stack.work.as_mut().and_then(|work| work.previous.as_mut()) {
                mem::swap(&mut previous.generation, &mut stack.generation);
                previous.resources = resources;
            }
            begin(world, key, Stage::Revert);
        }
        (Stage::Revert, _, false) => {
            if items::cleanup(stack).is_empty() {
                return finish(world, key, Status::UpdateRollbackComplete, None);
            }
            stack.set_status(now, Status::UpdateRollbackCompleteCleanup, None);
            begin(world, key, Stage::Cleanup);
        }
        (Stage::Revert, _, true) => {
            let reason = reason("update");
            finish(world, key, Status::UpdateRollbackFailed, reason);
        }
        // What can't be cleaned up is left behind; the update itself is not affected.
        (Stage::Cleanup, _, _) => {
            let reverted =
                work.failure.is_some() && stack.status == Status::UpdateRollbackCompleteCleanup;
            let removed = items::unwanted(stack, &work.items);
            for id in removed {
                stack.resources.retain(|resource| resource.logical_id != id);
            }
            for resource in &mut stack.resources {
                if matches!(
                    resource.status,
                    Status::DeleteComplete | Status::DeleteFailed | Status::DeleteSkipped
                ) {
                    resource.status = Status::UpdateComplete;
                }
            }
            let status = if reverted {
                Status::UpdateRollbackComplete
            } else {
                Status::UpdateComplete
            };
            finish(world, key, status, None);
        }
        (Stage::Remove, Action::Create, failed) if work.on_failure == OnFailure::Rollback => {
            let (status, reason) = if failed {
                (Status::RollbackFailed, reason("delete"))
            } else {
                (Status::RollbackComplete, None)
            };
            finish(world, key, status, reason);
        }
        (Stage::Remove, _, false) => finish(world, key, Status::DeleteComplete, None),
        (Stage::Remove, _, true) => {
            let reason = reason("delete");
            finish(world, key, Status::DeleteFailed, reason);
        }
    }
}

fn finish(world: &mut World, key: StackKey, status: Status, reason: Option<String>) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    stack.epoch += 1;
    stack.set_status(now, status, reason);
    if status == Status::DeleteComplete {
        stack.deleted = Some(now);
        stack.resources = Vec::new();
    }
    stack.resources.shrink_to_fit();
    history::settled(world, key);
    let stack = &mut world.stacks[key];
    let Some(work) = stack.work.take() else {
        return;
    };
    let Some(task) = work.task else { return };
    let outcome = match work.failure {
        // A resource that an update could not clean up is left behind without failing the update.
        Some(failure) if status != Status::UpdateComplete => Outcome::Failed(format!(
            "ResourceLogicalId:{}, ResourceType:{}, ResourceStatusReason:{}.",
            failure.logical_id,
            failure.kind,
            failure.reason.trim_end_matches('.')
        )),
        _ => Outcome::Succeeded(None),
    };
    stack_sets::stack_finished(world, task, outcome);
}
