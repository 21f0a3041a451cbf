//! Stacks of every account and their resources: what CloudFormation does inside one account.
//!
//! Both plain stacks and stack instances are stacks here; a stack instance's stack tells its stack set
//! how an action ended.

pub(crate) mod change_sets;
mod custom;
mod engine;
mod history;
mod hosted;
mod items;
pub(crate) mod model;
mod native;
mod response;
pub(crate) mod scope;
mod stages;

use std::collections::{HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use uuid::Uuid;

use model::{Action, OnFailure, PlainStack, Stage, Work};
pub(crate) use model::{Generation, Outcome, Stack, StackKey, Status};
pub(crate) use response::respond as custom_resource_response;
use scope::StackScope;

use crate::ids::AccountId;
use crate::stack_sets::InstanceTask;
use crate::world::World;

/// All stacks, deleted ones included: CloudFormation shows those by their id for 90 days.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    all: Vec<Stack>,
    by_account: HashMap<AccountId, Vec<StackKey>>,
    waiting: custom::Waiting,
    /// Requests answered since the timeouts of answered ones were last taken out of the queue.
    answered: usize,
    /// Stacks in the order in which they last came to rest: see [`history::settled`].
    settled: VecDeque<StackKey>,
    /// Change sets of all stacks.
    pub(crate) change_sets: Vec<change_sets::ChangeSet>,
}

impl Index<StackKey> for Stacks {
    type Output = Stack;
    fn index(&self, key: StackKey) -> &Stack {
        &self.all[key.0 as usize]
    }
}

impl IndexMut<StackKey> for Stacks {
    fn index_mut(&mut self, key: StackKey) -> &mut Stack {
        &mut self.all[key.0 as usize]
    }
}

impl Stacks {
    /// The stacks of an account and Region, oldest first.
    pub(crate) fn of(
        &self,
        account: AccountId,
        region: &str,
    ) -> impl DoubleEndedIterator<Item = (StackKey, &Stack)> {
        self.by_account
            .get(&account)
            .into_iter()
            .flatten()
            .map(|key| (*key, &self[*key]))
            .filter(move |(_, stack)| &*stack.region == region)
    }

    /// A stack by its name (deleted ones have lost theirs) or by its id.
    pub(crate) fn find(
        &self,
        account: AccountId,
        region: &str,
        name_or_id: &str,
    ) -> Option<StackKey> {
        let by_id = name_or_id.starts_with("arn:");
        self.of(account, region)
            .find(|(_, stack)| {
                if by_id {
                    stack.id() == name_or_id
                } else {
                    stack.status != Status::DeleteComplete && &*stack.name == name_or_id
                }
            })
            .map(|(key, _)| key)
    }
}

/// What happens to stacks by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// A resource has been worked on long enough.
    Perform {
        /// The stack.
        key: StackKey,
        /// Its epoch when the work began.
        epoch: u32,
        /// The item.
        index: usize,
    },
    /// A custom resource's provider had its time.
    ServiceTimeout {
        /// The token of its ResponseURL.
        token: Uuid,
    },
    /// One of Spot's hosted functions runs.
    Hosted {
        /// The token of the ResponseURL that it answers.
        token: Uuid,
        /// Its name.
        function: Box<str>,
        /// How often it has run for this request, this time included.
        attempt: u32,
    },
}

/// Continues what an event is about.
pub(crate) fn on_event(world: &mut World, event: Event) {
    match event {
        Event::Perform { key, epoch, index } => engine::perform(world, key, epoch, index),
        Event::ServiceTimeout { token } => response::timed_out(world, token),
        Event::Hosted {
            token,
            function,
            attempt,
        } => {
            hosted::run(world, token, &function, attempt);
        }
    }
}

/// A stack to be made.
pub(crate) struct NewStack {
    /// Where.
    pub(crate) account: AccountId,
    /// Where.
    pub(crate) region: Arc<str>,
    /// Its name; not in use.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) generation: Generation,
    /// The role that acts for a stack set; empty for plain stacks.
    pub(crate) execution_role: Arc<str>,
    /// Set for stacks made through the API.
    pub(crate) plain: Option<Box<PlainStack>>,
    /// What happens when creation fails.
    pub(crate) on_failure: OnFailure,
    /// The stack instance that waits.
    pub(crate) task: Option<InstanceTask>,
}

