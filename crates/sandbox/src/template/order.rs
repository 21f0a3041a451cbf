//! The order of resources: each after those that it needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::TemplateError;
use super::model::{ResourceSpec, policy, text};
use super::parameters::ParameterSpec;

/// Checks resources and sorts them so that each stands behind its dependencies; ties keep the template's order.
pub(super) fn order(
    resources: Map<String, Value>,
    parameters: &[ParameterSpec],
    conditions: &Map<String, Value>,
) -> Result<Vec<ResourceSpec>, TemplateError> {
    let names: Vec<String> = resources.keys().cloned().collect();
    let position: BTreeMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let mut unresolved = BTreeSet::new();
    let mut specs: Vec<(ResourceSpec, BTreeSet<usize>)> = Vec::with_capacity(names.len());
    for (name, body) in &resources {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(TemplateError::format(format_args!(
                "Resource name {name} is non alphanumeric."
            )));
        }
        let Some(kind) = text(body.get("Type")) else {
            return Err(TemplateError::format(format_args!(
                "[/Resources/{name}] Every Resources object must contain a Type member."
            )));
        };
        let condition = text(body.get("Condition"));
        if let Some(condition) = condition
            .as_ref()
            .filter(|name| !conditions.contains_key(*name))
        {
            return Err(TemplateError::format(format_args!(
                "Unresolved condition dependency {condition} in the Resources block of the template"
            )));
        }
        let properties = body
            .get("Properties")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new()));
        let explicit = match body.get("DependsOn") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(|name| text(Some(name))).collect(),
            Some(_) => {
                return Err(TemplateError::format(
                    "DependsOn must be a string or list of strings.",
                ));
            }
        };
        let mut needs = BTreeSet::new();
        // References from Metadata order resources, too.
        let metadata = body.get("Metadata").map(references).unwrap_or_default();
        let implicit = references(&properties).into_iter().chain(metadata);
        for needed in explicit.into_iter().chain(implicit) {
            if let Some(&index) = position.get(needed.as_str()) {
                needs.insert(index);
            } else if !needed.starts_with("AWS::")
                && !parameters.iter().any(|parameter| parameter.key == needed)
            {
                unresolved.insert(needed);
            }
        }
        let spec = ResourceSpec {
            logical_id: name.as_str().into(),
            kind: kind.into(),
            properties,
            depends_on: Vec::new(),
            condition,
            deletion_policy: policy(name, body, "DeletionPolicy")?,
            update_replace_policy: policy(name, body, "UpdateReplacePolicy")?,
        };
        specs.push((spec, needs));
    }
    if !unresolved.is_empty() {
        return Err(TemplateError::format(format_args!(
            "Unresolved resource dependencies [{}] in the Resources block of the template",
            unresolved.into_iter().collect::<Vec<_>>().join(", ")
        )));
    }
    let mut placed: Vec<Option<usize>> = vec![None; specs.len()];
    let mut sorted = Vec::with_capacity(specs.len());
    while sorted.len() < specs.len() {
        let next = specs.iter().enumerate().position(|(index, (_, needs))| {
            placed[index].is_none() && needs.iter().all(|need| placed[*need].is_some())
        });
        let Some(index) = next else {
            let stuck: Vec<&str> = names
                .iter()
                .enumerate()
                .filter(|(index, _)| placed[*index].is_none())
                .map(|(_, name)| name.as_str())
                .collect();
            return Err(TemplateError(format!(
                "Circular dependency between resources: [{}]",
                stuck.join(", ")
            )));
        };
        placed[index] = Some(sorted.len());
        let (mut spec, needs) = specs[index].clone();
        spec.depends_on = needs.iter().filter_map(|need| placed[*need]).collect();
        sorted.push(spec);
    }
    Ok(sorted)
}

/// Every name that `Ref`, `Fn::GetAtt` and `Fn::Sub` inside a value refer to.
pub(crate) fn references(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => {
            for (key, argument) in map {
                match (key.as_str(), argument) {
                    ("Ref", Value::String(name)) if map.len() == 1 => found.push(name.clone()),
                    ("Fn::GetAtt", Value::Array(parts)) if map.len() == 1 => {
                        found.extend(parts.first().and_then(|part| text(Some(part))));
                    }
                    ("Fn::GetAtt", Value::String(path)) if map.len() == 1 => {
                        found.extend(path.split('.').next().map(str::to_owned));
                    }
                    ("Fn::Sub", Value::String(text)) if map.len() == 1 => {
                        found.extend(substituted(text).map(str::to_owned));
                    }
                    ("Fn::Sub", Value::Array(parts)) if map.len() == 1 => {
                        let local = parts.get(1).and_then(Value::as_object);
                        if let Some(Value::String(text)) = parts.first() {
                            found.extend(
                                substituted(text)
                                    .filter(|name| {
                                        !local.is_some_and(|map| map.contains_key(*name))
                                    })
                                    .map(str::to_owned),
                            );
                        }
                        parts.iter().skip(1).for_each(|part| collect(part, found));
                    }
                    _ => collect(argument, found),
                }
            }
        }
        _ => {}
    }
}

/// The names in `${...}` of a `Fn::Sub` text, without attributes and without `${!literal}`.
fn substituted(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| {
        let name = rest.split('}').next()?.trim();
        (!name.starts_with('!')).then(|| name.split('.').next().unwrap_or(name))
    })
}
