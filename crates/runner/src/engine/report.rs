//! What a run did, and the exit code that says so.

use std::{collections::BTreeMap, time::Duration};

use onboarding_core::{
    plan::{AccountRow, Finding, Plan, Refusal, Severity, Summary, consent::Moved},
    status::{Reason, Standing},
};

use super::{
    consent::PlanDocument,
    error::{ErrorClass, JobError},
    journal::RunId,
};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// It did all that was due. Findings may remain.
    Done,
    /// A dry run: it only planned.
    Planned,
    /// Its plan waits for an approval.
    Waiting,
    /// It did all that was due, and goes on by itself later: its plan waits for a moment.
    Pending,
    /// It failed as a whole, or for some accounts, or left some pending.
    Failed,
    /// A guard rail refused the plan or a part of it.
    Refused,
    /// It was interrupted.
    Interrupted,
}

impl RunStatus {
    /// The status as text, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Planned => "planned",
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It changed something.
    Changed,
    /// It was so already.
    Unchanged,
    /// It failed.
    Failed,
    /// It was not started, or not completed; the next run continues.
    Pending,
    /// A step that it builds on failed.
    Skipped,
}

impl StepOutcome {
    /// The outcome as text, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
        }
    }
}

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StepRecord {
    /// Its id.
    pub id: String,
    /// What it does.
    pub action: String,
    /// How many accounts it works on.
    pub accounts: usize,
    /// What became of it.
    pub outcome: StepOutcome,
    /// What was done, or why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The class of its last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorClass>,
    /// Attempts that were started.
    pub attempts: u32,
    /// How long it took, waits included, in milliseconds.
    pub duration_ms: u64,
}

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// Its id.
    pub run_id: RunId,
    /// The job's name.
    pub job: String,
    /// The job's kind.
    pub kind: String,
    /// Whether it only planned.
    pub dry_run: bool,
    /// The plan before the steps; none when observing or planning failed.
    pub plan_before: Option<Plan>,
    /// The plan of the second observation; none when nothing was applied or verifying failed.
    pub plan_after: Option<Plan>,
    /// What is left alone because the approved plan does not have it, or has and it is no longer so.
    pub moved: Vec<Moved>,
    /// The plan that waits for an approval.
    pub held: Option<PlanDocument>,
    /// The steps of the first plan. Empty in a dry run and when the whole plan was refused.
    pub steps: Vec<StepRecord>,
    /// Why it failed as a whole.
    pub error: Option<JobError>,
    /// Guard rails of the engine itself that refused the run (another run of the job is going on).
    pub engine_refusals: Vec<Refusal>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// What hangs because the run was abandoned by a second signal, for people.
    pub left_behind: Vec<String>,
    /// Calls by operation.
    pub api_calls: BTreeMap<String, u64>,
    /// How long it took.
    pub duration: Duration,
    /// Its trace, when it is traced.
    pub trace_id: Option<String>,
}

/// The guard that lets a job run once at a time.
pub(super) const ONE_RUN_PER_JOB: &str = "one-run-per-job";

impl RunReport {
    /// Why the journal refused to begin the run, when it did.
    #[must_use]
    pub fn unbegun(&self) -> Option<&Refusal> {
        let mut refusals = self.engine_refusals.iter();
        refusals.find(|refusal| refusal.guard == ONE_RUN_PER_JOB)
    }

