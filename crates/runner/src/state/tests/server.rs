//! What only a server can do to us.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use onboarding_provider::sql::{Database, DatabaseError};
use sqlx::Executor as _;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};
use url::Url;

use super::{super::CONNECTIONS, Place, State, StateError};
use crate::engine::{Asked, Begun, Journal as _, JournalError, NewRun, RunId};

fn run() -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: "job".to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: None,
        at: 1_000,
        trace_id: None,
    }
}

/// The lease of locks: much longer than a process is kept from renewing it, however busy the machine is.
const LEASE: Duration = Duration::from_secs(30);

/// How long anything is waited for.
const LIMIT: Duration = Duration::from_secs(120);

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Begins a run in a process of its own, which is killed when this is dropped: nothing of it goes on, and nothing is given back.
fn begun_elsewhere(place: &Place) -> (Begun, tokio::runtime::Runtime) {
    let url = place.url();
    let process = std::thread::spawn(move || {
        let process = tokio::runtime::Runtime::new().unwrap();
        let begun = process.block_on(async {
            let state = State::open(&url).await.unwrap().with_lease(LEASE);
            state.begin_run(&run()).await.unwrap()
        });
        (begun, process)
    });
    process.join().unwrap()
}

fn is_refused(begun: &Result<Begun, JournalError>) -> bool {
    matches!(begun, Err(JournalError::AlreadyRunning { .. }))
}

