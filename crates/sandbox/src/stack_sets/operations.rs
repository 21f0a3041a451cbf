//! Operations of stack sets: accepted or refused, queued, begun, stopped.
//!
//! CloudFormation user guide, "StackSets concepts" and the API reference of `StackSetOperation`.

use super::model::{
    DetailedStatus, InstanceStatus, Operation, OperationAction, OperationStatus, Overrides,
    RegionIndex, RegionRun, Row, RowStatus, SetKey, StackSet,
};
use super::preferences::Preferences;
use super::targets::Targets;
use super::{Event, instances, progress, rows};
use crate::clock::SimTime;
use crate::cloudformation::errors;
use crate::events;
use crate::organizations::Organization;
use crate::timers;
use crate::wire::errors::AwsError;
use crate::world::World;

/// How many operations of one set may wait (CloudFormation quotas).
const MAX_QUEUED: usize = 10_000;

const STOPPED: &str = "Cancelled since the operation was stopped";

/// An operation to be started.
pub(crate) struct NewOperation {
    /// The caller's id; a new one when absent.
    pub(crate) id: Option<String>,
    /// What it does.
    pub(crate) action: OperationAction,
    /// How.
    pub(crate) preferences: Preferences,
    /// For deletions.
    pub(crate) retain: Option<bool>,
    /// Where.
    pub(crate) targets: Targets,
    /// Where; every Region of the set when empty.
    pub(crate) target_regions: Vec<RegionIndex>,
    /// With what.
    pub(crate) overrides: Overrides,
    /// An UpdateStackSet: it conflicts with everything.
    pub(crate) whole_set: bool,
}

/// Whether an operation may be refused because another one is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// As the set's `ManagedExecution` says.
    Managed,
    /// It waits in any case: auto-deployment.
    Queue,
}

/// Accepts an operation and answers its id.
///
/// # Errors
/// `OperationInProgressException` with the running operation's id as the last word of the text,
/// `OperationIdAlreadyExistsException`, `LimitExceededException`.
pub(crate) fn submit(
    world: &mut World,
    key: SetKey,
    new: NewOperation,
) -> Result<String, AwsError> {
    submit_as(world, key, new, Start::Managed)
}

/// See [`submit`].
pub(super) fn submit_as(
    world: &mut World,
    key: SetKey,
    new: NewOperation,
    start: Start,
) -> Result<String, AwsError> {
    let now = world.now();
    check(&world.stack_sets[key], new.id.as_deref(), start)?;
    let id = new.id.unwrap_or_else(|| world.ids.uuid_text());
    let set = &mut world.stack_sets[key];
    let waits = set.busy().is_some();
    let status = if waits {
        OperationStatus::Queued
    } else {
        OperationStatus::Running
    };
    let index = u32::try_from(set.operations.len()).unwrap_or(u32::MAX);
    set.operations.push(Operation {
        id: id.clone(),
        action: new.action,
        status,
        reason: None,
        history: vec![(now, status)],
        created: now,
        ended: None,
        preferences: new.preferences,
        retain: new.retain,
        targets: new.targets,
        target_regions: new.target_regions,
        overrides: new.overrides,
        whole_set: new.whole_set,
        rows: Vec::new(),
        region_runs: Vec::new(),
        failed: 0,
    });
    set.operation_ids.insert(id.clone(), index);
    if waits {
        set.queue.push_back(index);
        events::operation_changed(world, key, index);
        let delay = world.scenario.stack_sets.operation_start;
        world.schedule(delay, timers::Event::StackSets(Event::Dequeue { set: key }));
    } else {
        events::operation_changed(world, key, index);
        start_operation(world, key, index);
    }
    Ok(id)
}

/// Whether an operation with this id could be accepted now: everything that depends on it must not be
/// changed before.
pub(crate) fn check_acceptable(set: &StackSet, id: Option<&str>) -> Result<(), AwsError> {
    check(set, id, Start::Managed)
}

fn check(set: &StackSet, id: Option<&str>, start: Start) -> Result<(), AwsError> {
    if let Some(id) = id.filter(|id| set.operation_ids.contains_key(*id)) {
        return Err(errors::operation_id_already_exists(id));
    }
    if set.queue.len() >= MAX_QUEUED {
        return Err(errors::limit_exceeded(
            "too many queued operations in this stack set",
        ));
    }
    match set.busy() {
        Some(other) if start == Start::Managed && !set.managed_execution => Err(
            errors::operation_in_progress(&set.arn(), &set.operations[other as usize].id),
        ),
        _ => Ok(()),
    }
}

/// Starts queued operations, in request order, as long as they do not touch what runs.
pub(super) fn start_queued(world: &mut World, key: SetKey) {
    while let Some(&index) = world.stack_sets[key].queue.front() {
        if conflicts(&world.stack_sets[key], &world.organization, index) {
            return;
        }
        let now = world.now();
        let set = &mut world.stack_sets[key];
        set.queue.pop_front();
        set.operations[index as usize].set_status(now, OperationStatus::Running);
        events::operation_changed(world, key, index);
        start_operation(world, key, index);
    }
}