    /// The newest plan.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.plan_after.as_ref().or(self.plan_before.as_ref())
    }

    /// Where every account stands now.
    #[must_use]
    pub fn accounts(&self) -> &[AccountRow] {
        self.plan().map_or(&[], |plan| &plan.accounts)
    }

    /// What a person should know.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.plan().map_or(&[], |plan| &plan.findings)
    }

    /// What a person should still know of earlier runs, because this one did not look for it again.
    #[must_use]
    pub fn not_looked_at(&self) -> &[Finding] {
        self.plan().map_or(&[], |plan| &plan.not_looked_at)
    }

    /// What guard rails refused: the engine's, or else those of the first plan, which is the one that was to be applied.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        match &self.plan_before {
            Some(plan) if self.engine_refusals.is_empty() => &plan.refusals,
            _ => &self.engine_refusals,
        }
    }

    /// The counts, from the rows.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let before = self
            .plan_before
            .as_ref()
            .map_or(&[][..], |plan| &plan.accounts);
        Summary::of(before, self.accounts(), self.dry_run)
    }

    /// Whether a look at the world after the steps (or before, when there were none) found nothing left to do.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.error.is_none()
            && match (&self.plan_before, &self.plan_after) {
                (_, Some(after)) => !after.has_due_steps(),
                (Some(before), None) => !before.has_due_steps(),
                (None, None) => false,
            }
    }

    /// For what it waits, when it goes on by itself later and nothing is wrong: a wave soaks, or a change window is closed.
    #[must_use]
    pub fn waits(&self) -> Option<&str> {
        self.plan()?.waits.as_deref()
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        if self.interrupted {
            return RunStatus::Interrupted;
        }
        match (&self.error, self.refusals().is_empty()) {
            (None, false) => RunStatus::Refused,
            (Some(_), _) => RunStatus::Failed,
            (None, true) if self.held.is_some() => RunStatus::Waiting,
            (None, true) if has_failures(self) => RunStatus::Failed,
            (None, true) if self.dry_run => RunStatus::Planned,
            (None, true) if self.waits().is_some() => RunStatus::Pending,
            (None, true) => RunStatus::Done,
        }
    }
}

/// The exit code of a process that ran just this: 0 done, nothing wrong · 1 failed, or some accounts failed or are still
/// pending · 2 configuration error · 3 findings, or changes pending: in a dry run, or because the plan waits for a moment · 4 refused by
/// a guard rail, or waiting for an approval · 5 prerequisites or credentials missing · 130 interrupted. When several apply: 130, 2, 5,
/// 4, 1, 3.
#[must_use]
pub fn exit_code(report: &RunReport) -> u8 {
    let error = report.error.as_ref().map(JobError::class);
    let classes = || {
        let steps = report.steps.iter().filter_map(|step| match step.outcome {
            StepOutcome::Failed => step.error,
            _ => None,
        });
        error.into_iter().chain(steps)
    };
    let unmet = |class| matches!(class, ErrorClass::Prerequisite);
    if report.interrupted {
        130
    } else if error == Some(ErrorClass::Invalid) {
        2
    } else if classes().any(unmet) || error == Some(ErrorClass::Denied) {
        5
    } else if !report.refusals().is_empty() || report.held.is_some() {
        4
    } else if has_failures(report) {
        1
    } else if needs_attention(report) {
        3
    } else {
        0
    }
}

/// Whether the run, an account or a step failed, or a run that was to apply left something to do that it does not wait for.
fn has_failures(report: &RunReport) -> bool {
    let summary = report.summary();
    let waits = report.waits().is_some();
    let unfinished = |outcome| match outcome {
        StepOutcome::Failed => true,
        // Not begun, with what builds on it, because the moment for it has gone by.
        StepOutcome::Pending | StepOutcome::Skipped => !waits,
        StepOutcome::Changed | StepOutcome::Unchanged => false,
    };
    report.error.is_some()
        || summary.failed > 0
        || report.steps.iter().any(|step| unfinished(step.outcome))
        || (!report.dry_run && (is_left(report, waits) || !report.is_verified()))
}

/// Whether accounts are pending, and not only for what the plan waits for.
fn is_left(report: &RunReport, waits: bool) -> bool {
    let mut rows = report.accounts().iter().filter(|row| row.targeted);
    rows.any(|row| match row.standing {
        Standing::Due => true,
        Standing::Pending => !waits || row.reason != Reason::WaitsForWave,
        Standing::Ok | Standing::Failed | Standing::Skipped => false,
    })
}

/// Whether a person should look, or a dry run found something to do. Findings that are only worth knowing do not count.
fn needs_attention(report: &RunReport) -> bool {
    let summary = report.summary();
    let serious = |finding: &Finding| finding.severity >= Severity::Warning;
    report.findings().iter().any(serious)
        || report.moved.iter().any(|moved| moved.is_due)
        || (report.dry_run && (!report.is_verified() || summary.planned + summary.pending > 0))
        || report.waits().is_some()
}
