//! A step, as both say it.

use onboarding_core::plan::{Estimate, Risk, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::WrittenAccount;
use crate::config::Text;

/// A step: one change that can be repeated without harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenStep {
    /// Its id: the same in every plan of the same situation, such as `write:123456789012`; 200 characters at most.
    pub id: String,
    /// The plugin's kind.
    pub kind: String,
    /// What it does: one of the description's `actions`.
    pub action: String,
    /// The accounts that it works on; empty when it is about none of them.
    #[serde(default)]
    pub accounts: Vec<WrittenAccount>,
    /// Why, for people.
    pub reason: String,
    /// How much it can hurt.
    pub risk: WrittenRisk,
    /// Steps with a lower order are done before; those with the same order may be done side by side.
    #[serde(default)]
    pub order: u32,
    /// What must still be true when it is done: `step:<id>`, the success of another step; else a fact that planning looked at, which is
    /// compared when an approved plan is applied.
    #[serde(default)]
    pub preconditions: Vec<String>,
    /// What it changes, in words.
    #[serde(default)]
    pub changes: Vec<String>,
    /// What the plugin needs to do it; nothing that was granted may be in it.
    #[serde(default)]
    pub payload: Value,
}

/// How much a step can hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenRisk {
    /// Only adds.
    Low,
    /// Changes what is there.
    Medium,
    /// Removes something; only done where the job says `apply_removals`.
    High,
}

impl From<WrittenStep> for Step {
    fn from(step: WrittenStep) -> Self {
        Self {
            id: step.id,
            kind: step.kind,
            action: step.action,
            accounts: step.accounts.into_iter().map(|account| account.0).collect(),
            reason: step.reason,
            risk: match step.risk {
                WrittenRisk::Low => Risk::Low,
                WrittenRisk::Medium => Risk::Medium,
                WrittenRisk::High => Risk::High,
            },
            order: step.order,
            preconditions: step.preconditions,
            changes: step.changes,
            estimate: Estimate::default(),
            payload: step.payload,
        }
    }
}

impl From<&Step> for WrittenStep {
    fn from(step: &Step) -> Self {
        Self {
            id: step.id.clone(),
            kind: step.kind.clone(),
            action: step.action.clone(),
            accounts: step.accounts.iter().copied().map(Text).collect(),
            reason: step.reason.clone(),
            risk: match step.risk {
                Risk::Low => WrittenRisk::Low,
                Risk::Medium => WrittenRisk::Medium,
                Risk::High => WrittenRisk::High,
            },
            order: step.order,
            preconditions: step.preconditions.clone(),
            changes: step.changes.clone(),
            payload: step.payload.clone(),
        }
    }
}
