//! Resources that CloudFormation makes itself. IAM roles and managed policies are real here, in the
//! account's simulated IAM; other types are refused rather than pretended.

use serde_json::Value;

use super::custom::principal;
use super::engine::Performed;
use super::model::{StackKey, Status};
use super::scope::StackScope;
use crate::iam::{self, PolicySpec, RoleSpec};
use crate::template::TemplateError;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Properties whose change makes CloudFormation replace a resource (its resource type reference, "Update requires").
fn replacing(kind: &str) -> &'static [&'static str] {
    match kind {
        "AWS::IAM::Role" => &["RoleName", "Path"],
        "AWS::IAM::ManagedPolicy" => &["ManagedPolicyName", "Path", "Description"],
        _ => &[],
    }
}

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
            return match change(world, key, (&logical_id, &kind), &physical_id, &properties) {
                Ok(()) => Performed::Done {
                    physical_id: None,
                    attributes,
                },
                Err(error) => denied(&error),
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
    let name = explicit_name(&kind, &properties);
    if let (Some(name), Some(old)) = (&name, &replaced)
        && (old == name || old.ends_with(&format!("/{name}")))
    {
        return Performed::failed(format!(
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {old} and update the stack again."
        ));
    }
    let name = name.unwrap_or_else(|| {
        let limit = if *kind == *"AWS::IAM::Role" { 64 } else { 128 };
        generated_name(world, key, &logical_id, limit)
    });
    match make(world, key, (&logical_id, &kind), name, &properties) {
        Ok(performed) => performed,
        Err(error) => denied(&error),
    }
}

fn explicit_name(kind: &str, properties: &Value) -> Option<String> {
    let property = match kind {
        "AWS::IAM::Role" => "RoleName",
        "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
        _ => return None,
    };
    properties
        .get(property)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// `<stack name>-<logical id>-<suffix>`, the stack name cut so that the whole fits.
fn generated_name(world: &mut World, key: StackKey, logical_id: &str, limit: usize) -> String {
    let suffix = world.ids.upper(12);
    let logical_id: String = logical_id.chars().take(24).collect();
    let room = limit - suffix.len() - logical_id.len() - 2;
    let stack: String = world.stacks[key].name.chars().take(room).collect();
    format!("{}-{logical_id}-{suffix}", stack.trim_end_matches('-'))
}

fn text(properties: &Value, name: &str) -> Option<String> {
    properties
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

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

/// The tags of a resource: its own, those of the stack, and CloudFormation's (CloudFormation user guide, "Resource tags").
fn tags(
    world: &World,
    key: StackKey,
    logical_id: &str,
    properties: &Value,
) -> Vec<(String, String)> {
    let own = properties
        .get("Tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut tags: Vec<(String, String)> = own
        .filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?)))
        .collect();
    for (name, value) in &*world.stacks[key].generation.tags {
        if !tags.iter().any(|(other, _)| other == name) {
            tags.push((name.clone(), value.clone()));
        }
    }
    let stack = &world.stacks[key];
    let automatic = [
        ("logical-id", logical_id.to_owned()),
        ("stack-id", stack.id()),
        ("stack-name", stack.name.to_string()),
    ];
    let automatic = automatic
        .into_iter()
        .map(|(name, value)| (format!("aws:cloudformation:{name}"), value));
    tags.extend(automatic);
    tags
}

fn role_spec(
    world: &World,
    key: StackKey,
    logical_id: &str,
    name: String,
    properties: &Value,
) -> RoleSpec {
    let inline = properties
        .get("Policies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    RoleSpec {
        name,
        path: text(properties, "Path").unwrap_or_default(),
        trust: document(properties, "AssumeRolePolicyDocument"),
        description: text(properties, "Description"),
        max_session: properties
            .get("MaxSessionDuration")
            .and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
            .and_then(|seconds| u32::try_from(seconds).ok()),
        managed_policies: strings(properties, "ManagedPolicyArns"),
        inline: inline
            .filter_map(|policy| {
                Some((
                    text(policy, "PolicyName")?,
                    document(policy, "PolicyDocument"),
                ))
            })
            .collect(),
        tags: tags(world, key, logical_id, properties),
        boundary: text(properties, "PermissionsBoundary"),
    }
}

fn make(
    world: &mut World,
    key: StackKey,
    (logical_id, kind): (&str, &str),
    name: String,
    properties: &Value,
) -> Result<Performed, AwsError> {
    let caller = principal(&world.stacks[key]);
    let (physical_id, attributes) = match kind {
        "AWS::IAM::Role" => {
            let spec = role_spec(world, key, logical_id, name.clone(), properties);
            let identity = iam::create_role(world, &caller, spec)?;
            let attributes = vec![
                ("Arn".into(), Value::String(identity.arn)),
                ("RoleId".into(), Value::String(identity.id)),
            ];
            (name, attributes)
        }
        "AWS::IAM::ManagedPolicy" => {
            let spec = PolicySpec {
                name,
                path: text(properties, "Path").unwrap_or_default(),
                document: document(properties, "PolicyDocument"),
                description: text(properties, "Description"),
            };
            let arn = iam::create_managed_policy(world, &caller, spec)?;
            (arn, Vec::new())
        }
        "AWS::CloudFormation::WaitConditionHandle" => (
            format!("{}/_cloudformation/wait/{name}", world.endpoint),
            Vec::new(),
        ),
        other => {
            let error =
                TemplateError::format(format_args!("Unrecognized resource types: [{other}]"));
            return Ok(Performed::failed(error.to_string()));
        }
    };
    Ok(Performed::Done {
        physical_id: Some(physical_id),
        attributes,
    })
}

fn change(
    world: &mut World,
    key: StackKey,
    (logical_id, kind): (&str, &str),
    physical_id: &str,
    properties: &Value,
) -> Result<(), AwsError> {
    let caller = principal(&world.stacks[key]);
    match kind {
        "AWS::IAM::Role" => {
            let spec = role_spec(world, key, logical_id, physical_id.to_owned(), properties);
            iam::update_role(world, &caller, physical_id, spec)
        }
        "AWS::IAM::ManagedPolicy" => {
            let document = document(properties, "PolicyDocument");
            iam::update_managed_policy(world, &caller, physical_id, &document)
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
    let caller = principal(stack);
    let result = match &*kind {
        "AWS::IAM::Role" => iam::delete_role(world, &caller, &physical_id),
        "AWS::IAM::ManagedPolicy" => iam::delete_managed_policy(world, &caller, &physical_id),
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
        Err(error) => denied(&error),
    }
}

/// An error of IAM in the words of CloudFormation's resource handlers.
fn denied(error: &AwsError) -> Performed {
    let handler = match &*error.code {
        "AccessDenied" => "AccessDenied",
        "EntityAlreadyExists" => "AlreadyExists",
        "NoSuchEntity" => "NotFound",
        "LimitExceeded" => "ServiceLimitExceeded",
        _ => "InvalidRequest",
    };
    Performed::failed(format!(
        "Resource handler returned message: \"{} (Service: Iam, Status Code: {})\" (HandlerErrorCode: {handler})",
        error.message.trim_end_matches('.'),
        error.status
    ))
}
