//! One run of a job, from the first look to the last record.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use onboarding_core::plan::{
    Plan, Refusal, Step, Unjudged,
    consent::{self, Moved, Scope},
};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    apply::{apply_steps, wait_or_end},
    consent::{Consent, PlanDocument},
    context::{RunContext, Shared},
    ending::{end, failure},
    error::{ErrorClass, JobError},
    job::{Job, Memos, Phase},
    journal::{Claim, Journal, JournalError, NewRun, RunId, RunKey},
    ledger::Ledger,
    lost::lost,
    options::RunOptions,
    patient::Patient,
    progress::ProgressBoard,
    recorder::Recorder,
    report::{ONE_RUN_PER_JOB, RunReport},
};
use crate::telemetry;

/// How often a run looks whether somebody wants it to end, and one that applies whether everything is frozen by now.
const LOOK: Duration = Duration::from_secs(1);

/// How long background work may take to end after its token was cancelled.
const BACKGROUND_GRACE: Duration = Duration::from_secs(30);

/// The span of a run, which is the root of its trace.
#[must_use]
pub fn run_span(run: RunId, job: &str, kind: &str) -> Span {
    tracing::info_span!(
        "run",
        run.id = %run,
        job.name = job,
        job.kind = kind,
        run.dry_run = Empty,
        run.status = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// Runs a job once. Whatever goes wrong is in the report.
pub async fn execute<J: Job>(job: &J, journal: Arc<dyn Journal>, options: RunOptions) -> RunReport {
    let run_id = options
        .claim
        .as_ref()
        .map_or_else(RunId::new, |claim| claim.key.id);
    let span = options.claim.as_ref().map_or_else(
        || run_span(run_id, &options.job, job.kind()),
        |claim| claim.span.clone(),
    );
    span.record("run.dry_run", options.dry_run);
    telemetry::link(&span, &options.asked_in);
    let journal = Arc::new(Patient {
        journal,
        interrupt: options.interrupt.clone(),
    });
    let report = Box::pin(run(job, journal, &options, run_id))
        .instrument(span.clone())
        .await;
    span.record("run.status", report.status().code());
    if let Some(why) = failure(&report) {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", why);
    }
    telemetry::metrics::run_ended(&report);
    report
}

async fn run<J: Job>(
    job: &J,
    journal: Arc<dyn Journal>,
    options: &RunOptions,
    run_id: RunId,
) -> RunReport {
    let started = Instant::now();
    let calls_before = job.api_calls();
    let trace_id = telemetry::trace_id(&Span::current());
    let mut report = RunReport {
        run_id,
        job: options.job.clone(),
        kind: job.kind().to_owned(),
        dry_run: options.dry_run,
        plan_before: None,
        plan_after: None,
        moved: Vec::new(),
        held: None,
        steps: Vec::new(),
        error: None,
        engine_refusals: Vec::new(),
        interrupted: false,
        left_behind: Vec::new(),
        api_calls: BTreeMap::new(),
        duration: Duration::ZERO,
        trace_id: trace_id.clone(),
    };
    let new = NewRun {
        id: run_id,
        claim: options.claim.clone(),
        job: options.job.clone(),
        kind: job.kind().to_owned(),
        trigger: options.trigger.clone(),
        tick: options.tick,
        dry_run: options.dry_run,
        asked: options.asked,
        plan: options.consent.kept_plan().map(str::to_owned),
        at: (options.clock)(),
        trace_id,
    };
    let hold = options.claim.as_ref().map(|claim| &*claim.hold);
    let begun = tokio::select! {
        biased;
        () = lost(hold) => Err(JournalError::HoldLost),
        begun = journal.begin_run(&new) => begun,
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            report.duration = started.elapsed();
            let claimed = claimed(&journal, options, &error);
            refuse(&mut report, error);
            if let Some((recorder, claim)) = claimed {
                let run = (claim.key, Some(&*claim.hold));
                end(&*journal, &recorder, run, options, &mut report).await;
            }
            return report;
        }
    };
    for dead in &begun.interrupted {
        tracing::warn!(run.id = %dead, "an earlier run of this job ended without saying so; its unfinished steps are taken up");
    }
    let mut memos = match job.memos() {
        Memos::Followed => BTreeMap::new(),
        Memos::Kept => begun.failed_memos,
    };
    memos.extend(begun.memos);
    // A null is a memo that was forgotten.
    memos.retain(|_, memo| !memo.is_null());
    let cx = RunContext {
        shared: Arc::new(Shared {
            run_id,
            job: options.job.clone(),
            dry_run: options.dry_run,
            memos: memos.clone(),
            clock: options.clock.clone(),
            interrupt: options.interrupt.clone(),
            background: CancellationToken::new(),
            progress: ProgressBoard::new(options.progress.clone()),
            recorder: Recorder::new(journal.clone(), begun.key),
        }),
        phase: Phase::Observe,
    };
    let ledger = Ledger::default();
    let stages = Stages {
        job,
        cx: &cx,
        options,
        journal: &*journal,
        key: begun.key,
        ledger: &ledger,
    };
    tokio::select! {
        biased;
        // First, so that nothing goes on before it was looked at, wherever the process was paused.
        () = lost(begun.hold.as_deref()) => {
            report.error = Some(cx.shared.recorder.fail(&JournalError::HoldLost));
        }
        () = options.interrupt.abandoned() => {}
        () = stages.silenced() => {
            report.error = Some(cx.shared.recorder.fail(&JournalError::Silent));
        }
        () = stages.watch_for_cancellation() => {}
        () = stages.run(memos, &mut report) => {}
    }
    report.interrupted |= options.interrupt.is_abandoned();
    let steps = report.plan_before.as_ref().map_or(&[][..], |p| &p.steps);
    report.left_behind = left_behind(job, steps, &ledger);
    report.steps = ledger.records();
    report.api_calls = difference(job.api_calls(), &calls_before);
    report.duration = started.elapsed();
    let hold = begun.hold.as_deref();
    let recorder = &cx.shared.recorder;
    end(&*journal, recorder, (begun.key, hold), options, &mut report).await;
    report
}

/// The stages of a run, which a second signal drops wherever they are.
struct Stages<'a, J> {
    job: &'a J,
    cx: &'a RunContext,
    options: &'a RunOptions,
    journal: &'a dyn Journal,
    key: RunKey,
    ledger: &'a Ledger,
}

