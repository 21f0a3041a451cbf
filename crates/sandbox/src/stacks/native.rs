//! Resources that CloudFormation makes itself. Those of IAM, SNS and SQS and rules for events are real here; some others are
//! recorded, with an id and attributes and nothing behind them; all others are refused rather than
//! pretended.

mod iam;
mod kinds;
mod messaging;
mod recorded;
mod rules;

use serde_json::Value;

use super::custom::principal;
use super::engine::Performed;
use super::model::{StackKey, Status};
use super::scope::StackScope;
use crate::caller::Caller;
use crate::template::TemplateError;
use crate::wire::errors::AwsError;
use crate::world::World;

pub(super) use kinds::replacing;

/// A resource that is worked on: of which stack, as whom, its logical id and its type.
struct Place<'a> {
    key: StackKey,
    caller: Caller,
    logical_id: &'a str,
    kind: &'a str,
}

/// What a resource is known by once it is there: its physical id and what `Fn::GetAtt` reads.
type Made = (String, Vec<(Box<str>, Value)>);

/// Creates or updates a resource.
pub(super) fn apply(world: &mut World, key: StackKey, index: usize) -> Performed {
    let stack = &world.stacks[key];
    let Some(item) = stack.work.as_ref().and_then(|work| work.items.get(index)) else {
        return Performed::Waiting;
    };
    let logical_id = item.logical_id.clone();
    let scope = StackScope::current(stack);
    let Some(spec) = scope.generation.template.resource(&logical_id) else {
        return Performed::Waiting;
    };
    let (kind, properties) = match scope.evaluate(&spec.properties) {
        Ok(properties) => (spec.kind.clone(), properties),
        Err(error) => return Performed::failed(error.to_string()),
    };
    let existing = stack
        .position(&logical_id)
        .map(|at| &stack.resources[at])
        .filter(|resource| resource.status == Status::UpdateInProgress);
    let mut replaced = None;
    if let Some(resource) = existing {
        let old_scope = StackScope::previous(stack);
        let old_spec = old_scope.generation.template.resource(&logical_id);
        if resource.kind != kind {
            return Performed::failed(format!(
                "Update of resource type is not permitted. The new template modifies resource type of the following resources: [{logical_id}]"
            ));
        }
        let old = old_spec
            .and_then(|spec| old_scope.evaluate(&spec.properties).ok())
            .unwrap_or_default();
        if replacing(&kind)
            .iter()
            .all(|name| old.get(name) == properties.get(name))
        {
            let physical_id = resource.physical_id.to_string();
            let attributes = resource.attributes.to_vec();
            let properties = (&old, &properties);
            return match change(world, key, (&logical_id, &kind), &physical_id, properties) {
                Ok(()) => Performed::Done {
                    physical_id: None,
                    attributes,
                },
                Err(error) => denied(&error, &kind),
            };
        }
        // While an update is undone, what it had replaced is still there and takes its place again.
        let displaced = stack.work.as_ref().and_then(|work| {
            work.displaced
                .iter()
                .find(|old| old.logical_id == logical_id && old.original)
        });
        if let Some(displaced) = displaced {
            return Performed::Done {
                physical_id: Some(displaced.physical_id.to_string()),
                attributes: displaced.attributes.to_vec(),
            };
        }
        replaced = Some(resource.physical_id.to_string());
    }
    let name = kinds::explicit_name(&kind, &properties);
    if let (Some(name), Some(old)) = (&name, &replaced)
        && (old == name || old.ends_with(&format!("/{name}")))
    {
        return Performed::failed(format!(
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {old} and update the stack again."
        ));
    }
    let name = name.unwrap_or_else(|| generated_name(world, key, &logical_id, &kind));
    let place = Place {
        key,
        caller: principal(&world.stacks[key]),
        logical_id: &logical_id,
        kind: &kind,
    };
    match make(world, &place, name, &properties) {
        Ok(Some((physical_id, attributes))) => Performed::Done {
            physical_id: Some(physical_id),
            attributes,
        },
        Ok(None) => {
            let error =
                TemplateError::format(format_args!("Unrecognized resource types: [{kind}]"));
            Performed::failed(error.to_string())
        }
        Err(error) => denied(&error, &kind),
    }
}

