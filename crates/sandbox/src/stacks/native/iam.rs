//! Roles and managed policies, real in the account's simulated IAM.

use serde_json::Value;

use super::{Made, Place, document, strings, text};
use crate::iam::{self, PolicySpec, RoleSpec};
use crate::wire::errors::AwsError;
use crate::world::World;

pub(super) fn make(
    world: &mut World,
    place: &Place<'_>,
    name: String,
    properties: &Value,
) -> Result<Made, AwsError> {
    if place.kind == "AWS::IAM::Role" {
        let spec = role_spec(world, place, name.clone(), properties);
        let identity = iam::create_role(world, &place.caller, spec)?;
        let attributes = vec![
            ("Arn".into(), Value::String(identity.arn)),
            ("RoleId".into(), Value::String(identity.id)),
        ];
        return Ok((name, attributes));
    }
    let spec = PolicySpec {
        name,
        path: text(properties, "Path").unwrap_or_default(),
        document: document(properties, "PolicyDocument"),
        description: text(properties, "Description"),
    };
    let arn = iam::create_managed_policy(world, &place.caller, spec)?;
    Ok((arn, Vec::new()))
}

pub(super) fn change(
    world: &mut World,
    place: &Place<'_>,
    physical_id: &str,
    (old, properties): (&Value, &Value),
) -> Result<(), AwsError> {
    if place.kind == "AWS::IAM::Role" {
        let spec = |properties| role_spec(world, place, physical_id.to_owned(), properties);
        let (before, after) = (spec(old), spec(properties));
        return iam::update_role(world, &place.caller, physical_id, &before, &after);
    }
    let document = document(properties, "PolicyDocument");
    iam::update_managed_policy(world, &place.caller, physical_id, &document)
}

pub(super) fn remove(
    world: &mut World,
    place: &Place<'_>,
    physical_id: &str,
    properties: &Value,
) -> Result<(), AwsError> {
    if place.kind == "AWS::IAM::Role" {
        let spec = role_spec(world, place, physical_id.to_owned(), properties);
        iam::delete_role(world, &place.caller, physical_id, &spec)
    } else {
        iam::delete_managed_policy(world, &place.caller, physical_id)
    }
}

/// The tags of a resource: its own, those of the stack, and CloudFormation's (CloudFormation user guide, "Resource tags").
fn tags(world: &World, place: &Place<'_>, properties: &Value) -> Vec<(String, String)> {
    let own = properties
        .get("Tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut tags: Vec<(String, String)> = own
        .filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?)))
        .collect();
    let stack = &world.stacks[place.key];
    for (name, value) in &*stack.generation.tags {
        if !tags.iter().any(|(other, _)| other == name) {
            tags.push((name.clone(), value.clone()));
        }
    }
    let automatic = [
        ("logical-id", place.logical_id.to_owned()),
        ("stack-id", stack.id()),
        ("stack-name", stack.name.to_string()),
    ];
    let automatic = automatic
        .into_iter()
        .map(|(name, value)| (format!("aws:cloudformation:{name}"), value));
    tags.extend(automatic);
    tags
}

fn role_spec(world: &World, place: &Place<'_>, name: String, properties: &Value) -> RoleSpec {
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
        tags: tags(world, place, properties),
        boundary: text(properties, "PermissionsBoundary"),
    }
}
