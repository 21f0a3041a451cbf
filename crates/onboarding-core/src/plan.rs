//! A plan: what a run would do, as data. Every job kind produces this one form; the journal, `plan.json` and reports
//! share it, while each kind keeps its typed step payloads to itself.

pub mod consent;
mod unjudged;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use self::unjudged::{Remembered, Unjudged};
use crate::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::{LinkEvidence, StackDrift},
    status::{Reason, Standing},
};

/// How much a step can hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Only adds, or changes nothing outside our own records.
    Low,
    /// Changes what runs in accounts.
    Medium,
    /// Removes something.
    High,
}

/// One idempotent step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Stable across plans of the same situation (`create-stack-instances:default:1`).
    pub id: String,
    /// The job kind that planned it and can apply it.
    pub kind: String,
    /// What it does, in kebab case (`create-stack-set`).
    pub action: String,
    /// The accounts that it works on; empty when it is about the whole organization or stack set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AwsAccountId>,
    /// Why, for people.
    pub reason: String,
    /// How much it can hurt.
    pub risk: Risk,
    /// Steps with a lower order are applied before; those with the same order may run side by side.
    pub order: u32,
    /// What must still be true when it is applied: `step:<id>`, the success of another step; else a fact that planning looked
    /// at, which `runner apply` expects to find again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preconditions: Vec<String>,
    /// What it changes, in words, where that is known before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What it will take.
    #[serde(default, skip_serializing_if = "Estimate::is_nothing")]
    pub estimate: Estimate,
    /// The kind's own typed payload, erased.
    pub payload: serde_json::Value,
}

impl Step {
    /// Why it is planned, with what it changes.
    #[must_use]
    pub fn told(&self) -> String {
        if self.changes.is_empty() {
            return self.reason.clone();
        }
        format!("{}: {}", self.reason, self.changes.join("; "))
    }
}

/// What a step will take: calls of this program, whoever serves custom resources included, and the time until its end.
/// Rough: AWS publishes no time for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Calls to AWS.
    pub aws_calls: u64,
    /// Calls to Spot.
    pub spot_calls: u64,
    /// Seconds.
    pub seconds: u64,
}

impl Estimate {
    /// Whether nothing is known, or nothing to be done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// An account and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountRow {
    /// The account.
    pub account: AwsAccountId,
    /// Its name in Organizations; its id where Organizations does not know it (any more).
    pub name: Box<str>,
    /// Names from the root down to its organizational unit.
    pub ou_path: Arc<str>,
    /// The profile that targets it.
    pub profile: Arc<str>,
    /// Whether it counts among the targeted accounts. Departed accounts and those outside the targets do not.
    pub targeted: bool,
    /// Where it stands.
    pub standing: Standing,
    /// Why.
    pub reason: Reason,
    /// More about it: AWS's or Spot's words, the time of the next retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The Spot account that is linked to it, when there is exactly one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot_account: Option<SpotAccountId>,
    /// The version of the policies that its stack was told to have; none without a current stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Arc<str>>,
    /// What was read of its live role; none when it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_role: Option<Arc<LinkEvidence>>,
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Info,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Error,
}

/// Something that a person should know, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Stable across runs: the reason code and what it is about.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// The account, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AwsAccountId>,
    /// The account's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// The account's place in the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ou_path: Option<String>,
    /// The reason code.
    pub reason: String,
    /// What was found and what to do.
    pub message: String,
    /// What it is about, where that is not the account: a role, a policy, a stack set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What should be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// What mends it: the kind of a job, or what a person does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What CloudFormation's own drift detection says of the account's stack, beside what was found in IAM; none where it was
    /// not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudformation: Option<StackDrift>,
    /// When AWS Config saw what is there, where its aggregator told it; none where it was read in the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// When it was seen first, in Unix seconds, as far as the state remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<i64>,
    /// When it was seen last, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
}

/// As of when something is known that AWS Config told: it may have been changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Recorded {
    /// When AWS Config captured the resource, in Unix seconds; none when it has no such resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_at: Option<i64>,
    /// Of when the status of its aggregator's source is, in Unix seconds.
    pub collected_at: i64,
}

