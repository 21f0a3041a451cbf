//! A policy document of a template, ready to be compared with live ones.

use std::fmt;

use serde_json::{Map, Value};

use super::{findings::cut, unknown};
use crate::{
    canonical,
    policy::compare::{Change, Comparison, Grants, Verdict, compare},
};

/// A policy document that a template means, perhaps with parts that cannot be known.
#[derive(Clone, PartialEq)]
pub struct MeantDocument {
    value: Value,
    plain: Plain,
    has_unknown: bool,
}

/// How a live document relates to the meant one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It grants the same.
    Same,
    /// It grants something else, or may do so.
    Differs(Difference),
    /// It cannot be told, for this reason.
    Unreadable(String),
}

/// Most lines that say what is granted otherwise. The others are counted: somebody may have made every account's policies into
/// something else altogether.
const MOST_CHANGES: usize = 8;

/// Most characters of one of them.
const LONGEST_CHANGE: usize = 240;

/// What is granted otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Which way.
    pub(super) verdict: Verdict,
    /// In lines, as many as a person reads.
    pub(super) changes: Vec<String>,
}

impl MeantDocument {
    /// A document whose functions were evaluated. Numbers and truth values become texts, as in CloudFormation.
    pub(super) fn new(value: Value) -> Self {
        let value = with_texts(value);
        Self {
            plain: Plain::of(&value),
            has_unknown: unknown::is_in_value(&value),
            value,
        }
    }

    /// The document. Parts that cannot be known are between two characters U+E000.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether it has parts that cannot be known from the template.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// Compares with the text of a live document.
    pub(super) fn judge(&self, live: &str) -> Judgement {
        let live: Value = match serde_json::from_str(live) {
            Ok(live) => live,
            Err(error) => return Judgement::Unreadable(format!("it is not JSON: {error}")),
        };
        // Nearly every account has just what it should have: this tells without taking anything apart.
        if self.plain == Plain::of(&live) {
            return Judgement::Same;
        }
        let after = match Grants::from_value(live.clone()) {
            Ok(after) => after,
            Err(error) => return Judgement::Unreadable(error.to_string()),
        };
        let meant = if self.has_unknown {
            unknown::filled(&self.value, &live)
        } else {
            vec![self.value.clone()]
        };
        let mut nearest: Option<(usize, Difference)> = None;
        for meant in meant {
            let before = match Grants::from_value(meant) {
                Ok(before) => before,
                Err(error) => {
                    return Judgement::Unreadable(format!("the template's document: {error}"));
                }
            };
            let found = compare(&before, &after);
            if !found.verdict.is_real() {
                return Judgement::Same;
            }
            let lines = lines(&found).count();
            if nearest.as_ref().is_none_or(|(fewest, _)| lines < *fewest) {
                nearest = Some((lines, Difference::from(&found)));
            }
        }
        match nearest {
            Some((_, nearest)) => Judgement::Differs(nearest),
            None => Judgement::Unreadable("the template's document has no value".to_owned()),
        }
    }
}

impl fmt::Debug for MeantDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", unknown::readable(&self.value.to_string()))
    }
}

fn lines(comparison: &Comparison) -> impl Iterator<Item = &Change> {
    let statements = comparison.statements.iter();
    statements.flat_map(|one| &one.changes)
}

impl From<&Comparison> for Difference {
    fn from(comparison: &Comparison) -> Self {
        let shown = lines(comparison).take(MOST_CHANGES);
        let mut changes: Vec<String> = shown
            .map(|change| cut(&change.to_string(), LONGEST_CHANGE))
            .collect();
        let more = lines(comparison).skip(MOST_CHANGES).count();
        if more > 0 {
            changes.push(format!("and {more} more"));
        }
        if comparison.undecided {
            changes.push("(too intricate to be decided as a whole)".to_owned());
        }
        Self {
            verdict: comparison.verdict,
            changes,
        }
    }
}

/// What is left of a document without Sids, the order of statements and entries, the case of actions and lists of one.
/// Documents that are the same in it grant the same; others may do so, too.
#[derive(Clone, PartialEq, Eq)]
struct Plain {
    version: Option<String>,
    statements: Vec<String>,
}

impl Plain {
    fn of(document: &Value) -> Self {
        let version = document.get("Version").map(ToString::to_string);
        let mut statements: Vec<String> = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().map(plain_statement).collect(),
            Some(statement) => vec![plain_statement(statement)],
            // No document that grants anything: only the same JSON is the same.
            None => vec![canonical::to_canonical_json(document)],
        };
        statements.sort_unstable();
        Self {
            version,
            statements,
        }
    }
}

fn plain_statement(statement: &Value) -> String {
    let Value::Object(map) = statement else {
        return statement.to_string();
    };
    let elements = map.iter().filter(|(element, _)| *element != "Sid");
    let elements = elements.map(|(element, value)| {
        let value = match element.as_str() {
            "Action" | "NotAction" => plain_names(value, str::to_ascii_lowercase),
            "Resource" | "NotResource" => plain_names(value, str::to_owned),
            _ => value.clone(),
        };
        (element.clone(), value)
    });
    canonical::to_canonical_json(&Value::Object(elements.collect::<Map<_, _>>()))
}

fn plain_names(value: &Value, form: impl Fn(&str) -> String) -> Value {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let Some(names) = items.iter().map(Value::as_str).collect::<Option<Vec<_>>>() else {
        return value.clone();
    };
    let mut names: Vec<String> = names.into_iter().map(form).collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

fn with_texts(value: Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::Array(items) => items.into_iter().map(with_texts).collect(),
        Value::Object(map) => {
            let entries = map.into_iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key, with_texts(value)))
                    .collect(),
            )
        }
        other => other,
    }
}
