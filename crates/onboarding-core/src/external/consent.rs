//! Steps of plugins, as they are compared with those that somebody looked at.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    canonical::to_canonical_json,
    ids::AwsAccountId,
    plan::{
        Step,
        consent::{Consent, Scope},
    },
};

/// The same step is one that does the same thing in the same accounts with the same payload. What a payload means is the
/// plugin's, so that a step is never narrowed.
#[derive(Debug, Clone, Copy)]
pub struct SameStep;

impl Consent for SameStep {
    fn scope(&self, step: &Step) -> Scope {
        let Step {
            id,
            kind,
            action,
            accounts,
            risk,
            payload,
            ..
        } = step;
        Scope::Whole(to_canonical_json(&json!({
            "id": id,
            "kind": kind,
            "action": action,
            "accounts": accounts,
            "risk": risk,
            "payload": payload,
        })))
    }

    fn narrowed(&self, _step: &Step, _accounts: &BTreeSet<AwsAccountId>) -> Option<Step> {
        None
    }
}
