//! Takes up runs that wait, as many at a time as it may, and runs them; asks again for those whose process has died.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};
use tracing::{Instrument as _, Span};

use super::{Nudge, calm::Calm, definitions::Definitions, left_out::left_out, readiness::Health};
use crate::{
    config::{Approval, JobFile, JobParams, Loaded, Overlap},
    engine::{
        Claim, ErrorClass, Interrupt, JobError, JournalError, NoProgress, RunKey, RunReport,
        RunStatus, exit_code, run_span,
    },
    home::Home,
    jobs::{self, Request, TakenUp},
    notify,
    report::{json, table},
    state::{State, StateError, Taken, Told, UnbegunEnd},
    telemetry::metrics,
};

/// The longest time between two looks for runs that wait.
const LOOK: Duration = Duration::from_secs(1);

/// The longest time between two looks for runs that died with their process. With a short lease it is half of that, so that a run is
/// taken over within two leases.
const DEAD_LOOK: Duration = Duration::from_secs(10);

/// How long a run waits for a daemon that knows its job: those of a rollout read new files one after the other.
const UNKNOWN: SignedDuration = SignedDuration::from_hours(1);

/// How often the end of a run is tried to be written that did not begin.
const TRIES: u32 = 10;

/// In moments of a process that is to end: for how long that is tried at most.
const UNWRITTEN: u32 = 2;

/// A dry run that somebody began by hand does not take so long.
const DRY_RUN: SignedDuration = SignedDuration::from_hours(24);

/// What wakes a run that somebody asks for with `runner exec`.
pub(crate) const BY_HAND: &str = "operator";

/// See the module documentation.
pub(super) struct Executor {
    pub(super) home: Home,
    pub(super) definitions: Arc<Definitions>,
    pub(super) health: Arc<Health>,
    /// How many runs at a time.
    pub(super) most: usize,
    pub(super) nudge: Nudge,
    /// Told that a run has ended.
    pub(super) ended: Nudge,
}

impl Executor {
    /// Runs what waits until `interrupt` drains and everything that was taken up has ended.
    pub(super) async fn run(&self, interrupt: &Interrupt) {
        let owner = format!("daemon process {}", std::process::id());
        let lease = self.home.config.runner.state.lease.get();
        let dead_look = DEAD_LOOK.min(lease / 2);
        // Tasks of their own: a run that has the connection of a file must go on while we wait for it.
        let mut runs = JoinSet::new();
        let (mut looked_for_dead, mut calm) = (None, Calm::default());
        loop {
            if interrupt.is_draining() {
                while let Some(ended) = runs.join_next().await {
                    outlived(ended);
                }
                return;
            }
            let is_due = |at: tokio::time::Instant| at.elapsed() >= dead_look;
            let looks = async {
                if looked_for_dead.is_none_or(is_due) && calm.is_calm(&self.home.state).await {
                    self.ask_again_for_dead().await;
                    looked_for_dead = Some(tokio::time::Instant::now());
                }
                let config = self.definitions.current();
                make_room(&self.home.state, &config, Timestamp::now()).await
            };
            let mut has_looked = tokio::select! {
                biased;
                () = interrupt.draining() => continue,
                has_looked = looks => has_looked,
            };
            let known = self.definitions.names();
            while runs.len() < self.most && !interrupt.is_draining() {
                let ends = || interrupt.is_draining();
                let state = &self.home.state;
                let taken = Box::pin(state.take_up(Timestamp::now(), &owner, &known, ends));
                match state.in_time_or_end(interrupt, taken).await {
                    Ok(Some(taken)) => {
                        runs.spawn_local(self.serve(taken, interrupt.child()));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "runs that wait could not be taken up; it is tried again");
                        has_looked = false;
                        break;
                    }
                }
            }
            match has_looked {
                true => self.health.took_up(),
                false => calm.was_away(),
            }
            tokio::select! {
                () = interrupt.draining() => {}
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(ended) = runs.join_next() => {
                    outlived(ended);
                    self.ended.notify_one();
                }
            }
        }
    }

    async fn ask_again_for_dead(&self) {
        let (state, now) = (&self.home.state, Timestamp::now());
        match state.in_time(Box::pin(state.ask_again_for_dead(now))).await {
            Ok(dead) => {
                for run in dead {
                    tracing::warn!(run.id = %run, "a run died with its process; the job is run again");
                }
            }
            Err(error) => {
                tracing::error!(%error, "runs that died could not be looked for; it is tried again")
            }
        }
        if let Err(error) = state.in_time(self.tidy(now)).await {
            tracing::error!(%error, "runs that nobody will run could not be looked for; it is tried again");
        }
    }

    /// Ends what nobody will run or goes on with.
    async fn tidy(&self, now: Timestamp) -> Result<(), StateError> {
        let state = &self.home.state;
        let known = self.definitions.all_names();
        for job in state.take_away_unknown(&known, now - UNKNOWN, now).await? {
            tracing::warn!(
                job.name = job,
                "runs of a job are taken away that this daemon does not know, and of which no schedule is in force"
            );
        }
        state.end_old_dry_runs(now - DRY_RUN, now).await
    }

    /// One run, to its end.
    fn serve(&self, taken: Taken, interrupt: Interrupt) -> impl Future<Output = ()> + use<> {
        let (home, definitions) = (self.home.clone(), Arc::clone(&self.definitions));
        async move {
            if taken.woken_by == BY_HAND {
                // Who waits for it has just read the files, too.
                definitions.read_what_has_changed().await;
            }
            let home = home.with_config(definitions.current());
            let job = definitions.job(&taken.job);
            let state = home.state.clone();
            let run = taken.run;
            let Some(job) = job else {
                let why = "there is no such job any more";
                end_unbegun(&state, run, unbegun("failed", 2, why), &interrupt).await;
                return;
            };
            match left_out(&state, &job, &taken, &interrupt).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    let woken_by = taken.woken_by;
                    tracing::warn!(run.id = %run.id, job.name = job.name, woken_by, why, "a run is left out");
                    let skipped = unbegun("skipped", 0, &why);
                    end_unbegun(&state, run, skipped, &interrupt).await;
                    return;
                }
                Err(error) => {
                    tracing::error!(run.id = %run.id, job.name = job.name, %error, "a run does not begin: whether its job is paused is not known; it waits again");
                    put_back(&state, run, &interrupt).await;
                    return;
                }
            }
            let span = run_span(run.id, &job.name, job.kind());
            let served = served(home, &job, taken, interrupt);
            served.instrument(span).await;
        }
    }
}

