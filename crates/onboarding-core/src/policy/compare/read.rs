//! Reading a document for comparison: what IAM takes, in whichever form it is written.
//!
//! More is taken than in [`super::super::PolicyDocument`], which is what we deploy: the document of an account may have the
//! older language version, or be a trust policy.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    super::{PolicyError, StatementProblem},
    Effect, Names,
    condition::{self, Clause},
};

/// What a policy document grants: an identity policy, or the trust policy of a role.
#[derive(Debug, Clone)]
pub struct Grants {
    statements: Vec<Written>,
    document: Value,
}

/// A statement as it is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principals: Names,
    pub(super) actions: Names,
    pub(super) resources: Names,
    pub(super) condition: Option<Map<String, Value>>,
    pub(super) clauses: Vec<Clause>,
    /// Whether `${` begins a policy variable. Only version 2012-10-17 has them.
    pub(super) variables: bool,
}

impl Grants {
    /// Reads JSON text, not percent-encoded.
    ///
    /// # Errors
    /// [`PolicyError`], with line and column when the text is not JSON, otherwise with the statement that IAM would refuse.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let value = serde_json::from_str(text).map_err(|source| PolicyError::Json {
            line: source.line(),
            column: source.column(),
            source,
        })?;
        Self::from_value(value)
    }

    /// What no policy grants.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            statements: Vec::new(),
            document: Value::Null,
        }
    }

    /// Reads a document that is already JSON.
    ///
    /// # Errors
    /// As [`Grants::parse`].
    pub fn from_value(document: Value) -> Result<Self, PolicyError> {
        let map = document.as_object().ok_or(PolicyError::NotAnObject)?;
        let known = |element: &&String| !matches!(element.as_str(), "Version" | "Id" | "Statement");
        if let Some(element) = map.keys().find(known) {
            return Err(PolicyError::UnknownElement {
                element: element.clone(),
            });
        }
        let variables = match map.get("Version").map(Value::as_str) {
            Some(Some("2012-10-17")) => true,
            None | Some(Some("2008-10-17")) => false,
            Some(_) => {
                return Err(PolicyError::Version {
                    found: map["Version"].to_string(),
                });
            }
        };
        let sources = sources(&document);
        if sources.is_empty() {
            return Err(PolicyError::NoStatement);
        }
        let statements = sources.iter().enumerate().map(|(index, statement)| {
            written(statement, variables).map_err(|problem| PolicyError::Statement {
                position: index + 1,
                sid: sid(statement),
                problem,
            })
        });
        Ok(Self {
            statements: statements.collect::<Result<_, _>>()?,
            document,
        })
    }

    pub(super) fn statements(&self) -> &[Written] {
        &self.statements
    }

    /// The statements as JSON. The order of the elements of an object makes no difference between two values.
    pub(super) fn sources(&self) -> &[Value] {
        sources(&self.document)
    }

    /// Whether both are the same JSON.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

fn sources(document: &Value) -> &[Value] {
    match document.get("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => &[],
    }
}

fn sid(statement: &Value) -> Option<String> {
    let sid = statement.get("Sid").and_then(Value::as_str);
    sid.filter(|sid| !sid.is_empty()).map(str::to_owned)
}

fn written(value: &Value, variables: bool) -> Result<Written, StatementProblem> {
    let map = value.as_object().ok_or(StatementProblem::NotAnObject)?;
    for element in map.keys() {
        match element.as_str() {
            "Sid" | "Effect" | "Principal" | "NotPrincipal" | "Action" | "NotAction"
            | "Resource" | "NotResource" | "Condition" => {}
            other => return Err(StatementProblem::UnknownElement(other.to_owned())),
        }
    }
    let effect = match map.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(StatementProblem::Effect),
    };
    let actions =
        names(map, "Action", "NotAction", texts)?.ok_or(StatementProblem::ExactlyOne("Action"))?;
    if let Some(action) = actions.names.iter().find(|action| !is_action(action)) {
        return Err(StatementProblem::Action(action.clone()));
    }
    let principals = names(map, "Principal", "NotPrincipal", principals)?;
    let resources = names(map, "Resource", "NotResource", texts)?;
    if principals.is_none() && resources.is_none() {
        return Err(StatementProblem::ExactlyOne("Resource"));
    }
    let condition = match map.get("Condition") {
        None => None,
        Some(Value::Object(operators)) if operators.values().all(Value::is_object) => {
            Some(operators.clone())
        }
        Some(_) => return Err(StatementProblem::Condition),
    };
    let none = || Names {
        except: false,
        names: Vec::new(),
    };
    Ok(Written {
        sid: sid(value),
        effect,
        principals: principals.unwrap_or_else(none),
        actions,
        resources: resources.unwrap_or_else(none),
        clauses: condition
            .as_ref()
            .map(|operators| condition::clauses(operators, variables))
            .unwrap_or_default(),
        condition: condition.filter(|operators| !operators.is_empty()),
        variables,
    })
}

/// Whichever of the two elements is there.
fn names(
    map: &Map<String, Value>,
    element: &'static str,
    negation: &'static str,
    read: impl Fn(&Value) -> Option<Vec<String>>,
) -> Result<Option<Names>, StatementProblem> {
    let (except, value) = match (map.get(element), map.get(negation)) {
        (Some(value), None) => (false, value),
        (None, Some(value)) => (true, value),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(StatementProblem::ExactlyOne(element)),
    };
    let mut names = read(value)
        .filter(|names| !names.is_empty())
        .ok_or(StatementProblem::NotTexts(element))?;
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(Some(Names { except, names }))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// The principals with their kinds. `*` is every AWS principal, and an account is its root (IAM User Guide, "AWS JSON
/// policy elements: Principal").
fn principals(value: &Value) -> Option<Vec<String>> {
    let kinds = match value {
        Value::String(text) if text == "*" => return Some(vec!["AWS:*".to_owned()]),
        Value::Object(kinds) => kinds,
        _ => return None,
    };
    let mut names = Vec::new();
    for (kind, value) in kinds {
        names.extend(
            texts(value)?
                .into_iter()
                .map(|name| format!("{kind}:{name}")),
        );
    }
    Some(names)
}

fn is_action(text: &str) -> bool {
    text == "*"
        || text.split_once(':').is_some_and(|(service, name)| {
            !service.is_empty() && !name.is_empty() && !name.contains(':')
        })
}
