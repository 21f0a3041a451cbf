//! Policies that the template does not have, and what they add to it.

use serde_json::{Value, json};

use super::{
    super::{
        Drift, DriftKind, Fix, RoleMeaning,
        document::{Difference, Judgement, MeantDocument},
        unknown,
    },
    drift,
};
use crate::policy::compare::Verdict;

/// A policy that the template does not have, and what it adds.
pub(super) fn extra(
    kind: DriftKind,
    resource: String,
    granted: Option<Difference>,
    fix: Fix,
) -> Drift {
    let actual = match granted.as_ref().map(|difference| difference.verdict) {
        None => "there is one",
        Some(Verdict::Equal | Verdict::Cosmetic) => "there is one, which grants nothing more",
        Some(Verdict::Widened) => "there is one, which grants more than the template",
        Some(Verdict::Narrowed) => "there is one, which denies what the template grants",
        Some(Verdict::Changed) => {
            "there is one, which both grants more and denies, or cannot be told"
        }
    };
    let (verdict, changes) = match granted {
        Some(Difference { verdict, changes }) => (Some(verdict), changes),
        None => (None, Vec::new()),
    };
    Drift {
        verdict,
        changes,
        ..drift(
            kind,
            resource,
            "no such policy".to_owned(),
            actual.to_owned(),
            fix,
        )
    }
}

/// What a policy grants or denies beyond all that the template gives the role. None when it is not understood, or written
/// in the older language version, whose statements mean something else beside those of the newer one.
pub(super) fn beyond(meaning: &RoleMeaning, text: &str) -> Option<Difference> {
    let managed = meaning.policies.iter().map(|policy| &*policy.document);
    let documents = managed.chain(meaning.inline.values());
    let mut statements: Vec<Value> = documents
        .filter(|document| document.value()["Version"] == "2012-10-17")
        .flat_map(|document| statements(document.value()))
        .collect();
    // Grants nothing, so that there is always a statement.
    statements.push(json!({"Effect": "Allow", "NotAction": "*", "Resource": "*"}));
    let policy = |statements: &[Value]| json!({"Version": "2012-10-17", "Statement": statements});
    let added: Value = serde_json::from_str(text).ok()?;
    if added["Version"] != "2012-10-17" {
        return None;
    }
    // What is not known is the same text on both sides.
    let text = unknown::readable(&policy(&statements).to_string());
    let before = MeantDocument::new(serde_json::from_str(&text).ok()?);
    let mut statements = self::statements(before.value());
    statements.extend(self::statements(&added));
    match before.judge(&policy(&statements).to_string()) {
        Judgement::Same => Some(Difference {
            verdict: Verdict::Cosmetic,
            changes: Vec::new(),
        }),
        Judgement::Differs(difference) => Some(difference),
        Judgement::Unreadable(_) => None,
    }
}

/// The statements without their Sids: those of two policies may have the same.
fn statements(document: &Value) -> Vec<Value> {
    let mut statements = match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    for statement in &mut statements {
        if let Value::Object(elements) = statement {
            elements.shift_remove("Sid");
        }
    }
    statements
}
