//! Comparing policies: what is said in words, and properties that hold for any two of them, with an evaluator of requests
//! that shares no code with the comparison as the judge.

#![cfg(test)]

mod documents;
mod oracle;
mod properties;
mod reading;
mod verdicts;

use onboarding_core::policy::compare::{Comparison, Grants, compare};
use serde_json::{Value, json};

/// A policy with these statements.
fn policy(statements: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn compared(before: &Value, after: &Value) -> Comparison {
    let read = |value: &Value| Grants::from_value(value.clone()).unwrap();
    compare(&read(before), &read(after))
}

/// All lines, in the order of the statements.
fn lines(comparison: &Comparison) -> Vec<String> {
    let statements = comparison.statements.iter();
    statements
        .flat_map(|statement| &statement.changes)
        .map(ToString::to_string)
        .collect()
}
