//! What an operation does to one instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Event;
use super::model::{
    DetailedStatus, Instance, InstanceKey, InstanceStatus, InstanceTask, Operation,
    OperationAction, Overrides, RowStatus, StackSet,
};
use crate::events;
use crate::ids::AccountId;
use crate::organizations::{OuIndex, State};
use crate::stacks::model::{OnFailure, StackKey};
use crate::stacks::{self, Generation, NewStack, Outcome, Status};
use crate::template::ParameterValues;
use crate::timers;
use crate::world::World;

const NO_UPDATES: &str = "No updates are to be performed.";
const ACCOUNT_SUSPENDED: &str = "ACCOUNT_SUSPENDED";

/// What came of a row.
#[derive(Debug)]
pub(crate) enum RowOutcome {
    /// Done. The text says that there was nothing to do.
    Succeeded(Option<&'static str>),
    /// Not done.
    Failed(String),
    /// The account is suspended: not touched, and not a failure.
    Suspended,
}

/// Makes an instance part of an operation.
pub(super) fn prepare(
    instances: &mut BTreeMap<InstanceKey, Instance>,
    operation: &Operation,
    index: u32,
    key: InstanceKey,
    unit: Option<OuIndex>,
) {
    let instance = instances.entry(key).or_insert_with(|| Instance {
        stack: None,
        status: InstanceStatus::Outdated,
        detailed: DetailedStatus::Pending,
        busy: true,
        unit,
        last_operation: index,
        reason: None,
        overrides: None,
        drift: None,
    });
    instance.busy = true;
    instance.last_operation = index;
    if operation.action == OperationAction::DetectDrift {
        return;
    }
    instance.detailed = DetailedStatus::Pending;
    instance.reason = Some(super::user_initiated());
    if operation.action == OperationAction::Delete {
        return;
    }
    instance.status = InstanceStatus::Outdated;
    if let Overrides::Set(values, keep) = &operation.overrides {
        let mut values = values.clone();
        if let Some(present) = &instance.overrides {
            for key in keep {
                if let Some(value) = present.get(key) {
                    values.insert(key.clone(), value.clone());
                }
            }
        }
        instance.overrides = (!values.is_empty()).then(|| Arc::new(values));
    }
}

/// Starts a row. Its outcome arrives as an event in every case.
pub(super) fn start(world: &mut World, task: InstanceTask) {
    let now = world.now();
    let set = &mut world.stack_sets[task.set];
    let operation = &mut set.operations[task.operation as usize];
    let (action, retain) = (operation.action, operation.retain == Some(true));
    let row = &mut operation.rows[task.row as usize];
    row.before = row.status;
    row.status = RowStatus::Running;
    row.changed = now;
    let key = (row.account, row.region);
    if let Some(instance) = set.instances.get_mut(&key)
        && action != OperationAction::DetectDrift
    {
        instance.detailed = DetailedStatus::Running;
    }
    let outcome = work(world, task, key, action, retain);
    events::instance_changed(world, task, None);
    if let Some(outcome) = outcome {
        let delay = world.scenario.stack_sets.resource_time;
        world.schedule(
            delay,
            timers::Event::StackSets(Event::RowDone { task, outcome }),
        );
    }
}

/// Begins to work on a stack, or knows the outcome at once.
fn work(
    world: &mut World,
    task: InstanceTask,
    key: InstanceKey,
    action: OperationAction,
    retain: bool,
) -> Option<RowOutcome> {
    let set = &world.stack_sets[task.set];
    let Some(instance) = set.instances.get(&key) else {
        return Some(RowOutcome::Succeeded(None));
    };
    let state = world
        .organization
        .account(key.0)
        .map(|account| account.state);
    if matches!(state, Some(state) if state != State::Active) && !retain {
        return Some(RowOutcome::Suspended);
    }
    if action == OperationAction::DetectDrift {
        return Some(RowOutcome::Succeeded(None));
    }
    let stack = instance
        .stack
        .filter(|stack| world.stacks[*stack].status != Status::DeleteComplete);
    let cant = |status: Status, id: String| {
        RowOutcome::Failed(format!(
            "Stack:{id} is in {} state and can not be updated.",
            status.as_str()
        ))
    };
    if action == OperationAction::Delete {
        let Some(stack) = stack.filter(|_| !retain) else {
            return Some(RowOutcome::Succeeded(None));
        };
        let status = world.stacks[stack].status;
        if status.in_progress() {
            return Some(cant(status, world.stacks[stack].id()));
        }
        stacks::delete(world, stack, Some(task));
        return None;
    }
    if set.service_managed && state.is_none() {
        return Some(RowOutcome::Failed(format!(
            "Account {} is not a member of the organization",
            key.0
        )));
    }
    if set.service_managed && !set.generation.template.transforms.is_empty() {
        return Some(RowOutcome::Failed(
            "Templates with macros are not supported for stack sets with service-managed permissions".into(),
        ));
    }
    let generation = generation(set, instance);
    if let Some(stack) = stack {
        let status = world.stacks[stack].status;
        if !status.updatable() {
            return Some(cant(status, world.stacks[stack].id()));
        }
        if !stacks::would_change(&world.stacks[stack], &generation) {
            return Some(RowOutcome::Succeeded(Some(NO_UPDATES)));
        }
        stacks::update(world, stack, generation, Some(task));
        return None;
    }
    let region = set.region_name(key.1).clone();
    let (name, execution_role) = (set.name.clone(), set.execution_role.clone());
    let name = format!("StackSet-{name}-{}", world.ids.uuid());
    let new = NewStack {
        account: key.0,
        region,
        name,
        generation,
        execution_role,
        plain: None,
        on_failure: OnFailure::Delete,
        task: Some(task),
    };
    let stack = stacks::create(world, new);
    if let Some(instance) = world.stack_sets[task.set].instances.get_mut(&key) {
        instance.stack = Some(stack);
    }
    None
}

/// The set's definition with the instance's overrides.
fn generation(set: &StackSet, instance: &Instance) -> Generation {
    let mut generation = set.generation.clone();
    if let Some(overrides) = &instance.overrides {
        let mut values: ParameterValues = (*generation.parameters).clone();
        for (key, value) in &**overrides {
            if let Some(present) = values.get_mut(key) {
                *present = value.clone();
            }
        }
        generation.parameters = Arc::new(values);
    }
    generation
}

/// A stack has come to its end for a row. Goes through the event queue, so that ten thousand rows
/// that end at once do not call each other.
pub(crate) fn stack_finished(world: &mut World, task: InstanceTask, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Succeeded(reason) => RowOutcome::Succeeded(reason),
        Outcome::Failed(reason) => RowOutcome::Failed(reason),
    };
    let event = Event::RowDone { task, outcome };
    world.schedule(std::time::Duration::ZERO, timers::Event::StackSets(event));
}

