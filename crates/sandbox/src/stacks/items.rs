//! Which resources a stage works on, and in which order.

use std::sync::Arc;

use super::model::{Action, Item, ItemState, Stack, Status};
use super::scope::StackScope;
use crate::template::{DeletionPolicy, ResourceSpec, Template};

/// The resources that exist under the template's conditions.
fn wanted(stack: &Stack) -> Vec<Option<&ResourceSpec>> {
    let conditions = StackScope::current(stack).conditions().unwrap_or_default();
    let specs = stack.generation.template.resources.iter();
    specs
        .map(|spec| {
            let exists = spec
                .condition
                .as_ref()
                .is_none_or(|name| conditions.get(name) == Some(&true));
            exists.then_some(spec)
        })
        .collect()
}

/// A forward or reverting stage: the current template's resources, in its order.
pub(super) fn forward(stack: &Stack) -> Vec<Item> {
    let mut place = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    for spec in wanted(stack) {
        place.push(spec.map(|_| items.len()));
        if let Some(spec) = spec {
            let after = spec
                .depends_on
                .iter()
                .filter_map(|need| place[*need])
                .collect();
            items.push(Item {
                after,
                ..item(&spec.logical_id, &spec.kind, "")
            });
        }
    }
    items
}

/// Taking away all resources.
pub(super) fn removal(stack: &Stack) -> Vec<Item> {
    let creating = stack
        .work
        .as_ref()
        .is_some_and(|work| work.action == Action::Create);
    let mut items: Vec<Item> = Vec::new();
    for resource in &stack.resources {
        if matches!(
            resource.status,
            Status::DeleteComplete | Status::DeleteSkipped
        ) {
            continue;
        }
        let policy = stack.generation.template.resource(&resource.logical_id);
        items.push(Item {
            retain: keeps(stack, policy.map(|spec| spec.deletion_policy), creating),
            ..item(&resource.logical_id, &resource.kind, &resource.physical_id)
        });
    }
    reverse_order(&mut items, &stack.generation.template);
    items
}

/// What an update (or its undoing) leaves over: replaced resources, and those that the template no longer has.
pub(super) fn cleanup(stack: &Stack) -> Vec<Item> {
    let Some(work) = stack.work.as_ref() else {
        return Vec::new();
    };
    let Some(previous) = work.previous.as_ref() else {
        return Vec::new();
    };
    let wanted = wanted(stack);
    let is_wanted = |id: &Arc<str>| wanted.iter().flatten().any(|spec| spec.logical_id == *id);
    let reverting = work.failure.is_some();
    let mut items = Vec::new();
    for resource in stack
        .resources
        .iter()
        .filter(|resource| !is_wanted(&resource.logical_id))
    {
        let spec = previous.generation.template.resource(&resource.logical_id);
        items.push(Item {
            retain: keeps(stack, spec.map(|spec| spec.deletion_policy), reverting),
            from_previous: true,
            ..item(&resource.logical_id, &resource.kind, &resource.physical_id)
        });
    }
    reverse_order(&mut items, &previous.generation.template);
    for displaced in &work.displaced {
        let current = stack
            .position(&displaced.logical_id)
            .map(|index| &stack.resources[index]);
        if current.is_some_and(|resource| resource.physical_id == displaced.physical_id) {
            continue;
        }
        let spec = stack.generation.template.resource(&displaced.logical_id);
        items.push(Item {
            retain: keeps(
                stack,
                spec.map(|spec| spec.update_replace_policy),
                reverting,
            ),
            from_previous: true,
            ..item(
                &displaced.logical_id,
                &displaced.kind,
                &displaced.physical_id,
            )
        });
    }
    items
}

/// The logical ids of these items that the stack has no resource for: the template has none, or its condition does not hold.
pub(super) fn unwanted(stack: &Stack, items: &[Item]) -> Vec<Arc<str>> {
    let wanted = wanted(stack);
    let is_wanted = |id: &Arc<str>| wanted.iter().flatten().any(|spec| spec.logical_id == *id);
    let ids = items.iter().map(|item| item.logical_id.clone());
    ids.filter(|id| !is_wanted(id)).collect()
}

fn item(logical_id: &Arc<str>, kind: &Arc<str>, physical_id: &str) -> Item {
    Item {
        logical_id: logical_id.clone(),
        kind: kind.clone(),
        physical_id: physical_id.into(),
        after: Vec::new(),
        state: ItemState::Waiting,
        from_previous: false,
        retain: false,
    }
}

/// Makes each item wait for those that depend on it.
fn reverse_order(items: &mut [Item], template: &Template) {
    let specs: Vec<Option<usize>> = items
        .iter()
        .map(|item| {
            template
                .resources
                .iter()
                .position(|spec| spec.logical_id == item.logical_id)
        })
        .collect();
    for (index, item) in items.iter_mut().enumerate() {
        item.after = (0..specs.len())
            .filter(|other| match (specs[*other], specs[index]) {
                (Some(other), Some(this)) => template.resources[other].depends_on.contains(&this),
                _ => false,
            })
            .collect();
    }
}

fn keeps(stack: &Stack, policy: Option<DeletionPolicy>, created_now: bool) -> bool {
    let plain = stack.plain.as_ref();
    let except_on_create = plain.is_some_and(|plain| plain.retain_except_on_create);
    match policy {
        None | Some(DeletionPolicy::Delete) => false,
        Some(DeletionPolicy::Retain) => !(created_now && except_on_create),
        Some(DeletionPolicy::RetainExceptOnCreate) => !created_now,
    }
}
