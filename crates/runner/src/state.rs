//! What outlives a run: the journal of runs, and what one run remembers for the next.
//!
//! An SQLite file (WAL, synchronous=FULL, one connection, so one writer), made with mode 0600 when it is missing. Only one
//! process at a time runs a job; that is a lock on a file beside the state, which ends with the process, so that a run
//! whose process is gone is known to be dead. Queries are checked at run time and portable to PostgreSQL.

mod account_tags;
mod consumers;
mod deployed_units;
mod error;
mod intents;
mod job_lock;
mod journal;
mod organization_cache;
mod owners;
mod requests;
mod retry_clock;
mod runs;
mod steps;
#[cfg(test)]
mod tests;
mod tombstones;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use consumers::Serving;
pub use error::StateError;
pub use organization_cache::OrganizationCache;
pub use owners::SpotLinks;
pub use retry_clock::OperationResults;
pub use runs::{AccountAtEnd, RunDetail, RunRow};
pub use steps::{AttemptRow, StepRow};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a write waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pool: SqlitePool,
    path: PathBuf,
}

impl State {
    /// Opens the state at `sqlite://PATH`, makes it when it is missing, and brings its tables up to date. A relative path
    /// is relative to the working directory.
    ///
    /// # Errors
    /// When the URL is of another kind, the file cannot be made or opened, or a newer version of this program wrote it.
    pub async fn open(url: &str) -> Result<Self, StateError> {
        let path = url
            .strip_prefix("sqlite:")
            .map(|rest| rest.strip_prefix("//").unwrap_or(rest))
            .filter(|path| !path.is_empty())
            .ok_or_else(|| StateError::Url(url.to_owned()))?;
        let path = PathBuf::from(path);
        create_private(&path).map_err(|source| StateError::Create {
            path: path.clone(),
            source,
        })?;
        let open = |source| StateError::Open {
            path: path.clone(),
            source,
        };
        // One process at a time: the migrator itself takes no lock on SQLite, so a second one would fail half-way.
        let _alone = opening(&path).await.map_err(|source| StateError::Lock {
            path: path.clone(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(open)?;
        match MIGRATIONS.run(&pool).await {
            Ok(()) => Ok(Self { pool, path }),
            Err(MigrateError::VersionMissing(version)) => Err(StateError::Newer { path, version }),
            Err(source) => Err(StateError::Migrate { path, source }),
        }
    }

    /// Closes the file, so that nothing of it stays in the write-ahead log.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that may write from its start, so that it never has to be repeated because another one wrote first.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

/// Held while the state is opened.
async fn opening(state: &Path) -> std::io::Result<File> {
    let file = lock_file(state, "opening")?;
    tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?
}

/// A file beside the state that is locked for some purpose. The operating system ends its locks with the process.
fn lock_file(state: &Path, suffix: &str) -> std::io::Result<File> {
    let mut name = state.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(name)
}

/// Makes the file, readable by its owner only, unless it is there. SQLite gives its side files the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
}
