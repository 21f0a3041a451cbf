//! A whole policy document: version, statements, size and digest.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{PolicyError, Statement, StatementProblem};
use crate::canonical;

/// The only version of the policy language that is accepted.
const VERSION: &str = "2012-10-17";

/// A checked identity policy with at least one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDocument {
    id: Option<String>,
    statements: Vec<Statement>,
}

impl PolicyDocument {
    /// Reads a policy from JSON text.
    ///
    /// # Errors
    /// The first thing that IAM would refuse, with the statement it is in.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let value = serde_json::from_str(text).map_err(|source| PolicyError::Json {
            line: source.line(),
            column: source.column(),
            source,
        })?;
        Self::from_value(value)
    }

    /// Checks a policy that is already JSON.
    ///
    /// # Errors
    /// As [`PolicyDocument::parse`].
    pub fn from_value(value: Value) -> Result<Self, PolicyError> {
        let Value::Object(mut map) = value else {
            return Err(PolicyError::NotAnObject);
        };
        match map.remove("Version") {
            Some(Value::String(version)) if version == VERSION => {}
            found => {
                return Err(PolicyError::Version {
                    found: found.map_or_else(|| "missing".to_owned(), |found| found.to_string()),
                });
            }
        }
        let id = match map.remove("Id") {
            None => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err(PolicyError::Id),
        };
        let statements = match map.remove("Statement") {
            Some(Value::Array(statements)) => statements,
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => Vec::new(),
        };
        if let Some(element) = map.keys().next() {
            return Err(PolicyError::UnknownElement {
                element: element.clone(),
            });
        }
        if statements.is_empty() {
            return Err(PolicyError::NoStatement);
        }
        Ok(Self {
            id,
            statements: check_statements(statements)?,
        })
    }

    /// The statements, in the order that they were written in.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The document as JSON, `Statement` always a list.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("Version".to_owned(), VERSION.into());
        if let Some(id) = &self.id {
            map.insert("Id".to_owned(), id.as_str().into());
        }
        let statements = self.statements.iter().map(|s| s.elements().clone().into());
        map.insert("Statement".to_owned(), Value::Array(statements.collect()));
        Value::Object(map)
    }

    /// The size as IAM counts it: characters of the compact JSON, white space inside texts not counted either.
    #[must_use]
    pub fn size(&self) -> usize {
        self.to_value()
            .to_string()
            .chars()
            .filter(|c| !c.is_whitespace())
            .count()
    }

    /// The SHA-256 over canonical JSON, in 64 hexadecimal digits. White space and the order of elements within a
    /// statement do not change it; the order of statements and actions does.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical::digest(&self.to_value())
    }

    /// The same document with other statements, which the caller took from checked documents.
    pub(crate) fn with_statements(&self, statements: Vec<Statement>) -> Self {
        Self {
            id: self.id.clone(),
            statements,
        }
    }
}

fn check_statements(values: Vec<Value>) -> Result<Vec<Statement>, PolicyError> {
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut statements = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let position = index + 1;
        let sid = value.get("Sid").and_then(Value::as_str).map(str::to_owned);
        let at = |problem| PolicyError::Statement {
            position,
            sid: sid.clone(),
            problem,
        };
        let statement = Statement::from_value(value).map_err(at)?;
        if let Some(sid) = statement.sid()
            && let Some(first) = positions.insert(sid.to_owned(), position)
        {
            return Err(at(StatementProblem::DuplicateSid(first)));
        }
        statements.push(statement);
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(statement: Value) -> String {
        PolicyDocument::from_value(json!({"Version": "2012-10-17", "Statement": [statement]}))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_single_statement_without_a_list_is_read() {
        let text = r#"{"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}"#;
        let document = PolicyDocument::parse(text).unwrap();
        assert_eq!(document.statements().len(), 1);
        assert_eq!(
            document.to_value().to_string(),
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}"#
        );
    }

    #[test]
    fn white_space_is_not_counted_not_even_inside_texts() {
        let document = PolicyDocument::from_value(json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Deny",
                "Action": ["ec2:*"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestTag/a b": "c d\u{e9}"}}
            }]
        }))
        .unwrap();
        let compact = document.to_value().to_string();
        assert_eq!(document.size(), compact.chars().count() - 2);
    }

    #[test]
    fn the_digest_ignores_the_order_of_elements_only() {
        let read = |text: &str| PolicyDocument::parse(text).unwrap().digest();
        let one = read(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["a:B","a:C"],"Resource":"*"}]}"#,
        );
        let two = read(
            r#"{"Statement":[{"Resource":"*","Action":["a:B","a:C"],"Effect":"Allow"}], "Version":"2012-10-17"}"#,
        );
        let three = read(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["a:C","a:B"],"Resource":"*"}]}"#,
        );
        assert_eq!(one, two);
        assert_ne!(one, three);
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn what_iam_would_refuse_is_refused_with_the_place() {
        let ok = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
        let with = |element: &str, value: Value| {
            let mut statement = ok.clone();
            statement[element] = value;
            problem(statement)
        };
        let cases = [
            (problem(json!("x")), "statement 1: is not a JSON object"),
            (with("Principal", json!("*")), "identity policy"),
            (with("NotPrincipal", json!("*")), "identity policy"),
            (with("Effect", json!("allow")), "Effect must be"),
            (with("Sid", json!("a b")), "Sid \"a b\" must be letters"),
            (with("Sid", json!(1)), "Sid 1 must be letters"),
            (
                with("NotAction", json!("s3:*")),
                "either Action or NotAction",
            ),
            (with("Action", json!([])), "Action must be a text or a list"),
            (with("Action", json!(["s3:*", 1])), "Action must be a text"),
            (with("Action", json!("s3")), "\"s3\" is not an action"),
            (
                with("Action", json!("s3:a b")),
                "\"s3:a b\" is not an action",
            ),
            (
                with("Resource", json!("bucket")),
                "\"bucket\" is not a resource",
            ),
            (with("Condition", json!("x")), "Condition must be"),
            (
                with("Condition", json!({"Bool": true})),
                "Condition must be",
            ),
            (with("action", json!("s3:*")), "unknown element \"action\""),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message} / {expected}");
        }
    }

    #[test]
    fn documents_that_are_no_policies_are_refused() {
        let statement = r#"[{"Effect":"Allow","Action":"*","Resource":"*"}]"#;
        let cases = [
            ("[]".to_owned(), "not a JSON object"),
            ("{".to_owned(), "line 1, column 1"),
            (
                format!(r#"{{"Statement":{statement}}}"#),
                "Version is missing",
            ),
            (
                format!(r#"{{"Version":"2008-10-17","Statement":{statement}}}"#),
                "Version is \"2008-10-17\"",
            ),
            (r#"{"Version":"2012-10-17"}"#.to_owned(), "no Statement"),
            (
                r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
                "no Statement",
            ),
            (
                format!(r#"{{"Version":"2012-10-17","Statements":1,"Statement":{statement}}}"#),
                "unknown element \"Statements\"",
            ),
            (
                r#"{"Version":"2012-10-17","Statement":[
                    {"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"},
                    {"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}]}"#
                    .to_owned(),
                "statement 2 (A): Sid is already used by statement 1",
            ),
        ];
        for (text, expected) in cases {
            let message = PolicyDocument::parse(&text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} / {expected}");
        }
    }
}
