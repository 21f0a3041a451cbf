//! What people are told of a run, in the words of the core.

use std::collections::BTreeSet;

use onboarding_core::notify::{self, Held, Notification, Route, RunEnded, StepFailure};

use super::{
    error::JobError,
    journal::Journal,
    report::{RunReport, RunStatus, StepOutcome},
};

/// What targets are told of a run that has ended at a moment (Unix milliseconds). `looked`: it has seen all findings that there are.
pub(super) async fn notifications(
    journal: &dyn Journal,
    routes: &[Route],
    report: &RunReport,
    looked: bool,
    at: i64,
) -> Vec<Notification> {
    if routes.is_empty() {
        return Vec::new();
    }
    let known = match looked && !report.findings().is_empty() {
        false => None,
        true => known(journal, &report.job).await,
    };
    let status = report.status();
    let (run, error) = (
        report.run_id.to_string(),
        report.error.as_ref().map(JobError::chain),
    );
    let until = report.held.as_ref().map(|held| {
        let at = held.expires_at;
        (at.strftime("%Y-%m-%d %H:%M UTC").to_string(), held)
    });
    let failed = report.steps.iter();
    let failed = failed.filter(|step| step.outcome == StepOutcome::Failed);
    let ended = RunEnded {
        run: &run,
        job: &report.job,
        kind: &report.kind,
        status: status.code(),
        is_failed: matches!(status, RunStatus::Failed | RunStatus::Refused),
        at,
        summary: report.summary(),
        error: error.as_deref(),
        failures: failed
            .map(|step| StepFailure {
                action: &step.action,
                class: step.error.map_or("failed", |class| class.code()),
                note: step.note.as_deref().unwrap_or_default(),
            })
            .collect(),
        accounts: report.accounts(),
        refusals: report.refusals(),
        refused_now: report.plan().map_or(&[], |plan| &plan.refusals),
        findings: report.findings(),
        known,
        held: until.as_ref().map(|(until, held)| Held {
            run: &held.run_id,
            until,
            steps: held.steps.len(),
        }),
    };
    notify::route(routes, &notify::notices(&ended))
}

/// The ids of the findings that earlier runs of the job have, whether or not this one looked for them. When they cannot be read, nothing is called new.
async fn known(journal: &dyn Journal, job: &str) -> Option<BTreeSet<String>> {
    match journal.known_findings(job).await {
        Ok(known) => Some(known.into_keys().collect()),
        Err(error) => {
            tracing::error!(%error, "nobody is told which findings are new");
            None
        }
    }
}
