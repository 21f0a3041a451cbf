//! Stack sets: their instances and operations, and auto-deployment.
//!
//! Guarantees: an event of one instance costs a bounded amount of work, however many instances the set
//! has; only the start of an operation and listings look at many.
//! What AWS leaves open and we decided is noted where it is decided and in docs/sandbox.md.

mod auto_deployment;
mod instances;
pub(crate) mod model;
mod operations;
pub(crate) mod preferences;
mod progress;
mod rows;
pub(crate) mod targets;

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use auto_deployment::{account_joined, account_left, account_moved};
pub(crate) use instances::stack_finished;
pub(crate) use model::{InstanceTask, SetKey, StackSet};
pub(crate) use operations::{
    NewOperation, check_acceptable, listed_row, listed_status, mark_outdated, stop, submit,
};

use crate::ids::AccountId;
use crate::world::World;

/// All stack sets, deleted ones included.
#[derive(Debug, Default)]
pub(crate) struct StackSets {
    all: Vec<StackSet>,
}

impl Index<SetKey> for StackSets {
    type Output = StackSet;
    fn index(&self, key: SetKey) -> &StackSet {
        &self.all[key.0 as usize]
    }
}

impl IndexMut<SetKey> for StackSets {
    fn index_mut(&mut self, key: SetKey) -> &mut StackSet {
        &mut self.all[key.0 as usize]
    }
}

impl StackSets {
    /// All sets, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SetKey, &StackSet)> {
        (0..).map(SetKey).zip(&self.all)
    }

    /// Adds a set.
    pub(crate) fn add(&mut self, set: StackSet) -> SetKey {
        self.all.push(set);
        SetKey(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
    }
}

/// What happens to stack sets by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// An operation has its targets and begins with them.
    Begin {
        /// The set.
        set: SetKey,
        /// The operation.
        operation: u32,
    },
    /// A row has its outcome.
    RowDone {
        /// The row.
        task: InstanceTask,
        /// What came of it.
        outcome: instances::RowOutcome,
    },
    /// An operation ended: the next ones may start.
    Dequeue {
        /// The set.
        set: SetKey,
    },
    /// Auto-deployment looks at an account that joined, left or moved.
    AutoDeploy {
        /// The account.
        account: AccountId,
    },
}

/// Continues what an event is about.
pub(crate) fn on_event(world: &mut World, event: Event) {
    match event {
        Event::Begin { set, operation } => progress::begin(world, set, operation),
        Event::RowDone { task, outcome } => progress::row_done(world, task, &outcome),
        Event::Dequeue { set } => operations::start_queued(world, set),
        Event::AutoDeploy { account } => auto_deployment::reconcile(world, account),
    }
}

/// The reason that a user's request gives to what it touches.
pub(crate) fn user_initiated() -> Arc<str> {
    "User Initiated".into()
}

/// What the admin API shows.
pub(crate) fn state(world: &World) -> Value {
    let sets = world.stack_sets.iter().map(|(_, set)| {
        let mut detailed = serde_json::Map::new();
        for instance in set.instances.values() {
            let name = format!("{}/{}", instance.status.as_str(), instance.detailed.as_str());
            let count = detailed.get(&name).and_then(Value::as_u64).unwrap_or(0);
            detailed.insert(name, (count + 1).into());
        }
        json!({
            "id": set.id(),
            "active": set.active,
            "instances": detailed,
            "running": set.running.iter().map(|index| set.operations[*index as usize].id.clone()).collect::<Vec<_>>(),
            "queued": set.queue.iter().map(|index| set.operations[*index as usize].id.clone()).collect::<Vec<_>>(),
        })
    });
    sets.collect()
}
