//! A running operation: its instances start as preferences allow, end, and with the last of them it ends.

use std::sync::Arc;

use super::model::{
    DetailedStatus, InstanceTask, Operation, OperationAction, OperationStatus, RowStatus, SetDrift,
    SetKey,
};
use super::{Event, instances};
use crate::events;
use crate::timers;
use crate::world::World;

const TOLERANCE_EXCEEDED: &str = "Cancelled since failure tolerance has exceeded";

/// An operation begins with its instances.
pub(super) fn begin(world: &mut World, key: SetKey, index: u32) {
    pump(world, key, index);
}

/// Starts as many rows as preferences allow; ends the operation when there is nothing left to do.
fn pump(world: &mut World, key: SetKey, index: u32) {
    loop {
        let operation = &mut world.stack_sets[key].operations[index as usize];
        if operation.over() {
            return;
        }
        let Some(row) = next_row(operation) else {
            break;
        };
        instances::start(
            world,
            InstanceTask {
                set: key,
                operation: index,
                row,
            },
        );
    }
    let operation = &world.stack_sets[key].operations[index as usize];
    let idle = operation.region_runs.iter().all(|run| run.running == 0);
    let begun = operation.region_runs.iter().all(|run| run.next == run.end);
    if idle && begun {
        end(world, key, index);
    }
}

/// The next row that may start; it counts as running from here on.
fn next_row(operation: &mut Operation) -> Option<u32> {
    let parallel = operation.preferences.parallel_regions == Some(true);
    for run in &mut operation.region_runs {
        let room = operation.preferences.concurrency(run.targets, run.failures) > run.running;
        if run.next < run.end && room {
            run.next += 1;
            run.running += 1;
            return u32::try_from(run.next - 1).ok();
        }
        if !parallel && (run.running > 0 || run.next < run.end) {
            return None;
        }
    }
    None
}

/// A row has its outcome.
pub(super) fn row_done(world: &mut World, task: InstanceTask, outcome: &instances::RowOutcome) {
    let now = world.now();
    let stack = events::heard_stack(world, task);
    let (status, reason) = instances::finish(world, task, outcome);
    let set = &mut world.stack_sets[task.set];
    let operation = &mut set.operations[task.operation as usize];
    let position = task.row as usize;
    let row = &mut operation.rows[position];
    row.before = row.status;
    row.status = status;
    row.changed = now;
    row.reason = reason;
    let failed = status == RowStatus::Failed;
    operation.failed += usize::from(failed);
    let mut exceeded = false;
    if let Some(run) = operation
        .region_runs
        .iter_mut()
        .find(|run| position < run.end)
    {
        run.running -= 1;
        run.failures += usize::from(failed);
        exceeded = failed && run.failures > operation.preferences.tolerance(run.targets);
    }
    if exceeded {
        cancel_unstarted(world, task.set, task.operation, TOLERANCE_EXCEEDED);
    }
    events::instance_changed(world, task, stack);
    pump(world, task.set, task.operation);
}

/// Rows that have not started never will.
pub(super) fn cancel_unstarted(world: &mut World, key: SetKey, index: u32, reason: &str) {
    let now = world.now();
    let set = &mut world.stack_sets[key];
    let operation = &mut set.operations[index as usize];
    let reason: Arc<str> = reason.into();
    for run in &mut operation.region_runs {
        for row in &mut operation.rows[run.next..run.end] {
            row.before = row.status;
            row.status = RowStatus::Cancelled;
            row.changed = now;
            row.reason = Some(reason.clone());
            if let Some(instance) = set.instances.get_mut(&(row.account, row.region)) {
                instance.busy = false;
                instance.detailed = DetailedStatus::Cancelled;
                instance.reason = Some(reason.clone());
            }
        }
        run.next = run.end;
    }
}

/// Ends an operation whose rows are all over.
fn end(world: &mut World, key: SetKey, index: u32) {
    let now = world.now();
    let set = &mut world.stack_sets[key];
    let operation = &mut set.operations[index as usize];
    let exceeded = operation
        .region_runs
        .iter()
        .any(|run| run.failures > operation.preferences.tolerance(run.targets));
    let status = match operation.status {
        OperationStatus::Stopping => OperationStatus::Stopped,
        _ if exceeded => OperationStatus::Failed,
        _ => OperationStatus::Succeeded,
    };
    operation.set_status(now, status);
    if operation.action == OperationAction::DetectDrift && status != OperationStatus::Stopped {
        let rows = operation.rows.iter();
        let instances = rows.filter_map(|row| set.instances.get(&(row.account, row.region)));
        set.drift = Some(SetDrift {
            at: now,
            total: operation.rows.len(),
            drifted: instances
                .filter(|instance| instance.drift.is_some_and(|(_, drifted)| drifted))
                .count(),
        });
    }
    set.running.retain(|running| *running != index);
    let has_more = !set.queue.is_empty();
    events::operation_changed(world, key, index);
    if has_more {
        let delay = world.scenario.stack_sets.operation_start;
        world.schedule(delay, timers::Event::StackSets(Event::Dequeue { set: key }));
    }
}
