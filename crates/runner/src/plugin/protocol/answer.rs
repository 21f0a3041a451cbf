//! What a plugin says to the runner.

use std::collections::BTreeMap;

use onboarding_core::plan::{Finding, Severity};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{WrittenAccount, step::WrittenStep};
use crate::engine::ErrorClass;

/// The longest time that a plugin may have us wait, in seconds: a day.
const LONGEST_WAIT: u64 = 86_400;

/// A line on the plugin's stdout.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// What the plugin is.
    Described {
        /// The id of the request.
        id: u64,
        /// What it says of itself.
        plugin: Box<WrittenDescription>,
    },
    /// A step of the plan.
    Step {
        /// The id of the request.
        id: u64,
        /// The step.
        step: Box<WrittenStep>,
    },
    /// Something that a person should know.
    Finding {
        /// The id of the request.
        id: u64,
        /// The finding.
        finding: Box<WrittenFinding>,
    },
    /// An account that is left out, though it may not be as it should be.
    Skip {
        /// The id of the request.
        id: u64,
        /// The account.
        account: WrittenAccount,
        /// Why, for people.
        reason: String,
    },
    /// The plan is complete.
    Planned {
        /// The id of the request.
        id: u64,
        /// What was said, counted.
        totals: WrittenTotals,
    },
    /// What must be remembered before the effect of a step is begun. Answered with `kept` when it is durable; null forgets what was.
    Memo {
        /// The id of the request.
        id: u64,
        /// Anything but what was granted; this step gets it whenever it is asked for again, until it ends well or is not planned any more.
        memo: Value,
    },
    /// The step is done, and something changed.
    Done {
        /// The id of the request.
        id: u64,
        /// What was done, for people.
        #[serde(default)]
        note: Option<String>,
    },
    /// It was so already.
    Unchanged {
        /// The id of the request.
        id: u64,
    },
    /// It goes on elsewhere: ask again after this time.
    Requeue {
        /// The id of the request.
        id: u64,
        /// How long to wait, in seconds.
        #[schemars(range(min = 1, max = 86_400))]
        after_seconds: u64,
    },
    /// It ended before it was complete, because it was cancelled.
    Stopped {
        /// The id of the request.
        id: u64,
        /// What is left, for people.
        #[serde(default)]
        note: Option<String>,
    },
    /// It failed.
    Failed {
        /// The id of the request.
        id: u64,
        /// What kind of failure it was, which decides whether it is tried again.
        class: WrittenClass,
        /// What was tried, why it failed, and what to do, for people.
        message: String,
        /// When trying again is sensible, in seconds.
        #[serde(default)]
        #[schemars(range(min = 1, max = 86_400))]
        retry_after_seconds: Option<u64>,
    },
}

impl Answer {
    /// The request that it says to answer.
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            Self::Described { id, .. }
            | Self::Step { id, .. }
            | Self::Finding { id, .. }
            | Self::Skip { id, .. }
            | Self::Planned { id, .. }
            | Self::Memo { id, .. }
            | Self::Done { id, .. }
            | Self::Unchanged { id }
            | Self::Requeue { id, .. }
            | Self::Stopped { id, .. }
            | Self::Failed { id, .. } => *id,
        }
    }

    /// Checks the times that it names.
    ///
    /// # Errors
    /// Which one is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let (name, seconds) = match self {
            Self::Requeue { after_seconds, .. } => ("after_seconds", *after_seconds),
            Self::Failed {
                retry_after_seconds: Some(seconds),
                ..
            } => ("retry_after_seconds", *seconds),
            _ => return Ok(()),
        };
        if (1..=LONGEST_WAIT).contains(&seconds) {
            return Ok(());
        }
        Err(format!(
            "`{name}` is {seconds}, and must be 1 to {LONGEST_WAIT}"
        ))
    }

    /// Its type, as it is written.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Described { .. } => "described",
            Self::Step { .. } => "step",
            Self::Finding { .. } => "finding",
            Self::Skip { .. } => "skip",
            Self::Planned { .. } => "planned",
            Self::Memo { .. } => "memo",
            Self::Done { .. } => "done",
            Self::Unchanged { .. } => "unchanged",
            Self::Requeue { .. } => "requeue",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenDescription {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Its kind: what follows `runner-job-` in its name.
    pub kind: String,
    /// What a job of this kind does, in one sentence without a subject: "keeps one file per account".
    pub summary: String,
    /// The JSON Schema of its settings: an object with `properties`.
    pub settings: Value,
    /// What its steps can do: a sentence for each action, in kebab case. 32 at most.
    #[serde(default)]
    pub actions: BTreeMap<String, String>,
    /// What it wants beside the accounts. It gets what the job's file grants of it.
    #[serde(default)]
    pub asks: Vec<WrittenAsk>,
    /// How many processes of it may do steps side by side.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 8))]
    pub parallel: u32,
}

