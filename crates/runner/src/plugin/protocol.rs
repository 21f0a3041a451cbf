//! What runner and plugin say to each other: one JSON document a line, requests on the plugin's stdin, answers on its stdout.
//!
//! The doc comments here are the descriptions in the JSON Schemas. A change that a plugin of this version would not understand, or that it could no longer say,
//! is a new [`VERSION`].

use std::collections::BTreeMap;

use onboarding_core::{
    ids::AwsAccountId,
    plan::{Estimate, Finding, Risk, Severity, Step},
};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    config::Text,
    engine::{ErrorClass, Phase},
};

/// The version of the protocol that this program speaks.
pub const VERSION: u32 = 1;

/// The longest time that a plugin may have us wait, in seconds: a day.
const LONGEST_WAIT: u64 = 86_400;

/// An account's id as it is written.
pub type WrittenAccount = Text<AwsAccountId>;

/// A line on the plugin's stdin.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Request {
    /// What its answers carry. `kept` and `cancel` carry that of the request that they are about.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub body: RequestBody,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RequestBody {
    /// What are you? The first request to each process; answered with `described`.
    Describe {
        /// The version of the protocol that the runner speaks.
        protocol: u32,
    },
    /// Look, and say what is to be done. Change nothing. Answered with any number of `step`, `finding` and `skip`, then one `planned`;
    /// or with `failed`.
    Plan(Box<PlanRequest>),
    /// Do one step. It may be asked for again, by another process, after an error, a requeue or a crash: what is done already must not be done twice. Answered
    /// with `done`, `unchanged`, `requeue`, `stopped` or `failed`, before which `memo` may come.
    Apply(Box<ApplyRequest>),
    /// The `memo` is written down: the effect may be begun.
    Kept,
    /// End what this request is about, soon: nothing of it is waited for any more when the time is up.
    Cancel,
}

/// A run of a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The job's name.
    pub job: String,
    /// Whether it only plans.
    pub dry_run: bool,
}

/// What a plan is made from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlanRequest {
    /// The run.
    pub run: RunView,
    /// What is going on.
    pub phase: PhaseView,
    /// The job's `params.settings`.
    pub settings: Map<String, Value>,
    /// The accounts that the job is about, sorted by id; steps, findings and skips are about these only.
    pub accounts: Vec<AccountView>,
    /// Accounts that no step works on, also those that are not (any more) in the organization.
    pub protected_accounts: Vec<WrittenAccount>,
    /// What steps of earlier runs wrote down (`memo`) that have not ended well since, by step id.
    pub memos: BTreeMap<String, Value>,
}

/// What is going on.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseView {
    /// Looking, before the steps.
    Observe,
    /// Looking again, after the steps: what is still to be done now was not done.
    Verify,
}

impl PhaseView {
    /// The phase of a look.
    #[must_use]
    pub fn of(phase: Phase) -> Self {
        match phase {
            Phase::Verify => Self::Verify,
            Phase::Observe | Phase::Apply => Self::Observe,
        }
    }
}

/// An account, as the runner knows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AccountView {
    /// Its id.
    pub account: WrittenAccount,
    /// Its name in AWS Organizations.
    pub name: String,
    /// Its state in AWS Organizations, such as `ACTIVE`.
    pub state: String,
    /// Names from the root down to its organizational unit.
    pub ou_path: String,
    /// The profile that targets it.
    pub profile: String,
    /// Where it stands with its enrollment: a code of docs/reference/reasons.md.
    pub enrollment: String,
    /// The Spot account that is linked to it, when there is exactly one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot_account: Option<String>,
    /// Whether no step works on it.
    pub protected: bool,
    /// Its tags, where the job grants `account-tags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A step that is to be done.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ApplyRequest {
    /// The run.
    pub run: RunView,
    /// The job's `params.settings`.
    pub settings: Map<String, Value>,
    /// The step, as it was planned.
    pub step: WrittenStep,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// What this step wrote down last, in this run or in an earlier one, unless it has ended well since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<Value>,
}

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

/// The JSON Schema of what is said to a plugin.
#[must_use]
pub fn requests() -> Schema {
    // As it is written: what has a default is there.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Request>()
}

