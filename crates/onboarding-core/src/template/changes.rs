//! What one template changes in another, in words: what the policies grant, and which other resources differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{BodyError, parse_body};
use crate::policy::compare::{Comparison, Grants, Place, StatementComparison, Verdict, compare};

/// The property of a role that is a policy document of its own.
const TRUST: &str = "AssumeRolePolicyDocument";

const MANAGED_POLICY: &str = "AWS::IAM::ManagedPolicy";

/// What the new template changes, one line each; lines that belong to the one before are indented.
///
/// # Errors
/// [`BodyError`] when either text is no template.
pub fn template_changes(old_body: &str, new_body: &str) -> Result<Vec<String>, BodyError> {
    let (old, new) = (parse_body(old_body)?, parse_body(new_body)?);
    let mut lines = Vec::new();
    let (before, after) = (section(&old, "Resources"), section(&new, "Resources"));
    for (id, resource) in after.iter() {
        match before.get(id) {
            None => lines.push(format!("+ {id} ({})", kind(resource))),
            Some(earlier) => resource_changes(id, earlier, resource, &mut lines),
        }
    }
    policy_changes(&before, &after, &mut lines);
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
    lines.extend(gone.map(|(id, resource)| format!("- {id} ({})", kind(resource))));
    for name in ["Parameters", "Conditions", "Outputs"] {
        let (before, after) = (section(&old, name), section(&new, name));
        let added = after.keys().filter(|key| !before.contains_key(*key));
        lines.extend(added.map(|key| format!("+ {name}.{key}")));
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        lines.extend(gone.map(|key| format!("- {name}.{key}")));
        let both = after
            .iter()
            .filter(|(key, value)| before.get(*key).is_some_and(|earlier| earlier != *value));
        lines.extend(both.map(|(key, _)| format!("~ {name}.{key}")));
    }
    Ok(lines)
}

fn resource_changes(id: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let (old, new) = (section(before, "Properties"), section(after, "Properties"));
    let mut differing: Vec<&str> = Vec::new();
    for property in old.keys().chain(new.keys()) {
        let is_known = differing.contains(&property.as_str());
        if is_known || old.get(property) == new.get(property) {
            continue;
        }
        // What all policies grant together is told once.
        if kind(after) == MANAGED_POLICY && property == "PolicyDocument" {
            continue;
        }
        if property == TRUST
            && let (Some(old), Some(new)) = (old.get(property), new.get(property))
        {
            document_changes(&format!("{id}.{property}"), old, new, lines);
            continue;
        }
        differing.push(property);
    }
    let rest = |resource: &Value| {
        let mut rest = resource.as_object().cloned().unwrap_or_default();
        rest.remove("Properties");
        rest
    };
    let (rest_before, rest_after) = (rest(before), rest(after));
    for key in rest_before.keys().chain(rest_after.keys()) {
        if rest_before.get(key) != rest_after.get(key) && !differing.contains(&key.as_str()) {
            differing.push(key);
        }
    }
    if !differing.is_empty() {
        differing.sort_unstable();
        differing.dedup();
        lines.push(format!(
            "~ {id} ({}): {}",
            kind(after),
            differing.join(", ")
        ));
    }
}

/// What the managed policies grant more or less, those together that are there under the same condition: a long document is
/// split into several, and which of them has a statement makes no difference.
fn policy_changes(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    lines: &mut Vec<String>,
) {
    let (old, new) = (together(before), together(after));
    let conditions: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    for condition in conditions {
        let none = Together::default();
        let (old, new) = (
            old.get(condition).unwrap_or(&none),
            new.get(condition).unwrap_or(&none),
        );
        if old.statements != new.statements {
            let ids: BTreeSet<&str> = old.ids.union(&new.ids).copied().collect();
            let name = ids.into_iter().collect::<Vec<_>>().join(", ");
            document_changes(&name, &old.document(), &new.document(), lines);
        }
    }
}

/// The managed policies that are there under one condition.
#[derive(Default)]
struct Together<'a> {
    ids: BTreeSet<&'a str>,
    statements: Vec<Value>,
}

impl Together<'_> {
    fn document(&self) -> Value {
        json!({"Version": "2012-10-17", "Statement": self.statements})
    }
}

fn together(resources: &Map<String, Value>) -> BTreeMap<&str, Together<'_>> {
    let mut all: BTreeMap<&str, Together<'_>> = BTreeMap::new();
    let policies = resources
        .iter()
        .filter(|(_, resource)| kind(resource) == MANAGED_POLICY);
    for (id, policy) in policies {
        let condition = policy.get("Condition").and_then(Value::as_str);
        let entry = all.entry(condition.unwrap_or_default()).or_default();
        entry.ids.insert(id);
        let document = &policy["Properties"]["PolicyDocument"];
        // While a version is rolled out, what a stack has by default.
        let document = document.pointer("/Fn::If/2").unwrap_or(document);
        let statements = document.get("Statement");
        match statements {
            Some(Value::Array(statements)) => entry.statements.extend(statements.iter().cloned()),
            Some(one) => entry.statements.push(one.clone()),
            None => {}
        }
    }
    all
}