fn conflicts(set: &StackSet, organization: &Organization, index: u32) -> bool {
    if set.running.is_empty() {
        return false;
    }
    let operation = &set.operations[index as usize];
    let alone = |operation: &Operation| {
        operation.whole_set || operation.action == OperationAction::DetectDrift
    };
    // Without managed execution only one operation runs, those of auto-deployment included.
    if !set.managed_execution
        || alone(operation)
        || set
            .running
            .iter()
            .any(|other| alone(&set.operations[*other as usize]))
    {
        return true;
    }
    rows::rows_of(set, organization, operation)
        .iter()
        .any(|(key, _)| set.instances.get(key).is_some_and(|instance| instance.busy))
}

/// Gives an operation its rows; its first instances begin a little later.
fn start_operation(world: &mut World, key: SetKey, index: u32) {
    let now = world.now();
    let mut rows = rows::rows_of(
        &world.stack_sets[key],
        &world.organization,
        &world.stack_sets[key].operations[index as usize],
    );
    let set = &mut world.stack_sets[key];
    let order = rows::region_order(set, index);
    rows.sort_by_key(|((account, region), _)| {
        (order.iter().position(|other| other == region), *account)
    });
    remember_targets(set, index);
    let operation = &mut set.operations[index as usize];
    let mut region = None;
    for ((account, row_region), unit) in rows {
        let position = operation.rows.len();
        if region != Some(row_region) {
            region = Some(row_region);
            operation.region_runs.push(RegionRun {
                next: position,
                end: position,
                targets: 0,
                running: 0,
                failures: 0,
            });
        }
        if let Some(run) = operation.region_runs.last_mut() {
            run.end += 1;
            run.targets += 1;
        }
        operation.rows.push(Row {
            account,
            region: row_region,
            status: RowStatus::Pending,
            before: RowStatus::Pending,
            changed: now,
            unit,
            reason: None,
        });
        instances::prepare(
            &mut set.instances,
            operation,
            index,
            (account, row_region),
            unit,
        );
    }
    operation.rows.shrink_to_fit();
    set.running.push(index);
    let delay = world.scenario.stack_sets.operation_start;
    world.schedule(
        delay,
        timers::Event::StackSets(Event::Begin {
            set: key,
            operation: index,
        }),
    );
}

/// Units that were deployed to are those that auto-deployment follows, whatever the account filter was.
fn remember_targets(set: &mut StackSet, index: u32) {
    let operation = &set.operations[index as usize];
    match operation.action {
        OperationAction::Create => {
            for unit in &operation.targets.units {
                let regions = set.deployed.entry(*unit).or_default();
                for region in &operation.target_regions {
                    if !regions.contains(region) {
                        regions.push(*region);
                    }
                }
            }
        }
        OperationAction::Delete if operation.targets.accounts.is_empty() => {
            for unit in &operation.targets.units {
                if let Some(regions) = set.deployed.get_mut(unit) {
                    regions.retain(|region| !operation.target_regions.contains(region));
                }
            }
            set.deployed.retain(|_, regions| !regions.is_empty());
        }
        _ => {}
    }
}

/// Stops an operation: targets that have not started are cancelled, started ones come to their end.
///
/// # Errors
/// `OperationNotFoundException`; `InvalidOperationException` when it is not running or queued.
pub(crate) fn stop(world: &mut World, key: SetKey, id: &str) -> Result<(), AwsError> {
    let now = world.now();
    let set = &mut world.stack_sets[key];
    let Some(&index) = set.operation_ids.get(id) else {
        return Err(errors::operation_not_found(id));
    };
    let operation = &mut set.operations[index as usize];
    match operation.status {
        OperationStatus::Queued => {
            operation.set_status(now, OperationStatus::Stopped);
            set.queue.retain(|queued| *queued != index);
        }
        OperationStatus::Running => {
            operation.set_status(now, OperationStatus::Stopping);
            progress::cancel_unstarted(world, key, index, STOPPED);
            let delay = world.scenario.stack_sets.operation_start;
            world.schedule(
                delay,
                timers::Event::StackSets(Event::Begin {
                    set: key,
                    operation: index,
                }),
            );
        }
        other => {
            return Err(errors::invalid_operation(format!(
                "Operation {id} is in {} state and cannot be stopped",
                other.as_str()
            )));
        }
    }
    events::operation_changed(world, key, index);
    Ok(())
}

/// A changed definition: every instance is out of date before any operation begins
/// (only the targeted ones are brought up to date, the others stay so).
pub(crate) fn mark_outdated(set: &mut StackSet) {
    for instance in set.instances.values_mut() {
        if instance.status != InstanceStatus::Inoperable {
            instance.status = InstanceStatus::Outdated;
            instance.detailed = DetailedStatus::Pending;
            instance.reason = Some(super::user_initiated());
        }
    }
}

/// What a listing that lags shows of an operation; nothing when it is too new.
pub(crate) fn listed_status(operation: &Operation, as_of: SimTime) -> Option<OperationStatus> {
    operation
        .history
        .iter()
        .rev()
        .find(|(at, _)| *at <= as_of)
        .map(|(_, status)| *status)
}

/// What a listing that lags shows of a row.
pub(crate) fn listed_row(row: &Row, as_of: SimTime) -> RowStatus {
    if row.changed <= as_of {
        row.status
    } else {
        row.before
    }
}
