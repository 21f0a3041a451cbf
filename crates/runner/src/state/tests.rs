//! Tests of the state on real files.

mod journal;
mod memory;
mod provider;

use super::{State, StateError};

/// A state in a directory of its own, which goes when the second part is dropped.
async fn temporary() -> (State, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(&directory).await, directory)
}

/// The same state, as another process sees it.
async fn open(directory: &tempfile::TempDir) -> State {
    let path = directory.path().join("state.db");
    State::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_file_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/demand.db");
    let state = State::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    state.organization_cache().await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_new_state_is_opened_by_several_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let states = futures_util::future::join_all((0..8).map(|_| open(&directory))).await;
    assert!(!states[0].is_served().unwrap());
    let serving = [states[1].serve().unwrap(), states[2].serve().unwrap()];
    assert!(states[0].is_served().unwrap());
    drop(serving);
    assert!(!states[0].is_served().unwrap());
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_refused() {
    let (state, directory) = temporary().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'future', 1, x'00', 0)",
    )
    .execute(&state.pool)
    .await
    .unwrap();
    state.close().await;
    let path = directory.path().join("state.db");
    let error = State::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, StateError::Newer { version: 9999, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_a_state_is_refused() {
    assert!(matches!(
        State::open("postgres://db").await,
        Err(StateError::Url(_))
    ));
    assert!(matches!(
        State::open("sqlite://").await,
        Err(StateError::Url(_))
    ));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    std::fs::write(
        &path,
        "this is not a database, but long enough to look like one".repeat(20),
    )
    .unwrap();
    let error = State::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, StateError::Open { .. } | StateError::Migrate { .. }),
        "{error}"
    );
}