/// `<stack name>-<logical id>-<suffix>`, the stack name cut so that the whole fits.
fn generated_name(world: &mut World, key: StackKey, logical_id: &str, kind: &str) -> String {
    let suffix = world.ids.upper(12);
    let logical_id: String = logical_id.chars().take(24).collect();
    let room = kinds::longest_name(kind) - suffix.len() - logical_id.len() - 2;
    let stack: String = world.stacks[key].name.chars().take(room).collect();
    let name = format!("{}-{logical_id}-{suffix}", stack.trim_end_matches('-'));
    if kind.starts_with("AWS::S3::") {
        name.to_lowercase()
    } else {
        name
    }
}

fn text(properties: &Value, name: &str) -> Option<String> {
    properties
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// A policy document or another value that an API takes as JSON text.
fn document(properties: &Value, name: &str) -> String {
    match properties.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn strings(properties: &Value, name: &str) -> Vec<String> {
    let items = properties.get(name).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Makes a resource; nothing for a type that is not known here.
fn make(
    world: &mut World,
    place: &Place<'_>,
    name: String,
    properties: &Value,
) -> Result<Option<Made>, AwsError> {
    match place.kind {
        "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy" => {
            iam::make(world, place, name, properties).map(Some)
        }
        kind if kind.starts_with("AWS::SNS::") || kind.starts_with("AWS::SQS::") => {
            messaging::make(world, place, name, properties)
        }
        "AWS::Events::Rule" => rules::make(world, place, name, properties).map(Some),
        _ => Ok(recorded::make(world, place, name, properties)),
    }
}

fn change(
    world: &mut World,
    key: StackKey,
    (logical_id, kind): (&str, &str),
    physical_id: &str,
    (old, properties): (&Value, &Value),
) -> Result<(), AwsError> {
    let place = Place {
        key,
        caller: principal(&world.stacks[key]),
        logical_id,
        kind,
    };
    match kind {
        "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy" => {
            iam::change(world, &place, physical_id, (old, properties))
        }
        kind if kind.starts_with("AWS::SNS::") || kind.starts_with("AWS::SQS::") => {
            messaging::change(world, &place, physical_id, properties)
        }
        "AWS::Events::Rule" => {
            rules::make(world, &place, physical_id.to_owned(), properties).map(drop)
        }
        _ => Ok(()),
    }
}

/// Deletes a resource. One that is gone already is deleted as far as CloudFormation is concerned.
pub(super) fn remove(world: &mut World, key: StackKey, index: usize) -> Performed {
    let stack = &world.stacks[key];
    let Some(item) = stack.work.as_ref().and_then(|work| work.items.get(index)) else {
        return Performed::Waiting;
    };
    let (kind, physical_id) = (item.kind.clone(), item.physical_id.to_string());
    let logical_id = item.logical_id.clone();
    let scope = if item.from_previous {
        StackScope::previous(stack)
    } else {
        StackScope::current(stack)
    };
    let spec = scope.generation.template.resource(&item.logical_id);
    let properties = spec
        .and_then(|spec| scope.evaluate(&spec.properties).ok())
        .unwrap_or_default();
    let place = Place {
        key,
        caller: principal(stack),
        logical_id: &logical_id,
        kind: &kind,
    };
    let result = match &*kind {
        "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy" => {
            iam::remove(world, &place, &physical_id, &properties)
        }
        kind if kind.starts_with("AWS::SNS::") || kind.starts_with("AWS::SQS::") => {
            messaging::remove(world, &place, &physical_id, &properties);
            Ok(())
        }
        "AWS::Events::Rule" => {
            rules::remove(world, &place, &physical_id);
            Ok(())
        }
        _ => Ok(()),
    };
    match result {
        Ok(()) => Performed::Done {
            physical_id: None,
            attributes: Vec::new(),
        },
        Err(error) if error.code == "NoSuchEntity" => Performed::Done {
            physical_id: None,
            attributes: Vec::new(),
        },
        Err(error) => denied(&error, &kind),
    }
}

/// An error of a service in the words of CloudFormation's resource handlers.
fn denied(error: &AwsError, kind: &str) -> Performed {
    let handler = match &*error.code {
        "AccessDenied" => "AccessDenied",
        "EntityAlreadyExists" => "AlreadyExists",
        "NoSuchEntity" => "NotFound",
        "LimitExceeded" => "ServiceLimitExceeded",
        _ => "InvalidRequest",
    };
    Performed::failed(format!(
        "Resource handler returned message: \"{} (Service: {}, Status Code: {})\" (HandlerErrorCode: {handler})",
        error.message.trim_end_matches('.'),
        kinds::service(kind),
        error.status
    ))
}
