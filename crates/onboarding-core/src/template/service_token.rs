//! ServiceTokens never change: CloudFormation refuses an update that changes one under an existing logical id, and a
//! stack set would keep the template all the same.

use serde_json::Value;

use super::{BodyError, Template, parse_body};

/// The logical ids whose ServiceToken would change if the new template replaced the old one. A plan with any of them
/// must be refused. A token that cannot be compared counts as changed.
///
/// # Errors
/// [`BodyError`] when the old text is no template.
pub fn plan_service_token_change(old_body: &str, new: &Template) -> Result<Vec<String>, BodyError> {
    let old = parse_body(old_body)?;
    let changes = |resource: &&super::Resource| {
        let new_token = resource.properties.get("ServiceToken");
        let old_token = old
            .get("Resources")
            .and_then(|resources| resources.get(&resource.logical_id))
            .and_then(|resource| resource.get("Properties"))
            .and_then(|properties| properties.get("ServiceToken"));
        match (old_token, new_token) {
            (Some(old), Some(new)) => normalized(old) != normalized(new),
            _ => false,
        }
    };
    let changed = new.resources.iter().filter(changes);
    Ok(changed
        .map(|resource| resource.logical_id.clone())
        .collect())
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
