//! Operations of stack sets: accepted or refused, queued, begun, worked off Region by Region, ended.
//!
//! CloudFormation user guide, "StackSets concepts" and the API reference of `StackSetOperation`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{
    DetailedStatus, Instance, InstanceKey, InstanceStatus, InstanceTask, Operation,
    OperationAction, OperationStatus, Overrides, RegionIndex, RegionRun, Row, RowStatus, SetKey,
    StackSet,
};
use super::preferences::Preferences;
use super::targets::{Filter, Targets};
use super::{Event, instances};
use crate::clock::SimTime;
use crate::cloudformation::errors;
use crate::organizations::{Organization, OuIndex};
use crate::timers;
use crate::wire::errors::AwsError;
use crate::world::World;

/// How many operations of one set may wait (CloudFormation quotas).
const MAX_QUEUED: usize = 10_000;

const TOLERANCE_EXCEEDED: &str = "Cancelled since failure tolerance has exceeded";
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
    let id = new.id.unwrap_or_else(|| world.ids.uuid());
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
        let delay = world.scenario.stack_sets.operation_start;
        world.schedule(delay, timers::Event::StackSets(Event::Dequeue { set: key }));
    } else {
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
    rows_of(set, organization, operation)
        .iter()
        .any(|(key, _)| set.instances.get(key).is_some_and(|instance| instance.busy))
}

/// The instances that an operation is about, in the order of accounts.
fn rows_of(
    set: &StackSet,
    organization: &Organization,
    operation: &Operation,
) -> Vec<(InstanceKey, Option<OuIndex>)> {
    let region_wanted = |region: RegionIndex| {
        operation.target_regions.is_empty() || operation.target_regions.contains(&region)
    };
    let untargeted = operation.targets == Targets::default();
    let members = if untargeted {
        BTreeMap::new()
    } else {
        operation.targets.resolve(organization)
    };
    if operation.action == OperationAction::Create {
        let mut rows = Vec::new();
        for (account, unit) in members {
            for region in &operation.target_regions {
                // Instances that are as they should be are left alone; a repeated request works on the others.
                // One that another operation works on will have changed by the time this one may start.
                let wanted = set
                    .instances
                    .get(&(account, *region))
                    .is_none_or(|instance| {
                        instance.busy || instance.status == InstanceStatus::Outdated
                    });
                if wanted {
                    rows.push(((account, *region), unit));
                }
            }
        }
        return rows;
    }
    let deleting = operation.action == OperationAction::Delete;
    let by_unit = |key: &InstanceKey, instance: &Instance| {
        let targets = &operation.targets;
        let listed = targets.accounts.contains(&key.0);
        let filtered = match targets.filter {
            Some(Filter::Intersection) => listed,
            Some(Filter::Difference) => !listed,
            _ => true,
        };
        let under = |unit| {
            targets
                .units
                .iter()
                .any(|target| organization.is_under(unit, *target))
        };
        filtered && instance.unit.is_some_and(under)
    };
    let wanted = |key: &InstanceKey, instance: &Instance| {
        region_wanted(key.1)
            && (deleting || instance.status != InstanceStatus::Inoperable)
            && (untargeted || members.contains_key(&key.0) || (deleting && by_unit(key, instance)))
    };
    // One account's instances are found without looking at all of them: auto-deployment works that way.
    if operation.targets.filter == Some(Filter::Intersection)
        || operation.targets.units.is_empty() && !untargeted
    {
        let range = |account| (account, RegionIndex(0))..=(account, RegionIndex(u16::MAX));
        let listed = operation.targets.accounts.iter();
        return listed
            .flat_map(|account| set.instances.range(range(*account)))
            .filter(|(key, instance)| wanted(key, instance))
            .map(|(key, instance)| (*key, instance.unit))
            .collect();
    }
    set.instances
        .iter()
        .filter(|(key, instance)| wanted(key, instance))
        .map(|(key, instance)| (*key, instance.unit))
        .collect()
}

/// Gives an operation its rows; its first instances begin a little later.
fn start_operation(world: &mut World, key: SetKey, index: u32) {
    let now = world.now();
    let mut rows = rows_of(
        &world.stack_sets[key],
        &world.organization,
        &world.stack_sets[key].operations[index as usize],
    );
    let set = &mut world.stack_sets[key];
    let order = region_order(set, index);
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

/// Regions in the order of work: `RegionOrder` first, the others as the set came to know them.
fn region_order(set: &mut StackSet, index: u32) -> Vec<RegionIndex> {
    let named = set.operations[index as usize]
        .preferences
        .region_order
        .clone();
    let mut order: Vec<RegionIndex> = named.iter().map(|name| set.region(name)).collect();
    for index in 0..set.regions.len() {
        let region = RegionIndex(u16::try_from(index).unwrap_or(u16::MAX));
        if !order.contains(&region) {
            order.push(region);
        }
    }
    order
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
    pump(world, task.set, task.operation);
}

/// Rows that have not started never will.
fn cancel_unstarted(world: &mut World, key: SetKey, index: u32, reason: &str) {
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
        set.drift = Some((now, operation.rows.len()));
    }
    set.running.retain(|running| *running != index);
    if !set.queue.is_empty() {
        let delay = world.scenario.stack_sets.operation_start;
        world.schedule(delay, timers::Event::StackSets(Event::Dequeue { set: key }));
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
            cancel_unstarted(world, key, index, STOPPED);
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
