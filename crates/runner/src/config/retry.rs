//! `[retry]` of a job file: how its steps are tried again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    text::Text,
};

/// How a step is tried again when AWS or Spot fails or throttles: after a random wait of at most `initial`, which
/// doubles up to `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts in total.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// The longest wait before the second attempt.
    pub initial: Text<HumanDuration>,
    /// The longest wait before any attempt.
    pub max: Text<HumanDuration>,
    /// Otherwise for steps of one action, such as `[retry.steps.create-stack-instances]`: `attempts`, `initial` and `max`, of which
    /// those that are left out are as above.
    pub steps: BTreeMap<String, StepRetry>,
}

/// How steps of one action are tried again; what is left out is as for all steps of the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepRetry {
    /// Attempts in total.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// The longest wait before the second attempt.
    pub initial: Option<Text<HumanDuration>>,
    /// The longest wait before any attempt.
    pub max: Option<Text<HumanDuration>>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: duration::milliseconds(500),
            max: duration::seconds(30),
            steps: BTreeMap::new(),
        }
    }
}

impl RetryConfig {
    /// The same for steps of one action.
    #[must_use]
    pub fn of(&self, step: &StepRetry) -> Self {
        Self {
            attempts: step.attempts.unwrap_or(self.attempts),
            initial: step.initial.unwrap_or(self.initial),
            max: step.max.unwrap_or(self.max),
            steps: BTreeMap::new(),
        }
    }
}
