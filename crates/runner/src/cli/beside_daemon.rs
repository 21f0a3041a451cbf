//! `runner exec` beside a daemon that has the state's file: the daemon runs the job, and tells what became of it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{Instrument as _, field::Empty};

use super::{Failure, Global, complain, freeze::named, print, running::Reports, warn};
use crate::{
    config::JobFile,
    daemon::BY_HAND,
    engine::{Asked, Interrupt, RunId},
    home::Home,
    report::Output,
    state::{Awaited, NewRequest, State},
    telemetry,
};

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How long what is told of a run may come after its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the daemon for a run, waits for its end, and prints what the daemon tells.
pub(super) async fn run(
    global: &Global,
    home: Home,
    guard: telemetry::Guard,
    job: &JobFile,
    asked: Asked,
    reports: &Reports,
) -> Result<u8, Failure> {
    if reports.are_wanted() {
        return Err(Failure::Config(
            "a daemon has the state and runs this job, so that its report cannot be written to a file here; leave --report out, \
             or end the daemon first"
                .to_owned(),
        ));
    }
    if !global.set.is_empty() {
        return Err(Failure::Config(
            "a daemon has the state and runs this job by its own configuration, so that --set would not be heeded; leave it out, or \
             end the daemon first"
                .to_owned(),
        ));
    }
    if home.state.daemon_configuration()? != home.config.runner.digest() {
        return Err(Failure::Config(
            "the daemon that has the state runs this job, and it was started with another runner.toml than this one; restart the \
             daemon to have this one in force"
                .to_owned(),
        ));
    }
    let state = home.state;
    let now = Timestamp::now();
    let span = tracing::info_span!(
        "ask",
        otel.kind = "producer",
        job.name = job.name,
        job.kind = job.kind(),
        run.id = Empty
    );
    let request = NewRequest {
        job: &job.name,
        kind: job.kind(),
        woken_by: BY_HAND,
        asked,
        due_at: now,
        asked_in: telemetry::traceparent(&span),
    };
    let id = state
        .ask_for_run(&request, now)
        .instrument(span.clone())
        .await?;
    span.record("run.id", id.to_string());
    drop(span);
    if !global.quiet {
        warn(&format!("the daemon runs it: run {id}"));
    }
    let ended = follow(&state, id).await;
    state.close().await;
    guard.shutdown().await;
    let ended = ended?;
    if let Some(error) = &ended.error {
        complain(error);
    }
    match (&ended.told, global.output) {
        (Some(told), Output::Json) => print(&format!("{}\n", told.document)),
        (Some(told), Output::Table) => print(&told.text),
        (None, _) => complain(&format!(
            "run {id} is {}; `runner runs show {id}` tells more",
            ended.state
        )),
    }
    let exit = ended.exit.and_then(|exit| u8::try_from(exit).ok());
    // A run that did nothing, and of which nothing is told, is no success.
    let is_done = ended.told.is_some() || ended.state == "done";
    Ok(exit.filter(|exit| *exit != 0 || is_done).unwrap_or(1))
}

/// Waits until the run has ended and is told of.
async fn follow(state: &State, id: RunId) -> Result<Awaited, Failure> {
    let interrupt = Interrupt::on_signals()
        .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
    let mut is_cancelled = false;
    let mut told_until = None;
    loop {
        let awaited = state.await_run(id).await?;
        let is_over = !matches!(awaited.state.as_str(), "queued" | "running");
        if is_over {
            let until = *told_until.get_or_insert_with(|| tokio::time::Instant::now() + PATIENCE);
            let is_told = awaited.told.is_some() || awaited.error.is_some();
            if is_told || tokio::time::Instant::now() > until {
                return Ok(awaited);
            }
        } else if !state.has_daemon()? {
            return gone(state, id, awaited).await;
        }
        tokio::select! {
            () = interrupt.abandoned() => {
                return Err(Failure::Interrupted(format!(
                    "run {id} goes on in the daemon; `runner runs show {id}` tells how"
                )));
            }
            () = interrupt.draining(), if !is_cancelled => {
                is_cancelled = true;
                state.cancel_run(&id.to_string(), &named(None), Timestamp::now()).await?;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The daemon has ended. A run that still waits is taken away: nobody expects it when the next one starts.
async fn gone(state: &State, id: RunId, awaited: Awaited) -> Result<Awaited, Failure> {
    let words = if awaited.state == "queued" {
        state
            .cancel_run(&id.to_string(), "its daemon ended", Timestamp::now())
            .await?;
        "the daemon has ended before it began the run; run the command again"
    } else {
        "the daemon has ended in the middle of the run; the next daemon, or the next run of the job, goes on with it"
    };
    Err(Failure::Failed(words.to_owned()))
}
