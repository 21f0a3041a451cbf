//! Policies of resources as JSON: statements that say who, what, on what and when.

use serde_json::{Map, Value, json};

/// One `Allow` statement; a statement for everybody must have conditions.
pub(super) fn allow(
    sid: &str,
    principal: Value,
    actions: &[&str],
    resource: Value,
    conditions: Option<Value>,
) -> Value {
    let mut statement = Map::new();
    statement.insert("Sid".into(), sid.into());
    statement.insert("Effect".into(), "Allow".into());
    statement.insert("Principal".into(), principal);
    statement.insert("Action".into(), actions.into());
    statement.insert("Resource".into(), resource);
    if let Some(conditions) = conditions {
        statement.insert("Condition".into(), conditions);
    }
    Value::Object(statement)
}

/// A document of these statements.
pub(super) fn document(statements: Vec<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// A service of AWS as principal.
pub(super) fn service(name: &str) -> Value {
    json!({"Service": name})
}
