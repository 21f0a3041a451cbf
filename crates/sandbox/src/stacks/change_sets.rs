//! Change sets: what another generation would change about a stack, told before it does.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::model::{Generation, Resource, Stack, StackKey, Status};
use super::native::replacing;
use super::scope::StackScope;
use crate::clock::SimTime;
use crate::template::{DeletionPolicy, ResourceSpec, references};

/// A change set.
#[derive(Debug)]
pub(crate) struct ChangeSet {
    pub(crate) stack: StackKey,
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    pub(crate) description: Option<String>,
    /// The `ClientToken` of its creation.
    pub(crate) token: Option<String>,
    pub(crate) created: SimTime,
    /// When it is no longer being made.
    pub(crate) ready: SimTime,
    pub(crate) generation: Generation,
    /// Why it cannot be executed.
    pub(crate) failure: Option<&'static str>,
    pub(crate) changes: Vec<Change>,
    /// The stack's epoch when it was made: it is obsolete once something else happened to the stack.
    pub(crate) epoch: u32,
    pub(crate) executed: bool,
}

impl ChangeSet {
    /// Its id, an ARN.
    pub(crate) fn id(&self, stack: &Stack) -> String {
        format!(
            "arn:aws:cloudformation:{}:{}:changeSet/{}/{}",
            stack.region, stack.account, self.name, self.uuid
        )
    }
}

/// What would happen to one resource (CloudFormation API reference, ResourceChange).
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) action: &'static str,
    pub(crate) logical_id: String,
    pub(crate) kind: String,
    pub(crate) physical_id: Option<String>,
    /// Of a Modify.
    pub(crate) replacement: Option<&'static str>,
    /// Of what goes or is replaced.
    pub(crate) policy: Option<&'static str>,
    /// Of a Modify: the properties, and whether their change replaces the resource.
    pub(crate) properties: Vec<(String, bool)>,
}

/// Everything that a generation would change about a stack.
pub(crate) fn changes(stack: &Stack, generation: &Generation) -> Vec<Change> {
    let old = StackScope::current(stack);
    let new = StackScope {
        stack,
        generation,
        resources: &stack.resources,
    };
    let conditions = new.conditions().unwrap_or_default();
    let wanted: Vec<&ResourceSpec> = generation
        .template
        .resources
        .iter()
        .filter(|spec| {
            spec.condition
                .as_ref()
                .is_none_or(|name| conditions.get(name) == Some(&true))
        })
        .collect();
    let mut changes = Vec::new();
    let mut replaced = BTreeSet::new();
    for spec in &wanted {
        match existing(stack, &spec.logical_id) {
            None => changes.push(Change {
                action: "Add",
                logical_id: spec.logical_id.to_string(),
                kind: spec.kind.to_string(),
                physical_id: None,
                replacement: None,
                policy: None,
                properties: Vec::new(),
            }),
            Some(resource) => {
                let change = modification(&old, &new, spec, resource, &replaced);
                if let Some(change) = change {
                    if change.replacement != Some("False") {
                        replaced.insert(change.logical_id.clone());
                    }
                    changes.push(change);
                }
            }
        }
    }
    for resource in &stack.resources {
        let stays = wanted
            .iter()
            .any(|spec| spec.logical_id == resource.logical_id);
        if stays || existing(stack, &resource.logical_id).is_none() {
            continue;
        }
        let spec = stack.generation.template.resource(&resource.logical_id);
        changes.push(Change {
            action: "Remove",
            logical_id: resource.logical_id.to_string(),
            kind: resource.kind.to_string(),
            physical_id: Some(resource.physical_id.to_string()),
            replacement: None,
            policy: Some(match spec.map(|spec| spec.deletion_policy) {
                None | Some(DeletionPolicy::Delete) => "Delete",
                Some(DeletionPolicy::Retain | DeletionPolicy::RetainExceptOnCreate) => "Retain",
            }),
            properties: Vec::new(),
        });
    }
    changes
}

fn existing<'a>(stack: &'a Stack, logical_id: &str) -> Option<&'a Resource> {
    let resource = &stack.resources[stack.position(logical_id)?];
    (!resource.physical_id.is_empty() && resource.status != Status::DeleteComplete)
        .then_some(resource)
}

fn modification(
    old: &StackScope<'_>,
    new: &StackScope<'_>,
    spec: &ResourceSpec,
    resource: &Resource,
    replaced: &BTreeSet<String>,
) -> Option<Change> {
    let before = old.generation.template.resource(&spec.logical_id)?;
    let mut properties = Vec::new();
    let mut replacement = "False";
    for name in names(&before.properties).union(&names(&spec.properties)) {
        let (was, is) = (before.properties.get(*name), spec.properties.get(*name));
        let dynamic = is.is_some_and(|is| {
            references(is)
                .iter()
                .any(|target| replaced.contains(target))
        });
        let differs = match (evaluate(old, was), evaluate(new, is)) {
            (Ok(was), Ok(is)) => was != is,
            // What refers to a resource that is not there yet can only be compared as it is written.
            _ => was != is,
        };
        if !differs && !dynamic {
            continue;
        }
        let replaces = replacing(&spec.kind).contains(name);
        if replaces && differs {
            replacement = "True";
        } else if replaces && replacement == "False" {
            replacement = "Conditional";
        }
        properties.push(((*name).to_owned(), replaces));
    }
    if properties.is_empty() && resource.kind == spec.kind {
        return None;
    }
    let retains = before.update_replace_policy == DeletionPolicy::Retain;
    let policy = match (replacement, retains) {
        ("False", _) => None,
        (_, true) => Some("ReplaceAndRetain"),
        (_, false) => Some("ReplaceAndDelete"),
    };
    Some(Change {
        action: "Modify",
        logical_id: spec.logical_id.to_string(),
        kind: spec.kind.to_string(),
        physical_id: Some(resource.physical_id.to_string()),
        replacement: Some(replacement),
        policy,
        properties,
    })
}

fn names(properties: &Value) -> BTreeSet<&str> {
    let names = properties.as_object().into_iter().flatten();
    names.map(|(name, _)| name.as_str()).collect()
}

fn evaluate(scope: &StackScope<'_>, value: Option<&Value>) -> Result<Option<Value>, ()> {
    match value {
        None => Ok(None),
        Some(value) => scope.evaluate(value).map(Some).map_err(|_| ()),
    }
}
