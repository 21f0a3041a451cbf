//! What the runner says to a plugin.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{WrittenAccount, step::WrittenStep};
use crate::engine::Phase;

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
