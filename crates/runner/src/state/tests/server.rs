//! What only a server can do to us.

use onboarding_provider::sql::{Database, DatabaseError};
use sqlx::Executor as _;

use super::{Place, State, StateError};
use crate::engine::{Asked, Journal as _, JournalError, NewRun, RunId};

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

#[tokio::test]
async fn a_run_whose_lock_was_lost_with_its_connection_can_no_longer_write() {
    let Some(place) = Place::server().await else {
        return;
    };
    let (one, other) = (place.open().await, place.open().await);
    let first = one.begin_run(&run()).await.unwrap();
    let refused = other.begin_run(&run()).await;
    assert!(matches!(refused, Err(JournalError::AlreadyRunning { .. })));
    let cut = "SELECT COUNT(pg_terminate_backend(pid)::int) FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    one.pool().execute(cut).await.unwrap();
    let second = other.begin_run(&run()).await.unwrap();
    assert_eq!(second.interrupted, [first.key.id]);
    let late = one.plan_run(first.key, &[], &second.memos).await;
    assert!(matches!(late, Err(JournalError::Fenced(_))));
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