/// The JSON Schema of what a plugin says.
#[must_use]
pub fn answers() -> Schema {
    let settings = SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<Answer>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../../docs/plugins.md");

    /// The types that a schema knows.
    fn types(schema: &Value) -> BTreeSet<String> {
        let branches = schema["oneOf"].as_array().unwrap();
        let types = branches.iter().map(|branch| {
            let name = &branch["properties"]["type"]["const"];
            name.as_str().unwrap().to_owned()
        });
        types.collect()
    }

    #[test]
    fn the_page_tells_every_message_field_grant_and_setting() {
        let mut words = types(&requests().to_value());
        words.extend(types(&answers().to_value()));
        assert_eq!(words.len(), 5 + 11);
        words.extend(["account-tags", "spot-token", "aws-credentials"].map(str::to_owned));
        let config = serde_json::to_value(crate::config::PluginsConfig::default()).unwrap();
        let settings = config.as_object().unwrap().keys();
        words.extend(settings.filter(|name| *name != "path").cloned());
        for reason in [
            "removals-off",
            "max-removals",
            "shrink-guard",
            "protected-accounts",
        ] {
            words.insert(reason.to_owned());
        }
        for word in words {
            assert!(
                PAGE.contains(&format!("`{word}`")),
                "docs/plugins.md does not tell of `{word}`"
            );
        }
        assert!(PAGE.contains(&format!("## The protocol, version {VERSION}")));
    }

    /// Every field of a message is described: an author of a plugin has nothing else.
    #[test]
    fn every_field_is_described() {
        fn check(schema: &Value, path: &str) {
            let properties = schema["properties"].as_object().into_iter().flatten();
            for (name, below) in properties {
                let is_described = below["description"].is_string();
                assert!(
                    name == "type" || is_described,
                    "{path}.{name} has no description"
                );
            }
            let branches = ["oneOf", "$defs"].map(|key| &schema[key]);
            for branch in branches {
                let below = branch.as_array().into_iter().flatten();
                below.for_each(|below| check(below, path));
                for (name, below) in branch.as_object().into_iter().flatten() {
                    check(below, &format!("{path} {name}"));
                }
            }
        }
        check(&requests().to_value(), "requests");
        check(&answers().to_value(), "answers");
    }

    #[test]
    fn a_step_is_the_same_in_both_forms() {
        let text = r#"{"id":"a","kind":"k","action":"do","accounts":["000000000001"],"reason":"r","risk":"high",
            "order":2,"preconditions":["step:b"],"changes":["c"],"payload":{"x":1}}"#;
        let written: WrittenStep = serde_json::from_str(text).unwrap();
        let step = Step::from(written.clone());
        assert_eq!(WrittenStep::from(&step), written);
        assert_eq!((step.risk, step.order), (Risk::High, 2));
        // What the journal and plan.json keep of it is the same.
        let kept = serde_json::to_value(&step).unwrap();
        assert_eq!(kept, serde_json::to_value(&written).unwrap());
    }

    #[test]
    fn a_wait_is_a_second_at_least_and_a_day_at_most() {
        let requeue =
            |seconds: u64| format!(r#"{{"type":"requeue","id":1,"after_seconds":{seconds}}}"#);
        let failed = |seconds: u64| {
            format!(
                r#"{{"type":"failed","id":1,"class":"throttled","message":"m","retry_after_seconds":{seconds}}}"#
            )
        };
        for (seconds, is_fine) in [
            (0, false),
            (1, true),
            (86_400, true),
            (86_401, false),
            (u64::MAX, false),
        ] {
            for text in [requeue(seconds), failed(seconds)] {
                let answer: Answer = serde_json::from_str(&text).unwrap();
                assert_eq!(answer.check().is_ok(), is_fine, "{text}");
            }
        }
        let schema = answers().to_value().to_string();
        assert_eq!(schema.matches("\"maximum\":86400").count(), 2, "{schema}");
    }

    #[test]
    fn what_the_protocol_does_not_have_is_an_error() {
        for text in [
            r#"{"type":"done","id":1,"notes":"x"}"#,
            r#"{"type":"finished","id":1}"#,
            r#"{"type":"done"}"#,
            r#"{"type":"step","id":1,"step":{"id":"a"}}"#,
            r#"{"type":"skip","id":1,"account":"12","reason":"r"}"#,
            r#"{"type":"failed","id":1,"class":"bug","message":"m"}"#,
            r#"[1]"#,
        ] {
            assert!(serde_json::from_str::<Answer>(text).is_err(), "{text}");
        }
    }
}