/// Ends runs in whose place one that events ask for is due, of the jobs that say so. Tells whether it could be looked for them.
async fn make_room(state: &State, config: &Loaded, now: Timestamp) -> bool {
    let jobs = config.jobs.iter();
    let jobs = jobs.filter(|job| job.enabled && job.overlap == Overlap::Replace);
    let jobs: Vec<&str> = jobs.map(|job| job.name.as_str()).collect();
    match state.in_time(state.make_room(&jobs, now)).await {
        Ok(ended) => {
            for job in ended {
                tracing::info!(
                    job.name = job,
                    "a run ends for one that events ask for (overlap = \"replace\")"
                );
            }
            true
        }
        Err(error) => {
            tracing::error!(%error, "runs could not be ended for those that events ask for; it is tried again");
            false
        }
    }
}

/// A run of a job that there is, within its span.
async fn served(home: Home, job: &JobFile, taken: Taken, interrupt: Interrupt) {
    let (state, run) = (home.state.clone(), taken.run);
    let is_waited_for = taken.woken_by == BY_HAND;
    tracing::info!(run.id = %run.id, job.name = job.name, woken_by = taken.woken_by, "a run begins");
    match begun(home.clone(), job, taken, interrupt.clone()).await {
        Ok(report) => {
            if let Some(refusal) = report.unbegun() {
                let refused = unbegun("refused", 4, &refusal.message);
                end_unbegun(&state, run, refused, &interrupt).await;
            }
            tell(&report);
            if is_waited_for {
                answer(&state, &report, &interrupt).await;
            }
        }
        Err(error) => {
            let why = error.chain();
            tracing::error!(run.id = %run.id, job.name = job.name, error = why, "a run could not begin");
            let span = Span::current();
            span.record("run.status", RunStatus::Failed.code());
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", &why);
            metrics::run_unbegun(&job.name, job.kind());
            let routes = home.config.runner.routes();
            let tell = notify::could_not_begin(&routes, job, run.id, &why);
            let end = UnbegunEnd {
                told: &tell,
                // The state was away for a moment, say. Who asked by hand is told, and asks again.
                again: error.class() == ErrorClass::Transient && !is_waited_for,
                ..unbegun("failed", exit(&error), &why)
            };
            end_unbegun(&state, run, end, &interrupt).await;
        }
    }
}

async fn begun(
    home: Home,
    job: &JobFile,
    taken: Taken,
    interrupt: Interrupt,
) -> Result<RunReport, JobError> {
    let request = Request {
        dry_run: false,
        asked: taken.asked,
        given: None,
        taken: Some(TakenUp {
            claim: Claim {
                key: taken.run,
                hold: taken.hold,
                span: Span::current(),
            },
            woken_by: taken.woken_by,
            asked_in: taken.asked_in,
        }),
    };
    let state = home.state.clone();
    let renewed = home.renewed();
    let home = state.in_time_or_end(&interrupt, renewed).await?;
    let job = with_nobodys_word(job);
    Box::pin(jobs::execute(
        home,
        &job,
        request,
        Arc::new(NoProgress),
        interrupt,
    ))
    .await
}

