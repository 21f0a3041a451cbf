//! The end of a run: what is recorded of it, and for whom. A run that the state stopped, because it could not be written, has not died: its
//! end is written as soon as that can be done again, and its job is asked for once more.

use std::{collections::BTreeSet, time::Duration};

use onboarding_core::plan::{AccountRow, Unjudged};
use tokio::time::{Instant, sleep, timeout};

use super::{
    error::JobError,
    interrupt::Interrupt,
    journal::{Hold, Journal, JournalError, RunEnd, RunKey},
    lost::lost,
    options::RunOptions,
    recorder::Recorder,
    report::{RunReport, RunStatus, StepOutcome, StepRecord, exit_code},
    telling,
};

/// The pause before the end is tried again that could not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// How long writing the end may take once the lock is lost: by then it goes wrong as a rule.
const LATE: Duration = Duration::from_secs(30);

/// For how long it is tried at most by a process that is to end.
const DRAINING: Duration = Duration::from_secs(10);

/// Records the end. Where another process has the run, it is that one's.
pub(super) async fn end(
    journal: &dyn Journal,
    recorder: &Recorder,
    (key, hold): (RunKey, Option<&dyn Hold>),
    options: &RunOptions,
    report: &mut RunReport,
) {
    if recorder.is_fenced() {
        return;
    }
    let (is_cut, now) = (recorder.is_lost(), (options.clock)());
    let error = report.error.as_ref().map(JobError::chain);
    let counts = !options.dry_run || options.only_looks;
    let looked = report.error.is_none() && counts && report.plan().is_some();
    let routes = if counts { &*options.routes } else { &[] };
    let notifications = telling::notifications(journal, routes, report, looked, now);
    let notifications = notifications.await;
    let unjudged = report.plan().map(Unjudged::of);
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
        again: is_put_off(options, report) || is_cut && is_wanted(options),
        at: now,
    };
    let written = tokio::select! {
        biased;
        written = written(journal, (key, hold), options, &end) => written,
        () = silenced(journal, key, &options.interrupt) => Err(JournalError::Silent),
    };
    if let Err(error) = written {
        let lost = recorder.fail(&error);
        report.error.get_or_insert(lost);
    }
}

/// Writes the end down, again and again while the state cannot be written: with the state away, nobody else can take the run up either.
async fn written(
    journal: &dyn Journal,
    (key, hold): (RunKey, Option<&dyn Hold>),
    options: &RunOptions,
    end: &RunEnd<'_>,
) -> Result<(), JournalError> {
    let (begun, interrupt) = (Instant::now(), &options.interrupt);
    let patience = || match interrupt.is_draining() {
        true => options.end_patience.min(DRAINING),
        false => options.end_patience,
    };
    loop {
        let write = journal.end_run(key, end.clone());
        let written = if hold.is_some_and(Hold::is_lost) {
            let left = patience().saturating_sub(begun.elapsed());
            let written = timeout(left.min(LATE), write).await;
            written.unwrap_or(Err(JournalError::HoldLost))
        } else {
            tokio::select! {
                biased;
                written = write => written,
                () = lost(hold) => Err(JournalError::HoldLost),
            }
        };
        let error = match written {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let may_pass = matches!(error, JournalError::Write { .. } | JournalError::HoldLost);
        if !may_pass || interrupt.is_abandoned() || begun.elapsed() >= patience() {
            return Err(error);
        }
        tracing::warn!(run.id = %key.id, %error, "the end of a run could not be written down; it is tried again");
        tokio::select! {
            () = interrupt.abandoned() => {}
            () = sleep(PAUSE) => {}
        }
    }
}

/// Ends when the process is to end and, a moment later, the journal does not answer. One that only takes long, with a row for each account,
/// is let end.
async fn silenced(journal: &dyn Journal, key: RunKey, interrupt: &Interrupt) {
    interrupt.or_end(1, std::future::pending::<()>()).await;
    while !matches!(journal.cancelled_by(key).await, Err(JournalError::Silent)) {
        sleep(PAUSE).await;
    }
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
            .is_some_and(|plan| !plan.is_refused());
    let is_pending = |step: &StepRecord| step.outcome == StepOutcome::Pending;
    (came_to_its_end && !report.steps.iter().any(is_pending)).then_some("applied")
}

/// Whether a run that ends early through no fault of its own is asked for once more. Who waits for one that was asked for by hand is told, and
/// asks again.
fn is_wanted(options: &RunOptions) -> bool {
    options.is_put_off_by_signals && !options.interrupt.is_cancelled()
}

/// Whether the run ends early only because its process does.
fn is_put_off(options: &RunOptions, report: &RunReport) -> bool {
    let interrupt = &options.interrupt;
    report.interrupted && is_wanted(options) && interrupt.frozen().is_none()
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