/// Begins to create a stack.
pub(crate) fn create(world: &mut World, new: NewStack) -> StackKey {
    let (on_failure, task) = (new.on_failure, new.task);
    let key = add(world, new, Status::CreateInProgress);
    world.stacks[key].work = Some(work(Action::Create, on_failure, task));
    engine::begin(world, key, Stage::Forward);
    key
}

/// Adds a stack without resources that waits for its first change set to be executed.
pub(crate) fn review(world: &mut World, new: NewStack) -> StackKey {
    add(world, new, Status::ReviewInProgress)
}

/// Begins to create what a stack in review shall be made of.
pub(crate) fn create_reviewed(world: &mut World, key: StackKey, generation: Generation) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    stack.set_status(now, Status::CreateInProgress, Some("User Initiated".into()));
    stack.generation = generation;
    stack.work = Some(work(Action::Create, OnFailure::Rollback, None));
    engine::begin(world, key, Stage::Forward);
}

fn add(world: &mut World, new: NewStack, status: Status) -> StackKey {
    let now = world.now();
    let key = StackKey(u32::try_from(world.stacks.all.len()).unwrap_or(u32::MAX));
    let uuid = world.ids.uuid();
    let mut stack = Stack {
        account: new.account,
        region: new.region,
        name: new.name.into(),
        uuid,
        status,
        reason: None,
        generation: new.generation,
        resources: Vec::new(),
        events: Vec::new(),
        created: now,
        updated: None,
        deleted: None,
        execution_role: new.execution_role,
        plain: new.plain,
        termination_protection: false,
        work: None,
        epoch: 0,
    };
    stack.set_status(now, status, Some("User Initiated".into()));
    world
        .stacks
        .by_account
        .entry(stack.account)
        .or_default()
        .push(key);
    world.stacks.all.push(stack);
    key
}

fn work(action: Action, on_failure: OnFailure, task: Option<InstanceTask>) -> Box<Work> {
    Box::new(Work {
        action,
        stage: Stage::Forward,
        on_failure,
        task,
        items: Vec::new(),
        previous: None,
        touched: Vec::new(),
        displaced: Vec::new(),
        failure: None,
    })
}

/// Whether another generation would change anything about a stack.
pub(crate) fn would_change(stack: &Stack, generation: &Generation) -> bool {
    let old = StackScope::current(stack);
    let new = StackScope {
        stack,
        generation,
        resources: &stack.resources,
    };
    let tags_differ = stack.generation.tags != generation.tags;
    let specs = |scope: &StackScope<'_>| -> Option<Vec<_>> {
        let conditions = scope.conditions().ok()?;
        scope
            .generation
            .template
            .resources
            .iter()
            .filter(|spec| {
                spec.condition
                    .as_ref()
                    .is_none_or(|name| conditions.get(name) == Some(&true))
            })
            .map(|spec| {
                Some((
                    spec.logical_id.clone(),
                    spec.kind.clone(),
                    scope.evaluate(&spec.properties).ok()?,
                ))
            })
            .collect()
    };
    let sorted = |scope: &StackScope<'_>| {
        let mut specs = specs(scope)?;
        specs.sort_by(|a, b| a.0.cmp(&b.0));
        Some(specs)
    };
    tags_differ
        || match (sorted(&old), sorted(&new)) {
            (Some(before), Some(after)) => before != after || old.outputs() != new.outputs(),
            _ => true,
        }
}

/// Begins to update a stack that [`Status::updatable`] allows and that [`would_change`].
pub(crate) fn update(
    world: &mut World,
    key: StackKey,
    generation: Generation,
    task: Option<InstanceTask>,
) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    stack.set_status(now, Status::UpdateInProgress, Some("User Initiated".into()));
    stack.updated = Some(now);
    let mut work = work(Action::Update, OnFailure::Rollback, task);
    work.previous = Some(engine::snapshot(stack));
    stack.generation = generation;
    stack.work = Some(work);
    engine::begin(world, key, Stage::Forward);
}

/// Begins to delete a stack.
pub(crate) fn delete(world: &mut World, key: StackKey, task: Option<InstanceTask>) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    if task.is_some() {
        // Its stack set acts, whoever tried to delete it before.
        stack.plain = None;
    }
    stack.set_status(now, Status::DeleteInProgress, Some("User Initiated".into()));
    stack.work = Some(work(Action::Delete, OnFailure::Rollback, task));
    engine::begin(world, key, Stage::Remove);
}