impl<J: Job> Stages<'_, J> {
    async fn run(&self, mut memos: BTreeMap<String, Value>, report: &mut RunReport) {
        if let Some((guard, message)) = self.void() {
            report.engine_refusals.push(Refusal {
                guard: guard.to_owned(),
                message,
                whole_plan: true,
            });
            return;
        }
        let interrupt = &self.options.interrupt;
        let plan = tokio::select! {
            biased;
            () = interrupt.draining() => {
                report.interrupted = true;
                return;
            }
            plan = self.look(Phase::Observe) => plan,
        };
        let plan = match plan {
            Ok(mut plan) => {
                report.moved = self.limit(&mut plan);
                report.plan_before.insert(plan)
            }
            Err(error) => {
                report.error = Some(error);
                return;
            }
        };
        if self.options.dry_run || plan.is_refused() {
            return;
        }
        if let Consent::Needed { basis, lifetime } = &self.options.consent
            && self.has_steps_to_look_at(plan)
        {
            let (run, now) = (self.key.id, self.cx.moment());
            let plan = PlanDocument::new(run, basis.clone(), plan, now, *lifetime);
            match self.journal.hold_plan(self.key, &plan).await {
                Ok(held) => report.held = Some(held),
                Err(error) => report.error = Some(self.cx.shared.recorder.fail(&error)),
            }
            return;
        }
        if plan.has_due_steps() {
            match self.cx.shared.recorder.frozen().await {
                Ok(None) => {}
                Ok(Some(message)) => {
                    report.engine_refusals.push(frozen(message, true));
                    return;
                }
                Err(error) => {
                    report.error = Some(error);
                    return;
                }
            }
        }
        let inherited = self.inherited(plan, &report.moved, &memos);
        let recorded = self.journal.plan_run(self.key, &plan.steps, &inherited);
        if let Err(error) = recorded.await {
            report.error = Some(self.cx.shared.recorder.fail(&error));
            return;
        }
        if plan.steps.is_empty() {
            return;
        }
        self.ledger.enter(&plan.steps, &mut memos);
        self.apply(&plan.steps).await;
        if self.cx.shared.recorder.is_lost() {
            report.error = Some(self.cx.shared.recorder.loss());
            return;
        }
        report.interrupted = interrupt.is_signalled();
        if let Some(why) = interrupt.frozen() {
            report.engine_refusals.push(frozen(why.to_owned(), false));
        }
        let verified = if interrupt.is_draining() {
            self.look(Phase::Verify).await
        } else {
            tokio::select! {
                biased;
                () = interrupt.draining() => {
                    report.interrupted = true;
                    return;
                }
                plan = self.look(Phase::Verify) => plan,
            }
        };
        match verified {
            Ok(mut plan) => {
                let moved = self.limit(&mut plan);
                report.moved.retain(|before| !before.is_due);
                report
                    .moved
                    .extend(moved.into_iter().filter(|moved| moved.is_due));
                report.plan_after = Some(plan);
            }
            Err(error) => report.error = Some(error),
        }
    }

    /// Why the plan that was approved may not be applied.
    fn void(&self) -> Option<(&'static str, String)> {
        match &self.options.consent {
            Consent::Given { plan, basis, .. } => plan.void(self.cx.moment(), basis),
            Consent::NotNeeded | Consent::Needed { .. } => None,
        }
    }

    /// Takes out what was not approved.
    fn limit(&self, plan: &mut Plan) -> Vec<Moved> {
        match &self.options.consent {
            // A plan that is refused says nothing about what is due.
            Consent::Given { .. } if plan.is_refused() => Vec::new(),
            Consent::Given { plan: given, .. } => {
                consent::limit(plan, &given.steps, self.job.consent())
            }
            Consent::NotNeeded | Consent::Needed { .. } => Vec::new(),
        }
    }

    /// The memos that steps of the plan inherit, and those that stay because their steps were taken out of it.
    fn inherited(
        &self,
        plan: &Plan,
        moved: &[Moved],
        memos: &BTreeMap<String, Value>,
    ) -> BTreeMap<String, Value> {
        let mut steps: BTreeSet<&str> = plan.steps.iter().map(|step| &*step.id).collect();
        if self.job.memos() == Memos::Kept {
            steps.extend(plan.withheld.iter().map(String::as_str));
            let moved = moved.iter().filter(|moved| moved.is_due);
            steps.extend(moved.map(|moved| &*moved.step));
        }
        let memos = memos.iter().filter(|(step, _)| steps.contains(&***step));
        memos
            .map(|(step, memo)| (step.clone(), memo.clone()))
            .collect()
    }

    /// Whether the plan does more than wait for what goes on already.
    fn has_steps_to_look_at(&self, plan: &Plan) -> bool {
        let kind = self.job.consent();
        let mut steps = plan.steps.iter();
        steps.any(|step| kind.scope(step) != Scope::Free)
    }

    /// Drains the run as soon as somebody has asked it to end. Never ends.
    async fn watch_for_cancellation(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // What is wrong with the journal stops the run by itself.
            if let Ok(Some(by)) = self.journal.cancelled_by(self.key).await {
                tracing::warn!(run.id = %self.key.id, "cancelled by {by}: what goes on is ended, and nothing more begins");
                self.options.interrupt.cancel();
                return std::future::pending().await;
            }
        }
    }

    /// Ends when the process is to end and the journal does not answer: of what goes on, nothing could be written down any more.
    async fn silenced(&self) {
        self.options.interrupt.ending().await;
        loop {
            let asked = self.journal.cancelled_by(self.key).await;
            if matches!(asked, Err(JournalError::Silent)) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Drains the run as soon as everything is frozen.
    async fn watch_the_freeze(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // What is wrong with the journal stops the run by itself.
            if let Ok(Some(why)) = self.cx.shared.recorder.frozen().await {
                self.options.interrupt.freeze(why);
                return std::future::pending().await;
            }
        }
    }

    async fn apply(&self, steps: &[Step]) {
        let cx = self.cx.in_phase(Phase::Apply);
        cx.shared.progress.planned(steps);
        let background = self
            .job
            .background(&cx)
            .map(|work| AbortOnDropHandle::new(tokio::spawn(work.instrument(Span::current()))));
        tokio::select! {
            () = apply_steps(self.job, &cx, steps, self.ledger, self.options) => {}
            () = self.watch_the_freeze() => {}
        }
        cx.shared.background.cancel();
        if let Some(background) = background {
            match timeout(BACKGROUND_GRACE, background).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "background work ended badly"),
                Err(_) => tracing::error!("background work did not end when asked to; it was cut"),
            }
        }
    }

    /// Observes and plans, trying again by the retry policy.
    async fn look(&self, phase: Phase) -> Result<Plan, JobError> {
        let cx = self.cx.in_phase(phase);
        let span = tracing::info_span!("look", run.id = %cx.run_id(), phase = phase.code());
        let limit = self.options.timeout;
        let look = async {
            let mut attempt = 1;
            loop {
                let observed = AssertUnwindSafe(self.job.observe(&cx)).catch_unwind();
                let Ok(observed) = timeout(limit, observed).await else {
                    let limit = humantime::format_duration(limit);
                    let message =
                        format!("observing took longer than {limit}; raise the job's timeout");
                    return Err(JobError::new(ErrorClass::Transient, message));
                };
                let error = match observed {
                    Ok(Ok(observed)) => {
                        let mut plan = self.planned(&cx, &observed)?;
                        self.remember(&mut plan).await?;
                        return Ok(plan);
                    }
                    Ok(Err(error)) => error,
                    Err(_panic) => return Err(panicked("observing")),
                };
                let Some(wait) = self
                    .options
                    .retry
                    .wait_after(attempt, &error, rand::random())
                else {
                    return Err(error);
                };
                tracing::warn!(
                    attempt,
                    error.type = %error.class(),
                    "observing failed and is tried again: {}",
                    error.chain()
                );
                wait_or_end(&cx, wait).await;
                attempt += 1;
            }
        };
        look.instrument(span).await
    }

    /// Since when the findings are there, and that they still are: one that is new is there since now. What nobody looked at is as it
    /// was seen last.
    async fn remember(&self, plan: &mut Plan) -> Result<(), JobError> {
        let known = self.journal.known_findings(&self.options.job).await;
        let mut known = known.map_err(|error| {
            JobError::new(ErrorClass::Transient, "the state could not be read").with_source(error)
        })?;
        let now = self.cx.now().div_euclid(1000);
        for finding in &mut plan.findings {
            let since = known.remove(&finding.id).map(|known| known.finding);
            let since = since.and_then(|known| known.first_seen);
            finding.first_seen = Some(since.unwrap_or(now));
            finding.last_seen = Some(now);
        }
        let unjudged = Unjudged::of(plan);
        known.retain(|_, known| unjudged.has(known));
        let left = known.into_values().map(|known| known.finding);
        plan.not_looked_at = left.collect();
        plan.not_looked_at.sort();
        Ok(())
    }

    fn planned(&self, cx: &RunContext, observed: &J::Observed) -> Result<Plan, JobError> {
        let plan = catch_unwind(AssertUnwindSafe(|| self.job.plan(cx, observed)));
        let mut plan = plan.unwrap_or_else(|_panic| Err(panicked("planning")))?;
        plan.steps.sort_by_key(|step| step.order);
        let mut ids = BTreeSet::new();
        match plan.steps.iter().find(|step| !ids.insert(&*step.id)) {
            None => Ok(plan),
            Some(twice) => Err(JobError::new(
                ErrorClass::Bug,
                format!("the plan has two steps with the id {}", twice.id),
            )),
        }
    }
}

