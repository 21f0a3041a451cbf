//! One statement of an identity policy, checked as IAM's grammar has it (IAM User Guide, "Grammar of the IAM JSON
//! policy language").

use serde_json::{Map, Value};

use super::StatementProblem;

/// A checked statement. Its elements keep the order and form that they were written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement(Map<String, Value>);

impl Statement {
    /// Checks a statement.
    ///
    /// # Errors
    /// The first thing that IAM would refuse.
    pub fn from_value(value: Value) -> Result<Self, StatementProblem> {
        let Value::Object(map) = value else {
            return Err(StatementProblem::NotAnObject);
        };
        for element in map.keys() {
            match element.as_str() {
                "Sid" | "Effect" | "Action" | "NotAction" | "Resource" | "NotResource"
                | "Condition" => {}
                "Principal" => return Err(StatementProblem::Principal("Principal")),
                "NotPrincipal" => return Err(StatementProblem::Principal("NotPrincipal")),
                other => return Err(StatementProblem::UnknownElement(other.to_owned())),
            }
        }
        if !matches!(
            map.get("Effect").and_then(Value::as_str),
            Some("Allow" | "Deny")
        ) {
            return Err(StatementProblem::Effect);
        }
        if let Some(sid) = map.get("Sid") {
            let valid = sid
                .as_str()
                .is_some_and(|sid| sid.bytes().all(|b| b.is_ascii_alphanumeric()));
            if !valid {
                return Err(StatementProblem::Sid(sid.to_string()));
            }
        }
        for action in texts(&map, "Action", "NotAction")? {
            if !is_action(action) {
                return Err(StatementProblem::Action(action.to_owned()));
            }
        }
        for resource in texts(&map, "Resource", "NotResource")? {
            if resource != "*" && !resource.starts_with("arn:") {
                return Err(StatementProblem::Resource(resource.to_owned()));
            }
        }
        let condition_is_valid = map.get("Condition").is_none_or(|condition| {
            condition
                .as_object()
                .is_some_and(|operators| operators.values().all(Value::is_object))
        });
        if !condition_is_valid {
            return Err(StatementProblem::Condition);
        }
        Ok(Self(map))
    }

    /// The statement's id, when it has a non-empty one.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        self.0
            .get("Sid")
            .and_then(Value::as_str)
            .filter(|sid| !sid.is_empty())
    }

    /// The elements, in the order that they were written in.
    #[must_use]
    pub fn elements(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// The texts of whichever of the two elements is there.
fn texts<'a>(
    map: &'a Map<String, Value>,
    element: &'static str,
    negation: &'static str,
) -> Result<Vec<&'a str>, StatementProblem> {
    let value = match (map.get(element), map.get(negation)) {
        (Some(value), None) | (None, Some(value)) => value,
        _ => return Err(StatementProblem::ExactlyOne(element)),
    };
    match value {
        Value::String(text) => Some(vec![text.as_str()]),
        Value::Array(items) if !items.is_empty() => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
    .ok_or(StatementProblem::NotTexts(element))
}

fn is_action(text: &str) -> bool {
    text == "*"
        || text.split_once(':').is_some_and(|(service, name)| {
            !service.is_empty()
                && !name.is_empty()
                && service
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"*?".contains(&b))
        })
}