/// The job as it is run where nobody types how many Spot accounts go: without a person's approval, it only looks.
fn with_nobodys_word(job: &JobFile) -> JobFile {
    let mut job = job.clone();
    if job.approval == Approval::Required {
        return job;
    }
    if let JobParams::OrphanCleanup(params) = &mut job.params
        && params.apply
    {
        tracing::warn!(
            job.name = job.name,
            "a daemon deletes Spot accounts only where a person approves of it: set approval = \"required\" for this job; it only looks"
        );
        params.apply = false;
    }
    job
}

fn exit(error: &JobError) -> u8 {
    match error.class() {
        ErrorClass::Invalid => 2,
        ErrorClass::Prerequisite | ErrorClass::Denied => 5,
        _ => 1,
    }
}

/// A run whose task panicked has told nobody; its lock is free again, and it is found dead.
fn outlived(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a run ended badly; please report this with the log");
    }
}

fn unbegun<'a>(state: &'a str, exit: u8, why: &'a str) -> UnbegunEnd<'a> {
    UnbegunEnd {
        state,
        exit,
        why,
        ..UnbegunEnd::default()
    }
}

/// Ends a run that was taken up and did not begin. While the state cannot be written it is tried again, for a while: the run has not died.
async fn end_unbegun(state: &State, run: RunKey, end: UnbegunEnd<'_>, interrupt: &Interrupt) {
    // The same each time: the one whose answer was lost may have been written.
    let now = Timestamp::now();
    let ended = Box::pin(async {
        for _ in 0..TRIES {
            let ended = state.end_unbegun(run, end, now);
            let Err(error) = state.in_time(ended).await else {
                return;
            };
            tracing::error!(run.id = %run.id, %error, "the end of a run could not be written down");
            if matches!(error, JournalError::Fenced(_)) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    if interrupt.or_end(UNWRITTEN, ended).await.is_none() {
        tracing::error!(run.id = %run.id, "the end of a run could not be written down before this process ends");
    }
}

/// Lets a run wait again that was taken up and does not begin. When that cannot be written, whoever looks for dead runs does it.
async fn put_back(state: &State, run: RunKey, interrupt: &Interrupt) {
    let put_back = state.put_back(run, Timestamp::now().as_millisecond());
    if let Err(error) = state.in_time_or_end(interrupt, put_back).await {
        tracing::error!(run.id = %run.id, %error, "that a run waits again could not be written down");
    }
}

/// Tells whoever asked for the run, and waits beside us, what became of it.
async fn answer(state: &State, report: &RunReport, interrupt: &Interrupt) {
    let document = match serde_json::to_string_pretty(&json::document(report)) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(%error, "the report of the run could not be written for who asked for it");
            return;
        }
    };
    let text = table::run(report);
    let told = Told { document, text };
    let told = state.tell_of_run(report.run_id, &told);
    if let Err(error) = state.in_time_or_end(interrupt, told).await {
        tracing::error!(%error, "who asked for the run could not be told of it");
    }
}

fn tell(report: &RunReport) {
    let summary = report.summary();
    let (run, job, status) = (report.run_id, &report.job, report.status().code());
    let exit = exit_code(report);
    let error = report.error.as_ref().map(JobError::chain);
    if exit == 0 {
        tracing::info!(run.id = %run, job.name = job, status, exit, ok = summary.ok, changed = summary.changed, "a run ended");
    } else {
        tracing::warn!(
            run.id = %run, job.name = job, status, exit, ok = summary.ok, failed = summary.failed, pending = summary.pending,
            findings = report.findings().len(), error, "a run ended; `runner runs show` tells more"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn who_makes_room_goes_on_when_the_state_does_not_answer() {
        let Some(silent) = State::silent("runs").await else {
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("jobs")).unwrap();
        let runner = "[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n[profiles.targets]\nous = [\"root\"]\n";
        std::fs::write(directory.path().join("runner.toml"), runner).unwrap();
        let job = "kind = \"stackset-sync\"\noverlap = \"replace\"\n";
        std::fs::write(directory.path().join("jobs/sync.toml"), job).unwrap();
        let config = Config::load(directory.path(), &[]).unwrap();
        let looked = make_room(&silent.state, &config, Timestamp::now());
        assert!(!silent.comes_back(looked).await);
    }

    #[tokio::test]
    async fn who_ends_what_did_not_begin_goes_on_when_the_process_is_to_end() {
        let Some(silent) = State::silent("runs").await else {
            return;
        };
        // Each try alone takes longer than this test may.
        let state = silent.state.clone().with_lease(Duration::from_secs(600));
        let interrupt = Interrupt::with_moments_of(Duration::from_millis(100));
        let run = RunKey {
            id: crate::engine::RunId::new(),
            fence: 1,
        };
        let ends = end_unbegun(&state, run, unbegun("skipped", 0, "paused"), &interrupt);
        let signals = async {
            tokio::task::yield_now().await;
            interrupt.signal();
        };
        silent
            .comes_back(async { tokio::join!(ends, signals) })
            .await;
    }
}