fn one() -> u32 {
    1
}

/// Something that a plugin wants beside the accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenAsk {
    /// `account-tags`, `spot-token`, `aws-credentials`, or `env:NAME`, a variable of the runner's environment.
    pub grant: String,
    /// What for, for people.
    pub why: String,
    /// Whether it can do without.
    #[serde(default)]
    pub optional: bool,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenFinding {
    /// Stable across runs: the reason and what it is about.
    pub id: String,
    /// How bad it is.
    pub severity: WrittenSeverity,
    /// The account, when it is about one.
    #[serde(default)]
    pub account: Option<WrittenAccount>,
    /// A code in kebab case.
    pub reason: String,
    /// What was found and what to do.
    pub message: String,
    /// What it is about, where that is not the account.
    #[serde(default)]
    pub resource: Option<String>,
    /// What should be there.
    #[serde(default)]
    pub expected: Option<String>,
    /// What is there.
    #[serde(default)]
    pub actual: Option<String>,
    /// What mends it.
    #[serde(default)]
    pub fix: Option<String>,
}

impl From<WrittenFinding> for Finding {
    fn from(finding: WrittenFinding) -> Self {
        Self {
            id: finding.id,
            severity: match finding.severity {
                WrittenSeverity::Info => Severity::Info,
                WrittenSeverity::Warning => Severity::Warning,
                WrittenSeverity::Error => Severity::Error,
            },
            account: finding.account.map(|account| account.0),
            reason: finding.reason,
            message: finding.message,
            resource: finding.resource,
            expected: finding.expected,
            actual: finding.actual,
            fix: finding.fix,
            ..Self::default()
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenSeverity {
    /// Worth knowing.
    Info,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Error,
}

/// A plan, counted. The runner counts as well: `accounts = settled + due + skipped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenTotals {
    /// Accounts that it was given.
    pub accounts: usize,
    /// Of those, accounts that it has nothing to do for.
    pub settled: usize,
    /// Of those, accounts that its steps work on.
    pub due: usize,
    /// Of those, accounts that it leaves out.
    pub skipped: usize,
    /// Its steps.
    pub steps: usize,
    /// Its findings.
    pub findings: usize,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenClass {
    /// It may work when tried again.
    Transient,
    /// It was told to slow down; tried again.
    Throttled,
    /// Permissions deny it.
    Denied,
    /// The settings ask for something that cannot be.
    Invalid,
    /// Something else is working on the same thing right now; tried again.
    Conflict,
    /// A prerequisite is missing, such as credentials.
    Prerequisite,
    /// It is unknown whether the effect happened.
    Ambiguous,
    /// It failed for good.
    Failed,
}

impl From<WrittenClass> for ErrorClass {
    fn from(class: WrittenClass) -> Self {
        match class {
            WrittenClass::Transient => Self::Transient,
            WrittenClass::Throttled => Self::Throttled,
            WrittenClass::Denied => Self::Denied,
            WrittenClass::Invalid => Self::Invalid,
            WrittenClass::Conflict => Self::Conflict,
            WrittenClass::Prerequisite => Self::Prerequisite,
            WrittenClass::Ambiguous => Self::Ambiguous,
            WrittenClass::Failed => Self::Failed,
        }
    }
}
