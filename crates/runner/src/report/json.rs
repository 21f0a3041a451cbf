//! The JSON document of a run: the contract that scripts rely on.

use std::collections::BTreeMap;

use onboarding_core::{
    ids::AwsAccountId,
    inventory::StackDrift,
    plan::{
        AccountRow, Audited, Estimate, Finding, IamVerdict, Plan, Refusal, Summary, consent::Moved,
    },
    status::{Reason, Standing},
};
use serde::Serialize;

use super::findings;
use crate::engine::{RunReport, StepRecord};

/// A run, as `--output json` prints it.
#[derive(Debug, Serialize)]
pub struct RunDocument<'a> {
    /// The run's id; `runner runs show` takes it.
    pub run_id: String,
    /// The job's name.
    pub job: &'a str,
    /// The job's kind.
    pub kind: &'a str,
    /// `done`, `pending`, `planned`, `waiting`, `failed`, `refused` or `interrupted`.
    pub status: &'static str,
    /// Whether it only planned.
    pub dry_run: bool,
    /// Counts of targeted accounts; they add up.
    pub summary: Summary,
    /// The steps: those of the plan in a dry run, otherwise what became of them.
    pub steps: Vec<StepView<'a>>,
    /// What a person should know.
    pub findings: &'a [Finding],
    /// Findings of earlier runs that this one did not look for again, as they were seen last: at a lesser depth, in accounts that could
    /// not be read, of profiles that it was not about. They change nothing about how it ends.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub not_looked_at: &'a [Finding],
    /// In how many accounts IAM was read, for an audit that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audited: Option<Audited>,
    /// What IAM and CloudFormation say of each account with a stack instance, for an audit that asks both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictView>,
    /// Accounts that were left alone, and why.
    pub skipped: Vec<AccountView<'a>>,
    /// Accounts that went wrong, and why.
    pub failed: Vec<AccountView<'a>>,
    /// Accounts that are worked on or left to the next run.
    pub pending: Vec<AccountView<'a>>,
    /// What was left alone because the approved plan does not have it, or has and it is no longer so.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub moved: &'a [Moved],
    /// The run whose plan waits for an approval: an earlier one where that says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_of: Option<&'a str>,
    /// For what the plan waits that goes on by itself later, where nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<&'a str>,
    /// Until when the plan can be approved, for a run that waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<jiff::Timestamp>,
    /// What guard rails refused.
    pub refusals: &'a [Refusal],
    /// Why the run failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Calls by operation.
    pub api_calls: &'a BTreeMap<String, u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Its trace, when it is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
}

/// A step: planned, or done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum StepView<'a> {
    /// What became of it.
    Done(&'a StepRecord),
    /// What it would do.
    Planned {
        /// Its id.
        id: &'a str,
        /// What it does.
        action: &'a str,
        /// How many accounts it works on.
        accounts: usize,
        /// Why.
        reason: &'a str,
        /// How much it can hurt.
        risk: onboarding_core::plan::Risk,
        /// What it changes, in words.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        changes: &'a [String],
        /// What it will take.
        #[serde(skip_serializing_if = "Estimate::is_nothing")]
        estimate: Estimate,
        /// Always `planned`.
        outcome: &'static str,
    },
}

/// What is said of an account's role, and of its stack.
#[derive(Debug, Serialize)]
pub struct VerdictView {
    /// The account.
    pub account: AwsAccountId,
    /// What IAM has, beside what the template means.
    pub iam: IamVerdict,
    /// What CloudFormation's own drift detection said last.
    pub cloudformation: StackDrift,
}

fn verdicts(plan: &Plan) -> Vec<VerdictView> {
    let verdicts = plan.verdicts.iter();
    verdicts
        .map(|(account, said)| VerdictView {
            account: *account,
            iam: said.iam,
            cloudformation: said.cloudformation,
        })
        .collect()
}

/// An account and why it stands where it stands.
#[derive(Debug, Serialize)]
pub struct AccountView<'a> {
    /// Its id.
    pub account: AwsAccountId,
    /// Its name.
    pub name: &'a str,
    /// Its place in the organization.
    pub ou_path: &'a str,
    /// The reason code.
    pub reason: Reason,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// What mends it, by its reason and its findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl<'a> AccountView<'a> {
    fn of(row: &'a AccountRow, found: &BTreeMap<AwsAccountId, Vec<&Finding>>) -> Self {
        Self {
            account: row.account,
            name: &row.name,
            ou_path: &row.ou_path,
            reason: row.reason,
            detail: row.detail.as_deref(),
            fix: findings::fix(row, found.get(&row.account).map_or(&[], Vec::as_slice)),
        }
    }
}

/// The document of a run.
#[must_use]
pub fn document(report: &RunReport) -> RunDocument<'_> {
    let found = findings::by_account(report.findings());
    let rows = |wanted: fn(Standing) -> bool| -> Vec<AccountView<'_>> {
        report
            .accounts()
            .iter()
            .filter(|row| row.targeted && wanted(row.standing))
            .map(|row| AccountView::of(row, &found))
            .collect()
    };
    let only_planned = report.dry_run || report.held.is_some();
    let planned = report.plan_before.as_ref().filter(|_| only_planned);
    let steps = match planned {
        Some(plan) => plan
            .steps
            .iter()
            .map(|step| StepView::Planned {
                id: &step.id,
                action: &step.action,
                accounts: step.accounts.len(),
                reason: &step.reason,
                risk: step.risk,
                changes: &step.changes,
                estimate: step.estimate,
                outcome: "planned",
            })
            .collect(),
        None => report.steps.iter().map(StepView::Done).collect(),
    };
    RunDocument {
        run_id: report.run_id.to_string(),
        job: &report.job,
        kind: &report.kind,
        status: report.status().code(),
        waits: report.waits(),
        dry_run: report.dry_run,
        summary: report.summary(),
        steps,
        findings: report.findings(),
        not_looked_at: report.not_looked_at(),
        audited: report.plan().and_then(|plan| plan.audited),
        verdicts: report.plan().map(verdicts).unwrap_or_default(),
        skipped: rows(|standing| standing == Standing::Skipped),
        failed: rows(|standing| standing == Standing::Failed),
        pending: if report.dry_run {
            rows(|standing| standing == Standing::Pending)
        } else {
            rows(|standing| matches!(standing, Standing::Pending | Standing::Due))
        },
        moved: &report.moved,
        plan_of: report.held.as_ref().map(|plan| plan.run_id.as_str()),
        waits_until: report.held.as_ref().map(|plan| plan.expires_at),
        refusals: report.refusals(),
        error: report.error.as_ref().map(crate::engine::JobError::chain),
        api_calls: &report.api_calls,
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        trace_id: report.trace_id.as_deref(),
    }
}
