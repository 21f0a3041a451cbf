//! Tests of the state: one suite on real files and on a real PostgreSQL.

mod events;
mod figures;
mod findings;
mod groups;
mod journal;
mod links;
mod memory;
mod mend_clocks;
mod notifications;
mod orphans;
mod plans;
mod provider;
mod prune;
mod requests;
mod rollouts;
mod server;
mod upgrades;
mod windows;

use std::time::{Duration, Instant};

use onboarding_provider::{Intents as _, sql};

use super::{MIGRATIONS, State, StateError};

/// Where a state is that is a test's own, and goes with it.
enum Place {
    File(tempfile::TempDir),
    Server(String),
}

impl Place {
    fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// None where PostgreSQL is not installed, which is said.
    async fn server() -> Option<Self> {
        let database = tokio::task::spawn_blocking(e2e::postgres::database);
        Some(Self::Server(database.await.unwrap().unwrap()?))
    }

    fn url(&self) -> String {
        match self {
            Self::File(directory) => {
                format!("sqlite://{}", directory.path().join("state.db").display())
            }
            Self::Server(url) => url.clone(),
        }
    }

    /// The state, as one more process sees it.
    async fn open(&self) -> State {
        State::open(&self.url()).await.unwrap()
    }
}

impl State {
    /// From now on, nothing that is to be told can be written down, as on a disk that is full.
    pub(crate) async fn refuse_notifications(&self) {
        let trigger = "CREATE TRIGGER refused BEFORE INSERT ON notifications BEGIN SELECT RAISE(ABORT, 'disk full'); END";
        sqlx::query(trigger).execute(self.pool()).await.unwrap();
    }

    /// From now on, no run of this job can be written down.
    pub(crate) async fn refuse_runs_of(&self, job: &str) {
        let trigger = format!(
            "CREATE TRIGGER refused_runs BEFORE INSERT ON runs WHEN NEW.job = '{job}' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        );
        let trigger = sqlx::query(sqlx::AssertSqlSafe(trigger));
        trigger.execute(self.pool()).await.unwrap();
    }

    /// They can again.
    pub(crate) async fn allow_runs(&self) {
        let trigger = "DROP TRIGGER refused_runs";
        sqlx::query(trigger).execute(self.pool()).await.unwrap();
    }

    /// It can again.
    pub(crate) async fn allow_notifications(&self) {
        let trigger = "DROP TRIGGER refused";
        sqlx::query(trigger).execute(self.pool()).await.unwrap();
    }
}

/// A database that does not answer what it is asked about one table: somebody else has that for as long as this lives.
pub(crate) struct Silent {
    pub(crate) state: State,
    limit: Duration,
    _other: sqlx::Transaction<'static, sqlx::Any>,
}

impl State {
    /// None where PostgreSQL is not installed, which is said.
    pub(crate) async fn silent(table: &str) -> Option<Silent> {
        let place = Place::server().await?;
        let state = place.open().await.with_lease(Duration::from_secs(1));
        let mut other = place.open().await.pool().begin().await.unwrap();
        let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        let lock = sqlx::raw_sql(sqlx::AssertSqlSafe(lock));
        lock.execute(&mut *other).await.unwrap();
        Some(Silent {
            state,
            limit: Duration::from_secs(20),
            _other: other,
        })
    }
}

impl Silent {
    /// What comes of work that asks it, which does not take for ever.
    pub(crate) async fn comes_back<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::time::timeout(self.limit, work)
            .await
            .expect("it hangs")
    }
}

/// Runs tests, which take a [`Place`], on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::state::tests::Place::file()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(place) = crate::state::tests::Place::server().await {
                        super::$test(place).await;
                    }
                }
            )*
        }
    };
}
use on_both;

on_both! {
    a_new_state_is_opened_by_several_at_once,
    a_state_of_a_newer_version_is_refused,
}

async fn a_new_state_is_opened_by_several_at_once(place: Place) {
    let states = futures_util::future::join_all((0..8).map(|_| place.open())).await;
    assert!(!states[0].is_served().await.unwrap());
    let serving = [
        states[1].serve().await.unwrap(),
        states[2].serve().await.unwrap(),
    ];
    assert!(states[0].is_served().await.unwrap());
    drop(serving);
    // A server notices it a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while states[0].is_served().await.unwrap() {
        assert!(Instant::now() < deadline, "nobody serves any more");
    }
}

