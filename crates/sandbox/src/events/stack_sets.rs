//! What CloudFormation tells of stack sets, in the account that owns them and in their Region (AWS CloudFormation User Guide, "Managing
//! events with EventBridge").

use serde_json::{Value, json};

use super::{New, Place, is_deaf, put};
use crate::stack_sets::{InstanceTask, SetKey};
use crate::stacks::StackKey;
use crate::world::World;

/// A stack set was made or deleted.
pub(crate) fn stack_set_changed(world: &mut World, key: SetKey) {
    if is_deaf(world) {
        return;
    }
    let status = if world.stack_sets[key].active {
        "ACTIVE"
    } else {
        "DELETED"
    };
    let detail = json!({ "status-details": { "status": status } });
    tell(world, key, "CloudFormation StackSet Status Change", detail);
}

/// An operation has another status.
pub(crate) fn operation_changed(world: &mut World, key: SetKey, operation: u32) {
    if is_deaf(world) {
        return;
    }
    let operation = &world.stack_sets[key].operations[operation as usize];
    let detail = json!({
        "stack-set-operation-id": operation.id,
        "status-details": { "status": operation.status.as_str() },
    });
    let kind = "CloudFormation StackSet Operation Status Change";
    tell(world, key, kind, detail);
}

/// The stack of an instance that a row is about, while somebody could hear of it: there are many of them.
pub(crate) fn heard_stack(world: &World, task: InstanceTask) -> Option<StackKey> {
    if is_deaf(world) {
        return None;
    }
    let set = &world.stack_sets[task.set];
    let row = &set.operations[task.operation as usize].rows[task.row as usize];
    set.instances.get(&(row.account, row.region))?.stack
}

/// The instance that a row is about has another status. `stack` is what it had before: a deletion takes it along.
pub(crate) fn instance_changed(world: &mut World, task: InstanceTask, stack: Option<StackKey>) {
    if is_deaf(world) {
        return;
    }
    let set = &world.stack_sets[task.set];
    let operation = &set.operations[task.operation as usize];
    let row = &operation.rows[task.row as usize];
    let instance = set.instances.get(&(row.account, row.region));
    let stack = instance.and_then(|instance| instance.stack).or(stack);
    let (status, detailed) = instance.map_or(("CURRENT", "SUCCEEDED"), |instance| {
        (instance.status.as_str(), instance.detailed.as_str())
    });
    let detail = json!({
        "stack-id": stack.map(|stack| world.stacks[stack].id()),
        "action": operation.action.as_str(),
        "status-details": {
            "status": status,
            "status-reason": row.reason.as_deref().unwrap_or_default(),
            "detailed-status": detailed,
        },
    });
    let kind = "CloudFormation StackSet StackInstance Status Change";
    tell(world, task.set, kind, detail);
}

fn tell(world: &mut World, key: SetKey, detail_type: &'static str, mut detail: Value) {
    let set = &world.stack_sets[key];
    let (arn, account, region) = (set.arn(), set.owner, set.home.clone());
    detail["stack-set-arn"] = arn.as_str().into();
    let new = New {
        source: "aws.cloudformation",
        detail_type,
        resources: vec![arn],
        detail,
    };
    let place = Place {
        account,
        region: &region,
    };
    put(world, &place, new);
}