fn document_changes(name: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    let grants = |document: &Value| match document.get("Statement") {
        Some(Value::Array(statements)) if statements.is_empty() => Some(Grants::nothing()),
        _ => Grants::from_value(as_text(document)).ok(),
    };
    let (Some(before), Some(after)) = (grants(old), grants(new)) else {
        lines.push(format!("~ {name}: cannot be compared as a policy"));
        return;
    };
    let comparison = compare(&before, &after);
    lines.push(format!("~ {name}: {}", comparison.verdict));
    if comparison.verdict.is_real() {
        lines.extend(statements(&comparison).map(|line| format!("  {line}")));
    }
}

/// Each statement that is not equal, and what it changes.
fn statements(comparison: &Comparison) -> impl Iterator<Item = String> {
    let statements = comparison.statements.iter();
    let differing = statements.filter(|statement| statement.verdict != Verdict::Equal);
    differing.flat_map(|statement| {
        let head = format!("{:<8}  {}", statement.verdict, place(statement));
        let changes = statement.changes.iter();
        std::iter::once(head).chain(changes.map(|change| format!("  {change}")))
    })
}

fn place(statement: &StatementComparison) -> String {
    let called = |place: &Place| match &place.sid {
        Some(sid) => format!("{} (statement {})", sid.escape_debug(), place.position),
        None => format!("statement {}", place.position),
    };
    match (&statement.before, &statement.after) {
        (_, Some(after)) if statement.before.is_none() => format!("{}, new", called(after)),
        (_, Some(after)) => called(after),
        (Some(before), None) => format!("{}, gone", called(before)),
        (None, None) => String::new(),
    }
}

/// A document with what CloudFormation fills in later as text, `${…}`: the same text stands for the same value.
fn as_text(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(as_text).collect(),
        Value::Object(map) => {
            if map.len() == 1
                && let Some((function, argument)) = map.iter().next()
            {
                match (function.as_str(), argument) {
                    ("Ref", Value::String(name)) => return format!("${{{name}}}").into(),
                    ("Fn::Sub", Value::String(text)) => return text.as_str().into(),
                    (function, argument) if function.starts_with("Fn::") => {
                        return format!("${{{function}:{argument}}}").into();
                    }
                    _ => {}
                }
            }
            let entries = map.iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key.clone(), as_text(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

fn section<'a>(value: &'a Value, name: &str) -> std::borrow::Cow<'a, Map<String, Value>> {
    match value.get(name).and_then(Value::as_object) {
        Some(map) => std::borrow::Cow::Borrowed(map),
        None => std::borrow::Cow::Owned(Map::new()),
    }
}

fn kind(resource: &Value) -> &str {
    let kind = resource.get("Type").and_then(Value::as_str);
    kind.unwrap_or("no type")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(policies: &[(&str, Value)], trust: &Value) -> String {
        let mut resources = Map::new();
        for (id, statements) in policies {
            let document = json!({"Version": "2012-10-17", "Statement": statements});
            let policy =
                json!({"Type": MANAGED_POLICY, "Properties": {"PolicyDocument": document}});
            resources.insert((*id).to_owned(), policy);
        }
        let role = json!({"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {
            "Version": "2012-10-17", "Statement": trust}}});
        resources.insert("SpotRole".to_owned(), role);
        json!({"Resources": resources}).to_string()
    }

    fn allow(action: &str) -> Value {
        json!({"Sid": {"Fn::Sub": "V${PolicyVersion}"}, "Effect": "Allow", "Action": action, "Resource": "*"})
    }

    fn trust(id: &Value) -> Value {
        json!([{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::922761411349:root"}, "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": id}}}])
    }

    #[test]
    fn what_policies_grant_together_is_told_in_words() {
        let known = trust(&json!({"Ref": "SpotExternalId"}));
        let before = template(
            &[(
                "One",
                json!([allow("s3:ListBucket"), allow("ec2:RunInstances")]),
            )],
            &known,
        );
        let split = template(
            &[
                ("One", json!([allow("ec2:RunInstances")])),
                (
                    "Two",
                    json!([allow("s3:ListBucket"), allow("sqs:SendMessage")]),
                ),
            ],
            &known,
        );
        assert_eq!(
            template_changes(&before, &split).unwrap(),
            [
                "+ Two (AWS::IAM::ManagedPolicy)",
                "~ One, Two: widened",
                "  cosmetic  V${PolicyVersion} (statement 1)",
                "  cosmetic  V${PolicyVersion} (statement 2)",
                "  widened   V${PolicyVersion} (statement 3), new",
                "    + sqs:SendMessage on *",
            ]
        );
        let gone = template(&[], &known);
        assert!(
            template_changes(&before, &gone)
                .unwrap()
                .contains(&"~ One: narrowed".to_owned())
        );
        assert_eq!(
            template_changes(&before, &before).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_changed_trust_policy_and_other_resources_are_told() {
        let policy = [("One", json!([allow("s3:ListBucket")]))];
        let before = template(&policy, &trust(&json!({"Ref": "SpotExternalId"})));
        let mut after: Value =
            serde_json::from_str(&template(&policy, &trust(&json!("anybody")))).unwrap();
        after["Resources"]["SpotRole"]["Properties"]["Path"] = "/spot/".into();
        after["Parameters"] = json!({"New": {"Type": "String"}});
        let changes = template_changes(&before, &after.to_string()).unwrap();
        assert_eq!(changes[0], "~ SpotRole.AssumeRolePolicyDocument: changed");
        assert!(
            changes.contains(&"~ SpotRole (AWS::IAM::Role): Path".to_owned()),
            "{changes:?}"
        );
        assert!(
            changes.contains(&"+ Parameters.New".to_owned()),
            "{changes:?}"
        );
    }
}