/// Something that the plan refuses to do, by a guard rail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The guard rail, in kebab case (`shrink-guard`).
    pub guard: String,
    /// What is refused, why, and the ways out.
    pub message: String,
    /// Whether the whole plan is void (nothing is applied), or only what this guard rail protects.
    pub whole_plan: bool,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// One row per account, sorted by account.
    pub accounts: Vec<AccountRow>,
    /// The steps, sorted by order.
    pub steps: Vec<Step>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// What was not looked at, so that findings of earlier runs about it are not gone.
    #[serde(skip)]
    pub unjudged: Unjudged,
    /// Those findings, as they were seen last.
    #[serde(skip)]
    pub not_looked_at: Vec<Finding>,
    /// What guard rails refuse.
    pub refusals: Vec<Refusal>,
    /// The ids of steps that would be done but for guard rails, where what such a step wrote down is kept for the next run.
    #[serde(skip)]
    pub withheld: BTreeSet<String>,
    /// How many accounts IAM was read in; none when that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited: Option<Audited>,
    /// For what a plan that goes on by itself waits: until a moment, not for a person. Accounts that are `waits-for-wave` meanwhile
    /// are pending, and nothing is wrong with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// What IAM and CloudFormation say of each targeted account with a stack instance, side by side; empty where CloudFormation
    /// was not to be asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<AwsAccountId, Verdicts>,
}

/// What is said of an account's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// What IAM has, beside what the template means.
    pub iam: IamVerdict,
    /// What CloudFormation's own drift detection said last.
    pub cloudformation: StackDrift,
}

/// What comparing an account's role came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IamVerdict {
    /// Nothing differs.
    AsMeant,
    /// Something does; findings say what.
    Differs,
    /// It could not be read.
    Unreadable,
    /// It was not to be read.
    NotRead,
}

impl IamVerdict {
    /// In kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AsMeant => "as-meant",
            Self::Differs => "differs",
            Self::Unreadable => "unreadable",
            Self::NotRead => "not-read",
        }
    }
}

/// How many accounts IAM was read in: `asked = read + unreadable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Accounts that are enrolled by us, active, with a current stack instance.
    pub asked: usize,
    /// Of those, read and compared.
    pub read: usize,
    /// Of those, not readable, for whatever reason; each has a finding.
    pub unreadable: usize,
    /// Whether an aggregator of AWS Config told what they have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_aggregator: bool,
    /// Of when the oldest status of a source of the aggregator is, in Unix seconds, among the accounts of which it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_status: Option<i64>,
    /// Accounts of which AWS Config does not tell whether their recorders run: what it has of them may be from any time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold_recorders: usize,
}

// Serde gives it a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Plan {
    /// The targeted rows.
    pub fn targeted(&self) -> impl Iterator<Item = &AccountRow> {
        self.accounts.iter().filter(|row| row.targeted)
    }

    /// Whether guard rails refuse it as a whole.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refusals.iter().any(|refusal| refusal.whole_plan)
    }

    /// Whether any step is due.
    #[must_use]
    pub fn has_due_steps(&self) -> bool {
        !self.steps.is_empty()
    }
}

/// Counts of a run, computed from rows: `targeted = ok + planned + pending + failed + skipped`, `ok = changed + unchanged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Accounts that the configuration targets.
    pub targeted: usize,
    /// As they should be.
    pub ok: usize,
    /// Of those, made so by this run.
    pub changed: usize,
    /// Of those, so before this run.
    pub unchanged: usize,
    /// Would be worked on (dry run only).
    pub planned: usize,
    /// Being worked on, or left to the next run.
    pub pending: usize,
    /// Went wrong.
    pub failed: usize,
    /// Left alone, for a reason.
    pub skipped: usize,
}

impl Summary {
    /// Counts the rows of `after`. A row that is ok counts as changed when `before` had it otherwise.
    /// `dry_run` says that due rows were only planned.
    #[must_use]
    pub fn of(before: &[AccountRow], after: &[AccountRow], dry_run: bool) -> Self {
        let mut summary = Self::default();
        for row in after.iter().filter(|row| row.targeted) {
            summary.targeted += 1;
            match row.standing {
                Standing::Ok => {
                    summary.ok += 1;
                    let was_ok = before
                        .binary_search_by_key(&row.account, |earlier| earlier.account)
                        .is_ok_and(|index| before[index].standing == Standing::Ok);
                    if was_ok {
                        summary.unchanged += 1;
                    } else {
                        summary.changed += 1;
                    }
                }
                Standing::Due if dry_run => summary.planned += 1,
                Standing::Due | Standing::Pending => summary.pending += 1,
                Standing::Failed => summary.failed += 1,
                Standing::Skipped => summary.skipped += 1,
            }
        }
        summary
    }

    /// Whether the numbers add up; a report that does not is a defect.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.targeted == self.ok + self.planned + self.pending + self.failed + self.skipped
            && self.ok == self.changed + self.unchanged
    }
}