/// Waits until a run of the job begins.
async fn begins(state: &State) -> Begun {
    let deadline = Instant::now() + LIMIT;
    loop {
        match state.begin_run(&run()).await {
            Err(JournalError::AlreadyRunning { .. }) => assert!(Instant::now() < deadline),
            begun => return begun.unwrap(),
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The sessions that have a lock.
async fn sessions(state: &State) -> Vec<i32> {
    let sessions = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let sessions = sqlx::query_scalar(sessions).fetch_all(state.pool()).await;
    sessions.unwrap()
}

/// Waits until the server has seen the end of these.
async fn sessions_end(state: &State, sessions: &[i32]) {
    let begun = Instant::now();
    for session in sessions {
        loop {
            let lives: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM pg_stat_activity WHERE pid = $1")
                    .bind(*session)
                    .fetch_one(state.pool())
                    .await
                    .unwrap();
            if lives == 0 {
                break;
            }
            assert!(begun.elapsed() < LIMIT);
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// Until when the lease of the job's lock is good, in Unix milliseconds by the server's clock.
async fn good_until(state: &State) -> i64 {
    let lease = sqlx::query_scalar("SELECT good_until FROM lock_leases WHERE name = 'job/job'");
    lease.fetch_one(state.pool()).await.unwrap()
}

#[tokio::test]
async fn the_run_of_a_process_that_died_is_taken_over_when_its_lease_is_over() {
    let Some(place) = Place::server().await else {
        return;
    };
    let (first, process) = begun_elsewhere(&place);
    let other = place.open().await.with_lease(LEASE);
    assert!(is_refused(&other.begin_run(&run()).await));
    process.shutdown_background();
    // Nobody can tell that it was killed, and has not lost its connection only.
    sessions_end(&other, &sessions(&other).await).await;
    assert!(is_refused(&other.begin_run(&run()).await));
    // Its lease is over.
    let over = "UPDATE lock_leases SET good_until = good_until - 3600000";
    other.pool().execute(over).await.unwrap();
    let second = begins(&other).await;
    assert_eq!(second.interrupted, [first.key.id]);
    let late = other.plan_run(first.key, &[], &second.memos).await;
    assert!(matches!(late, Err(JournalError::Fenced(_))));
    std::mem::forget(first);
}

#[tokio::test]
async fn a_connection_that_breaks_takes_no_job_from_a_process_that_lives() {
    let Some(place) = Place::server().await else {
        return;
    };
    let one = place.open().await.with_lease(LEASE);
    let other = place.open().await.with_lease(LEASE);
    let first = one.begin_run(&run()).await.unwrap();
    let cut = sessions(&one).await;
    let end = "SELECT COUNT(pg_terminate_backend(pid)::int) FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    one.pool().execute(end).await.unwrap();
    sessions_end(&other, &cut).await;
    // It has the lock again on another connection, and renews its lease there, before anybody else can have it.
    let (begun, lease) = (Instant::now(), good_until(&other).await);
    while good_until(&other).await <= lease {
        assert!(is_refused(&other.begin_run(&run()).await));
        assert!(begun.elapsed() < LIMIT);
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    assert!(is_refused(&other.begin_run(&run()).await));
    assert!(!first.hold.as_ref().unwrap().is_lost());
    one.plan_run(first.key, &[], &first.memos).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_given_back_is_waited_for_by_nobody() {
    let Some(place) = Place::server().await else {
        return;
    };
    // Whoever waited for it would wait for too long.
    let lease = 2 * LIMIT;
    let one = place.open().await.with_lease(lease);
    let other = place.open().await.with_lease(lease);
    let first = one.begin_run(&run()).await.unwrap();
    drop(first);
    // As when a process ends.
    one.close().await;
    let second = begins(&other).await;
    // And while it goes on.
    drop(second);
    begins(&other).await;
}

/// The name of a server's socket (PostgreSQL manual, unix_socket_directories).
const SOCKET: &str = ".s.PGSQL.5432";

/// What goes through a socket of this directory to the server stops without a word when that is asked for, as where packets are dropped.
/// What is connected later gets through.
fn relay(directory: &Path, to: PathBuf) -> watch::Sender<()> {
    let listener = UnixListener::bind(directory.join(SOCKET)).unwrap();
    let (silence, silenced) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let (to, mut silenced) = (to.clone(), silenced.clone());
            silenced.mark_unchanged();
            tokio::spawn(async move {
                let mut server = UnixStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut caller, &mut server) => {}
                    Ok(()) = silenced.changed() => std::future::pending().await,
                }
            });
        }
    });
    silence
}

#[tokio::test]
async fn who_looks_goes_on_when_the_server_vanishes_without_a_word() {
    let Some(place) = Place::server().await else {
        return;
    };
    let beside = place.open().await;
    let url: Url = place.url().parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The directory of a socket is a host, with its slashes escaped.
    let there = url.host_str().unwrap().to_owned();
    let here = directory.path().display().to_string().replace('/', "%2F");
    let silence = relay(
        directory.path(),
        Path::new(&there.replace("%2F", "/")).join(SOCKET),
    );
    let url = place.url().replacen(&there, &here, 1);
    let state = State::open(&url).await.unwrap();
    let state = state.with_lease(Duration::from_secs(5));
    // All connections have a statement under way.
    let under_way = (0..CONNECTIONS).map(|_| {
        state.in_time(async {
            let query = sqlx::query("SELECT pg_sleep(30)").execute(state.pool());
            query.await.map_err(StateError::query("sleeping"))
        })
    });
    let begun = Instant::now();
    let vanishes = async {
        let asked = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND query = 'SELECT pg_sleep(30)' AND state = 'active'";
        loop {
            let asleep: i64 = sqlx::query_scalar(asked)
                .fetch_one(beside.pool())
                .await
                .unwrap();
            if asleep == i64::from(CONNECTIONS) {
                return silence.send(()).unwrap();
            }
            assert!(begun.elapsed() < LIMIT, "{asleep}");
        }
    };
    let (looked, ()) = tokio::join!(futures_util::future::join_all(under_way), vanishes);
    for looked in looked {
        let why = crate::engine::JobError::from(looked.unwrap_err()).chain();
        assert!(why.contains("did not answer within 10 s"), "{why}");
    }
    // It is there again, at the same address.
    while let Err(error) = state.in_time(state.standings()).await {
        assert!(begun.elapsed() < LIMIT, "{error}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_says_what_to_look_at_and_shows_no_password() {
    let unknown = State::open("postgres://user:canary@127.0.0.1:1/state?pasword=canary").await;
    let refused = State::open("postgres://user:canary@127.0.0.1:1/state").await;
    let (unknown, refused) = (unknown.unwrap_err(), refused.unwrap_err());
    assert!(matches!(unknown, StateError::Address { .. }));
    assert!(matches!(refused, StateError::Database(_)));
    let job = |error: StateError| crate::engine::JobError::from(error);
    let shown = format!("{unknown} {unknown:?} {refused} {refused:?}");
    let shown = shown + &job(unknown).chain() + &job(refused).chain();
    assert!(
        shown.contains("pasword") && shown.contains("PGPASSWORD"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn only_a_state_of_its_own_version_is_used_without_bringing_it_up_to_date() {
    let Some(place) = Place::server().await else {
        return;
    };
    let url = place.url().parse().unwrap();
    // The first to open a state installs sqlx's drivers for the whole process, which other tests are in.
    State::open("").await.unwrap_err();
    let database = Database::postgres(&url, 1).await.unwrap();
    let empty = database.check(&url).await.unwrap_err();
    assert!(matches!(empty, DatabaseError::Empty { .. }), "{empty}");
    let state = place.open().await;
    database.check(&url).await.unwrap();
    let older = "DELETE FROM _sqlx_migrations WHERE version > 7";
    state.pool().execute(older).await.unwrap();
    let older = database.check(&url).await.unwrap_err();
    assert!(
        matches!(older, DatabaseError::Version { found: 7, .. }),
        "{older}"
    );
}