/// Writes an outcome to the instance; answers what the row shows.
pub(super) fn finish(
    world: &mut World,
    task: InstanceTask,
    outcome: &RowOutcome,
) -> (RowStatus, Option<Arc<str>>) {
    let now = world.now();
    let set = &world.stack_sets[task.set];
    let operation = &set.operations[task.operation as usize];
    let row = &operation.rows[task.row as usize];
    let key: (AccountId, _) = (row.account, row.region);
    let action = operation.action;
    let stack = set.instances.get(&key).and_then(|instance| instance.stack);
    let drifted = action == OperationAction::DetectDrift
        && stack.is_some_and(|stack| lacks_a_resource(world, stack));
    let set = &mut world.stack_sets[task.set];
    let (status, reason): (RowStatus, Option<Arc<str>>) = match outcome {
        RowOutcome::Succeeded(reason) => (RowStatus::Succeeded, reason.map(Arc::from)),
        RowOutcome::Failed(reason) => (RowStatus::Failed, Some(reason.as_str().into())),
        // Rows have no status for it: the row succeeds, and only the instance's detailed status tells.
        RowOutcome::Suspended => (RowStatus::Succeeded, Some(ACCOUNT_SUSPENDED.into())),
    };
    if action == OperationAction::Delete && matches!(outcome, RowOutcome::Succeeded(_)) {
        set.instances.remove(&key);
        return (status, reason);
    }
    let Some(instance) = set.instances.get_mut(&key) else {
        return (status, reason);
    };
    instance.busy = false;
    if action == OperationAction::DetectDrift {
        if matches!(outcome, RowOutcome::Succeeded(_)) {
            instance.drift = Some((now, drifted));
        }
        return (status, reason);
    }
    instance.reason.clone_from(&reason);
    (instance.status, instance.detailed) = match outcome {
        RowOutcome::Succeeded(_) => (InstanceStatus::Current, DetailedStatus::Succeeded),
        RowOutcome::Suspended => (instance.status, DetailedStatus::SkippedSuspendedAccount),
        RowOutcome::Failed(_) if action == OperationAction::Delete => {
            (InstanceStatus::Inoperable, DetailedStatus::Inoperable)
        }
        RowOutcome::Failed(_) => (InstanceStatus::Outdated, DetailedStatus::Failed),
    };
    (status, reason)
}

/// What drift detection sees: a resource that is gone (CloudFormation user guide, "Resource drift status codes", DELETED). To
/// changed policies and trust policies it is blind.
fn lacks_a_resource(world: &World, stack: StackKey) -> bool {
    let stack = &world.stacks[stack];
    stack.resources.iter().any(|resource| {
        let (account, id) = (stack.account, &*resource.physical_id);
        match &*resource.kind {
            "AWS::IAM::Role" => world.iam.role(account, id).is_none(),
            "AWS::IAM::ManagedPolicy" => world.iam.policy(account, id).is_none(),
            _ => false,
        }
    })
}
