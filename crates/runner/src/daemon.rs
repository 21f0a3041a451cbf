//! The daemon: runs jobs when they are due, serves the provider's queue, and answers for how it is, for as long as it lives.
//!
//! - `definitions`: the jobs as their files say, the last good version of each;
//! - `scheduler`: looks for due ticks and writes down what becomes of them;
//! - `executor`: takes up runs that wait and runs them, unless they are `left_out`;
//! - `events`: takes events of AWS, and asks for runs of the jobs that they wake;
//! - `service`: the enrollment provider, for as long as the daemon lives;
//! - `retention`: forgets runs that ended long ago;
//! - `health`: `/healthz`, `/readyz` (its `readiness`) and `/metrics`;
//! - `gauges`: what the metrics say of jobs, state and queue.
//!
//! The parts speak to each other through the state only; a nudge makes the next look come sooner, and nothing depends on it.
//! A first signal drains: nothing new is taken up, runs end as after a signal, and custom resources that were taken up are
//! answered. A second one leaves at once.

mod calm;
mod definitions;
mod events;
mod executor;
mod gauges;
mod health;
mod left_out;
mod readiness;
mod retention;
mod scheduler;
mod service;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use onboarding_provider::Intents as _;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::LocalSet};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::Loaded,
    engine::{ErrorClass, Interrupt, JobError},
    home::Home,
    notify,
    provider::Served,
    secret,
    telemetry::Scrape,
};

pub(crate) use executor::BY_HAND;

use definitions::Definitions;
use events::Events;
use executor::Executor;
use gauges::Gauges;
use readiness::{Health, Readiness};
use scheduler::Scheduler;

/// How long a daemon that ends may take to tell what its last runs had to tell.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The time between two looks at the version of the state's tables.
const VERSION_LOOK: Duration = Duration::from_secs(10);

/// Makes a part look again before its time.
type Nudge = Arc<Notify>;

/// Says where it listens, and runs until `interrupt` drains and everything that was begun has ended, or until it is abandoned. `reload` ends whenever the
/// definitions are to be read again; `scrape` has the metrics that it serves.
///
/// # Errors
/// When it cannot begin: another daemon has the state's file, or the address is taken.
pub async fn run<R: Future<Output = ()>>(
    home: Home,
    sets: Vec<String>,
    scrape: Scrape,
    interrupt: &Interrupt,
    reload: impl FnMut() -> R,
    listens: impl FnOnce(SocketAddr),
) -> Result<(), JobError> {
    let _alone = home
        .state
        .be_the_daemon(&home.config.runner.digest())
        .await?;
    home.state.check_intact().await?;
    let settings = home.config.runner.daemon.clone();
    let token = match &settings.token {
        None => None,
        Some(source) => Some(secret::read(source, &home.aws).await.map_err(no_token)?),
    };
    let listener = tokio::net::TcpListener::bind(settings.listen.0.0).await;
    let listener = listener.map_err(|error| cannot_listen(settings.listen.0.0, error))?;
    listens(listener.local_addr().unwrap_or(settings.listen.0.0));
    let definitions = Arc::new(Definitions::new(&home.config, sets));
    let (due, taken) = (Nudge::default(), Nudge::default());
    let health = Arc::new(Health::default());
    let scheduler = Scheduler {
        state: home.state.clone(),
        definitions: Arc::clone(&definitions),
        health: Arc::clone(&health),
        queued: Arc::clone(&taken),
        in_force: Mutex::default(),
    };
    let executor = Executor {
        home: home.clone(),
        definitions: Arc::clone(&definitions),
        health: Arc::clone(&health),
        most: usize::try_from(settings.max_runs).unwrap_or(1),
        nudge: taken,
        ended: Arc::clone(&due),
    };
    let served = Arc::new(Served::default());
    let gauges = Gauges::new(
        home.state.clone(),
        Arc::clone(&definitions),
        Arc::clone(&served),
    );
    let _pushed = scrape.is_pushed.then(|| {
        let gauges = Arc::clone(&gauges);
        spawned(async move { gauges.keep().await })
    });
    let (watched, watching) = (home.clone(), Arc::clone(&gauges));
    let _queues = spawned(async move { watching.watch_queues(&watched).await });
    let _health = spawned(health::serve(
        listener,
        Readiness::new(home.state.clone(), health, Arc::clone(&served)),
        (scrape, gauges),
        token,
    ));
    let (serving, served_until) = (home.clone(), interrupt.clone());
    let service = spawned(async move { service::serve(&serving, &served_until, &served).await });
    let broken = Arc::clone(&definitions);
    let delivering = notify::Delivering::begin(home.clone());
    let events = Events::new(home.clone(), Arc::clone(&definitions));
    let in_background = [
        spawned(events.keep(interrupt.clone())),
        spawned(notify::keep_watching(home.clone(), move || broken.wrong())),
        spawned(retention::keep(home.clone())),
    ];
    let outdated = AtomicBool::new(false);
    let beside = async {
        tokio::join!(
            scheduler.run(&due, interrupt),
            definitions.keep(reload),
            end_when_outdated(&home, interrupt, &outdated),
        )
    };
    let work = async { tokio::join!(executor.run(interrupt), service) };
    // Runs are tasks of this thread.
    let threads = LocalSet::new();
    threads
        .run_until(async {
            tokio::select! {
                biased;
                () = interrupt.abandoned() => {
                    tracing::warn!("left at once; what was begun is taken up at the next start");
                }
                _ = work => {}
                _ = beside => {}
            }
        })
        .await;
    drop(threads);
    if !interrupt.is_abandoned() {
        delivering.end(LAST_WORDS).await;
    }
    drop(in_background);
    home.state.close().await;
    match outdated.into_inner() {
        true => Err(JobError::new(
            ErrorClass::Prerequisite,
            "another version of this program has changed the tables of the state; start that version",
        )),
        false => Ok(()),
    }
}

/// Drains as soon as another version has changed the tables of the state: what we know of them may be wrong. Never ends.
async fn end_when_outdated(home: &Home, interrupt: &Interrupt, outdated: &AtomicBool) {
    loop {
        tokio::time::sleep(VERSION_LOOK).await;
        let is_current = home.state.database().is_current();
        if let Ok(Ok(false)) = tokio::time::timeout(VERSION_LOOK, is_current).await {
            tracing::error!(
                "another version of this program has changed the tables of the state; this one ends"
            );
            outdated.store(true, Ordering::Relaxed);
            interrupt.signal();
            return std::future::pending().await;
        }
    }
}

/// A task that ends with what it returns.
fn spawned(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

fn no_token(why: String) -> JobError {
    JobError::new(
        ErrorClass::Prerequisite,
        format!("daemon.token: {why}; without it the daemon would answer everybody"),
    )
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> JobError {
    JobError::new(
        ErrorClass::Prerequisite,
        format!(
            "the daemon cannot listen on {address}; free it, or set daemon.listen in runner.toml"
        ),
    )
    .with_source(error)
}

/// What the configuration of a new reading has that the daemon only takes at its start.
fn needs_a_restart(old: &Loaded, new: &Loaded) -> bool {
    old.runner != new.runner
}
