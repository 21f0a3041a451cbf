//! ServiceTokens never change: CloudFormation refuses an update that changes one under an existing logical id, and a
//! stack set would keep the template all the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{BodyError, parse_body};
use crate::ids::TopicArn;

/// The logical ids whose ServiceToken would change if the new template replaced the old one. A plan with any of them
/// must be refused. A token that cannot be compared counts as changed.
///
/// # Errors
/// [`BodyError`] when either text is no template.
pub fn service_token_changes(old_body: &str, new_body: &str) -> Result<Vec<String>, BodyError> {
    let old = parse_body(old_body)?;
    let new = parse_body(new_body)?;
    let ids = new.get("Resources").and_then(Value::as_object);
    let ids = ids.into_iter().flat_map(|resources| resources.keys());
    let changed = ids.filter(
        |id| match (service_token(&old, id), service_token(&new, id)) {
            (Some(old), Some(new)) => normalized(old) != normalized(new),
            _ => false,
        },
    );
    Ok(changed.cloned().collect())
}

/// The SNS topics that the custom resources of a template name as their ServiceToken.
///
/// # Errors
/// [`BodyError`] when the text is no template.
pub fn service_topics(body: &str) -> Result<BTreeSet<TopicArn>, BodyError> {
    let template = parse_body(body)?;
    let ids = template.get("Resources").and_then(Value::as_object);
    let ids = ids.into_iter().flat_map(|resources| resources.keys());
    let topics = ids.filter_map(|id| service_token(&template, id)?.as_str()?.parse().ok());
    Ok(topics.collect())
}

fn service_token<'a>(template: &'a Value, logical_id: &str) -> Option<&'a Value> {
    template
        .get("Resources")?
        .get(logical_id)?
        .get("Properties")?
        .get("ServiceToken")
}

/// `Fn::Sub` with a map of plain references, as in Spot's own template, becomes `Fn::Sub` without a map, and one
/// without variables becomes a text.
fn normalized(token: &Value) -> Value {
    let text = match token.get("Fn::Sub") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => match parts.as_slice() {
            [Value::String(text)] => text.clone(),
            [Value::String(text), Value::Object(variables)] => {
                let mut text = text.clone();
                for (name, value) in variables {
                    let Some(target) = value.get("Ref").and_then(Value::as_str) else {
                        return token.clone();
                    };
                    text = text.replace(&format!("${{{name}}}"), &format!("${{{target}}}"));
                }
                text
            }
            _ => return token.clone(),
        },
        _ => return token.clone(),
    };
    if text.contains("${") {
        super::parts::substitute(text)
    } else {
        text.into()
    }
}
