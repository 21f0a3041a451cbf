//! The role of a template, with all that belongs to it (CloudFormation Template Reference, AWS::IAM::Role,
//! AWS::IAM::ManagedPolicy, AWS::IAM::Policy, AWS::IAM::RolePolicy).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    super::{document::MeantDocument, unknown},
    MeaningError, Meanings, MeantPolicy, RoleMeaning,
    resolve::Resolver,
};

/// The logical id of Spot's role, in Spot's template and in ours.
const ROLE: &str = "SpotRole";

/// What a template means for the stack of a resolver.
pub(super) fn meaning(
    meanings: &Meanings,
    mut resolver: Resolver<'_>,
) -> Result<Option<RoleMeaning>, MeaningError> {
    let role = &meanings.template["Resources"][ROLE];
    if role["Type"] != "AWS::IAM::Role" {
        return Err(MeaningError::NoRole);
    }
    if !is_made(ROLE, role, &mut resolver)? {
        return Ok(None);
    }
    let properties = &role["Properties"];
    let trust = resolver.document(&properties["AssumeRolePolicyDocument"]);
    let mut meaning = RoleMeaning {
        role_name: resolver.text(&properties["RoleName"]),
        path: resolver.text(&properties["Path"]),
        trust,
        policies: Vec::new(),
        attached_arns: BTreeSet::new(),
        inline: BTreeMap::new(),
        boundary: resolver.text(&properties["PermissionsBoundary"]),
        tags: tags(&resolver.list(&properties["Tags"])),
        has_repair_nonce: meanings.has_repair_nonce(),
    };
    let mut attached = BTreeSet::new();
    for arn in resolver.list(&properties["ManagedPolicyArns"]) {
        let Value::String(arn) = arn else { continue };
        match unknown::name(&arn) {
            Some(id) if is_managed_policy(meanings, id) => {
                attached.insert(id.to_owned());
            }
            _ => {
                meaning.attached_arns.insert(arn);
            }
        }
    }
    for (id, policy) in meanings.resources("AWS::IAM::ManagedPolicy") {
        let is_attached = attached.contains(id)
            || (names_role(&meaning, &policy["Properties"]["Roles"], &mut resolver)
                && is_made(id, policy, &mut resolver)?);
        if !is_attached {
            continue;
        }
        let name = resolver.text(&policy["Properties"]["ManagedPolicyName"]);
        let document = meanings.policy(id, policy, &mut resolver);
        meaning.policies.push(MeantPolicy {
            logical_id: id.clone(),
            name,
            document,
        });
    }
    for policy in resolver.list(&properties["Policies"]) {
        add_inline(&mut meaning, &policy);
    }
    for (kind, roles) in [
        ("AWS::IAM::Policy", "Roles"),
        ("AWS::IAM::RolePolicy", "RoleName"),
    ] {
        for (id, policy) in meanings.resources(kind) {
            let properties = &policy["Properties"];
            if names_role(&meaning, &properties[roles], &mut resolver)
                && is_made(id, policy, &mut resolver)?
                && let Some(policy) = resolver.value(properties)
            {
                add_inline(&mut meaning, &policy);
            }
        }
    }
    match resolver.undecided() {
        Some(condition) => Err(undecided(ROLE, condition)),
        None if !meaning.trust.value().is_object() => Err(MeaningError::NoTrust),
        None => Ok(Some(meaning)),
    }
}

fn is_managed_policy(meanings: &Meanings, logical_id: &str) -> bool {
    meanings.template["Resources"][logical_id]["Type"] == "AWS::IAM::ManagedPolicy"
}

fn undecided(logical_id: &str, condition: &str) -> MeaningError {
    MeaningError::Undecided {
        logical_id: logical_id.to_owned(),
        condition: condition.to_owned(),
    }
}

/// Whether the stack has a resource.
fn is_made(
    logical_id: &str,
    resource: &Value,
    resolver: &mut Resolver<'_>,
) -> Result<bool, MeaningError> {
    match &resource["Condition"] {
        Value::String(condition) => resolver
            .condition(condition)
            .ok_or_else(|| undecided(logical_id, condition)),
        _ => Ok(true),
    }
}

/// Whether a list of roles has the one that is meant.
fn names_role(meaning: &RoleMeaning, roles: &Value, resolver: &mut Resolver<'_>) -> bool {
    let roles = resolver.list(roles);
    let mut roles = roles.iter().filter_map(Value::as_str);
    roles
        .any(|role| unknown::name(role) == Some(ROLE) || meaning.role_name.as_deref() == Some(role))
}

fn add_inline(meaning: &mut RoleMeaning, policy: &Value) {
    if let Some(name) = policy["PolicyName"].as_str() {
        let document = MeantDocument::new(policy["PolicyDocument"].clone());
        meaning.inline.insert(name.to_owned(), document);
    }
}

fn tags(tags: &[Value]) -> BTreeMap<String, String> {
    let texts = tags.iter().filter_map(|tag| {
        let value = match &tag["Value"] {
            Value::String(text) => text.clone(),
            scalar @ (Value::Number(_) | Value::Bool(_)) => scalar.to_string(),
            _ => return None,
        };
        Some((tag["Key"].as_str()?.to_owned(), value))
    });
    texts.collect()
}