fn frozen(message: String, whole_plan: bool) -> Refusal {
    Refusal {
        guard: "freeze".to_owned(),
        message,
        whole_plan,
    }
}

/// Nothing was applied, and the run is recorded as failed like any other.
fn panicked(doing: &str) -> JobError {
    JobError::new(
        ErrorClass::Bug,
        format!("{doing} panicked; please report this with the log"),
    )
}

/// A run that was taken up and could not be begun because of the journal: what records its end.
fn claimed<'a>(
    journal: &Arc<dyn Journal>,
    options: &'a RunOptions,
    error: &JournalError,
) -> Option<(Recorder, &'a Claim)> {
    let claim = options.claim.as_ref().filter(|_| !is_refusal(error))?;
    let recorder = Recorder::new(Arc::clone(journal), claim.key);
    recorder.fail(error);
    Some((recorder, claim))
}

fn is_refusal(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::AlreadyRunning { .. }
            | JournalError::TickTaken { .. }
            | JournalError::PlanEnded { .. }
    )
}

fn refuse(report: &mut RunReport, error: JournalError) {
    match error {
        error if is_refusal(&error) => {
            report.engine_refusals.push(Refusal {
                guard: ONE_RUN_PER_JOB.to_owned(),
                message: error.to_string(),
                whole_plan: true,
            });
        }
        error => {
            report.error = Some(
                JobError::new(ErrorClass::Transient, "the run could not begin").with_source(error),
            );
        }
    }
}

fn left_behind<J: Job>(job: &J, steps: &[Step], ledger: &Ledger) -> Vec<String> {
    let in_flight = ledger.in_flight();
    let told = in_flight.iter().filter_map(|(id, memo)| {
        let step = steps.iter().find(|step| step.id == *id)?;
        Some(job.left_behind(step, memo.as_ref()))
    });
    told.collect()
}

fn difference(
    mut after: BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    for (operation, count) in &mut after {
        *count = count.saturating_sub(before.get(operation).copied().unwrap_or(0));
    }
    after.retain(|_, count| *count > 0);
    after
}
