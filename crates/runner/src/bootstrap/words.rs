//! What a preview or a deployment looks like: words for people, one document for programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use aws_ops::stacks::{ChangeAction, Replacement, ResourceChange};
use serde::Serialize;

use super::Prepared;
use crate::report::table;

/// The document of `runner bootstrap --output json`.
#[derive(Debug, Serialize)]
pub struct Document {
    /// The stacks, that of the home Region first.
    pub stacks: Vec<StackDocument>,
}

/// One stack of it.
#[derive(Debug, Serialize)]
pub struct StackDocument {
    /// Its name.
    pub name: String,
    /// Its Region.
    pub region: String,
    /// How it stands.
    pub status: Status,
    /// What changes, or has changed.
    pub changes: Vec<ChangeDocument>,
    /// Its outputs, when it was deployed.
    pub outputs: BTreeMap<String, String>,
}

/// How a stack stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There is nothing to do.
    Unchanged,
    /// Changes are pending.
    Planned,
    /// The changes were made.
    Deployed,
}

/// One change.
#[derive(Debug, Serialize)]
pub struct ChangeDocument {
    /// `add`, `modify`, `replace`, `may replace`, `remove` or `other`.
    pub action: &'static str,
    /// The logical id.
    pub logical_id: String,
    /// The type.
    pub resource_type: String,
    /// Whether what is removed or replaced stays outside the stack.
    pub retained: bool,
    /// The properties that are changed, and attributes such as `Tags`.
    pub properties: BTreeSet<String>,
}

impl StackDocument {
    /// A stack as it was prepared.
    #[must_use]
    pub fn of(prepared: &Prepared) -> Self {
        let changes: Vec<_> = prepared.changes().iter().map(change).collect();
        Self {
            name: prepared.name().to_owned(),
            region: prepared.region().to_owned(),
            status: if changes.is_empty() {
                Status::Unchanged
            } else {
                Status::Planned
            },
            changes,
            outputs: BTreeMap::new(),
        }
    }
}

/// A change in one line.
#[must_use]
pub fn line(change: &ResourceChange) -> String {
    let ChangeDocument {
        action,
        logical_id,
        resource_type,
        properties,
        ..
    } = self::change(change);
    if properties.is_empty() {
        return format!("{action} {logical_id} ({resource_type})");
    }
    let properties = list(&properties);
    format!("{action} {logical_id} ({resource_type}: {properties})")
}

fn change(change: &ResourceChange) -> ChangeDocument {
    ChangeDocument {
        action: match (change.action, change.replacement) {
            (ChangeAction::Add, _) => "add",
            (ChangeAction::Remove, _) => "remove",
            (ChangeAction::Modify, Replacement::No) => "modify",
            (ChangeAction::Modify, Replacement::Yes) => "replace",
            (ChangeAction::Modify, Replacement::Perhaps) => "may replace",
            (ChangeAction::Other, _) => "other",
        },
        logical_id: change.logical_id.clone(),
        resource_type: change.resource_type.clone(),
        retained: change.retained,
        properties: change.properties.clone(),
    }
}

fn list(properties: &BTreeSet<String>) -> String {
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    properties.join(", ")
}

/// The stacks for people.
#[must_use]
pub fn preview(stacks: &[StackDocument]) -> String {
    let mut text = String::new();
    for stack in stacks {
        // Writing to a String cannot fail.
        let _ = write!(text, "stack {} in {}: ", stack.name, stack.region);
        if stack.changes.is_empty() {
            text.push_str("no changes\n");
            continue;
        }
        let _ = writeln!(text, "{} changes", stack.changes.len());
        let mut rows = table::table(&["change", "resource", "type", "properties"]);
        for change in &stack.changes {
            let action = if change.retained {
                format!("{} (the old one stays)", change.action)
            } else {
                change.action.to_owned()
            };
            rows.add_row([
                &action,
                &change.logical_id,
                &change.resource_type,
                &list(&change.properties),
            ]);
        }
        text.push_str(&table::render(&rows));
    }
    text
}

/// The outputs for people.
#[must_use]
pub fn outputs(stacks: &[StackDocument]) -> String {
    let mut text = String::new();
    for (name, value) in stacks.iter().flat_map(|stack| &stack.outputs) {
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}
