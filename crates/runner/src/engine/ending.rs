//! The end of a run: what is recorded of it, and for whom.

use std::collections::BTreeSet;

use onboarding_core::plan::{AccountRow, Unjudged};

use super::{
    context::RunContext,
    error::JobError,
    execute::is_refused,
    journal::{Journal, RunEnd, RunKey},
    options::RunOptions,
    report::{RunReport, RunStatus, StepOutcome, StepRecord, exit_code},
    telling,
};

/// Records the end. A journal that was lost is not written to again.
pub(super) async fn end(
    journal: &dyn Journal,
    cx: &RunContext,
    key: RunKey,
    options: &RunOptions,
    report: &mut RunReport,
) {
    if cx.shared.recorder.is_lost() {
        return;
    }
    let error = report.error.as_ref().map(JobError::chain);
    let counts = !options.dry_run || options.only_looks;
    let looked = report.error.is_none() && counts && report.plan().is_some();
    let routes = if counts { &*options.routes } else { &[] };
    let notifications = telling::notifications(journal, routes, report, looked, cx.now());
    let notifications = notifications.await;
    let unjudged = unjudged(report);
    let end = RunEnd {
        status: report.status(),
        exit: exit_code(report),
        summary: report.summary(),
        findings: report.findings(),
        looked,
        unjudged: unjudged.as_ref(),
        refusals: report.refusals(),
        accounts: touched(report),
        ledger: report.accounts(),
        error: error.as_deref(),
        notifications: &notifications,
        plan: options.consent.kept_plan().zip(became(report)),
        again: is_put_off(options, report),
        at: cx.now(),
    };
    if let Err(error) = journal.end_run(key, end).await {
        let lost = cx.shared.recorder.fail(&error);
        report.error.get_or_insert(lost);
    }
}

/// What the newest plan did not look at. One that is refused as a whole says nothing of anything.
fn unjudged(report: &RunReport) -> Option<Unjudged> {
    let plan = report.plan()?;
    Some(Unjudged {
        is_everything: is_refused(plan),
        ..plan.unjudged.clone()
    })
}

/// Why a run failed, as a whole or for some accounts; none when it did not.
pub(super) fn failure(report: &RunReport) -> Option<String> {
    let error = report.error.as_ref().map(JobError::chain);
    error.or_else(|| {
        let summary = report.summary();
        let (failed, pending) = (summary.failed, summary.pending);
        let is_failed = report.status() == RunStatus::Failed;
        is_failed.then(|| format!("{failed} accounts failed, {pending} are pending"))
    })
}

/// What became of the plan that was kept for an approval, when this run ends it: `applied` or `void`. One whose run did not
/// come to the end of its steps goes on with the next run.
fn became(report: &RunReport) -> Option<&'static str> {
    let refused = |guard: &str| {
        let mut refusals = report.engine_refusals.iter();
        refusals.any(|refusal| refusal.guard.starts_with(guard))
    };
    if refused("plan-") {
        return Some("void");
    }
    let came_to_its_end = !report.interrupted
        && report.error.is_none()
        && report.engine_refusals.is_empty()
        && report
            .plan_before
            .as_ref()
            .is_some_and(|plan| !is_refused(plan));
    let is_pending = |step: &StepRecord| step.outcome == StepOutcome::Pending;
    (came_to_its_end && !report.steps.iter().any(is_pending)).then_some("applied")
}

/// Whether the run ends early only because its process does.
fn is_put_off(options: &RunOptions, report: &RunReport) -> bool {
    let interrupt = &options.interrupt;
    report.interrupted
        && options.is_put_off_by_signals
        && !interrupt.is_cancelled()
        && interrupt.frozen().is_none()
}

/// The rows of the accounts that steps worked on, so that a run that touched nothing costs no rows.
fn touched(report: &RunReport) -> Vec<&AccountRow> {
    let Some(before) = report.plan_before.as_ref().filter(|_| !report.dry_run) else {
        return Vec::new();
    };
    let started = report.steps.iter().filter(|step| step.attempts > 0);
    let ids: BTreeSet<&str> = started.map(|step| &*step.id).collect();
    let steps = before.steps.iter().filter(|step| ids.contains(&*step.id));
    let accounts: BTreeSet<_> = steps.flat_map(|step| step.accounts.iter()).collect();
    let rows = report.accounts().iter();
    rows.filter(|row| accounts.contains(&row.account)).collect()
}