async fn a_state_of_a_newer_version_is_refused(place: Place) {
    let state = place.open().await;
    assert!(state.database().is_current().await.unwrap());
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
    )
    .execute(state.pool())
    .await
    .unwrap();
    // Who had it open sees it, too.
    assert!(!state.database().is_current().await.unwrap());
    state.close().await;
    let error = State::open(&place.url()).await.unwrap_err();
    assert!(
        matches!(error, StateError::Newer { version: 9999, .. }),
        "{error}"
    );
}

/// As on a full disk.
#[tokio::test]
async fn a_state_is_written_to_after_sqlite_has_rolled_back_by_itself() {
    let place = Place::file();
    let state = place.open().await;
    sqlx::raw_sql("CREATE TABLE once (id INTEGER PRIMARY KEY); INSERT INTO once VALUES (1)")
        .execute(state.pool())
        .await
        .unwrap();
    let mut tx = state.write().await.unwrap();
    sqlx::query("INSERT OR ROLLBACK INTO once VALUES (1)")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    drop(tx);
    let mut tx = state.write().await.unwrap();
    sqlx::query("INSERT INTO once VALUES (2)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_file_is_made_for_its_owner_only_and_is_durable() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made on/demand%20?.db");
    let state = State::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    state.organization_cache().await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (pragma, wanted) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
        let value: i64 = sqlx::query_scalar(pragma)
            .fetch_one(state.pool())
            .await
            .unwrap();
        assert_eq!(value, wanted, "{pragma}");
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(state.pool())
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn what_is_not_a_state_is_refused() {
    for url in ["mysql://user:canary@db", "sqlite://", ""] {
        let error = State::open(url).await.unwrap_err();
        assert!(matches!(error, StateError::Url(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    let place = Place::file();
    let Place::File(directory) = &place else {
        unreachable!("it is a file")
    };
    std::fs::write(
        directory.path().join("state.db"),
        "this is not a database, but long enough to look like one".repeat(20),
    )
    .unwrap();
    let error = State::open(&place.url()).await.unwrap_err();
    assert!(matches!(error, StateError::Open { .. }), "{error}");
}

/// A state that a job has run on, closed, as the bytes of its file.
async fn used(place: &Place) -> (std::path::PathBuf, Vec<u8>) {
    let Place::File(directory) = place else {
        unreachable!("it is a file")
    };
    let state = place.open().await;
    drop(state.lock_job("sync").await.unwrap());
    state.close().await;
    let path = directory.path().join("state.db");
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_damaged() {
    let place = Place::file();
    let (path, bytes) = used(&place).await;
    // At pages, in the middle of one, and with rubbish in a page.
    let half = bytes.len() / 2;
    let mut rubbish = bytes.clone();
    rubbish[half..half + 4096].fill(7);
    for damaged in [
        &bytes[..half / 4096 * 4096],
        &bytes[..half + 100],
        &bytes[..4096],
        &rubbish[..],
    ] {
        std::fs::write(&path, damaged).unwrap();
        let error = State::open(&place.url()).await.unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, StateError::Damaged { .. } | StateError::Open { .. }),
            "{said}"
        );
        assert!(said.contains("move it away"), "{said}");
    }
    std::fs::write(&path, &bytes).unwrap();
    place.open().await.close().await;
}

#[tokio::test]
async fn an_empty_file_is_a_new_state_only_where_nothing_has_run() {
    let place = Place::file();
    let (path, bytes) = used(&place).await;
    std::fs::write(&path, "").unwrap();
    let error = State::open(&place.url()).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, StateError::Damaged { .. }), "{said}");
    assert!(
        said.contains("it is empty") && said.contains("last copy"),
        "{said}"
    );
    // Whoever takes it away begins anew, and nothing stands against the copy.
    std::fs::remove_file(&path).unwrap();
    place.open().await.close().await;
    std::fs::write(&path, &bytes).unwrap();
    place.open().await.close().await;
    // One that was only made has had no runs.
    let place = Place::file();
    let Place::File(directory) = &place else {
        unreachable!("it is a file")
    };
    std::fs::write(directory.path().join("state.db"), "").unwrap();
    place.open().await.close().await;
}

#[test]
fn the_provider_knows_the_newest_migration() {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    assert_eq!(newest, Some(sql::VERSION));
}
