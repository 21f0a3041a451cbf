//! What outlives a run: the journal of runs, and what one run remembers for the next.
//!
//! An SQLite file (WAL, synchronous=FULL, one connection, so one writer), made with mode 0600 when it is missing, or a
//! PostgreSQL database for several machines. One SQL text serves both; see `onboarding_provider::sql` for what keeps writers
//! apart. Only one process at a time runs a job; that is a lock that ends with the process, so that a run whose process is
//! gone, or hangs, is known to be dead. Queries are checked at run time.

mod account_tags;
mod advisory;
mod answered;
mod compact;
mod dead_runs;
mod deletions;
mod deployed_units;
mod error;
mod events;
mod figures;
mod findings;
mod intact;
mod job_ends;
mod journal;
mod links;
mod locks;
mod mend_clocks;
mod notifications;
mod organization_cache;
mod orphans;
mod patience;
mod plans;
mod prune;
mod requests;
mod retry_clock;
mod rollouts;
mod runs;
mod schedules;
mod sent_creations;
mod spot_links;
mod steps;
mod take_up;
#[cfg(test)]
mod tests;
mod tombstones;
mod unbegun;

use std::{
    fs::File,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use onboarding_provider::sql::{Backend, Database, PostgresUrl, redacted};
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{MigrateError, Migrator},
};
use tokio_util::task::TaskTracker;
use url::Url;

pub use deletions::DeletionRow;
pub use error::StateError;
pub use events::{EVENT, Pace, WakeUp};
pub use figures::{Figures, JobFigures, TargetFigures};
pub use job_ends::{JobEnds, Standings};
pub use locks::Serving;
pub use mend_clocks::MendFailure;
pub use notifications::{GivenUp, NextNotification, NotificationRow, TakenNotification};
pub use organization_cache::OrganizationCache;
pub use orphans::{SpotListing, accounts_of};
pub use plans::{ApprovalRow, PlanRow, StoredPlan};
pub use prune::Prunable;
pub use requests::{Awaited, Cancelled, NewRequest, Told};
pub use retry_clock::OperationResults;
pub use rollouts::{RolloutRow, VersionRow};
pub use runs::{AccountAtEnd, RunDetail, RunRow};
pub use schedules::Looked;
pub use spot_links::SpotLinks;
pub use steps::{AttemptRow, StepRow};
pub use take_up::{Taken, UnbegunEnd};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How an SQLite file is used. A write waits for another process's for 10 seconds. That free pages can be given back has to be said
/// before anything is written.
const PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA auto_vacuum = INCREMENTAL; \
                       PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                       PRAGMA foreign_keys = ON";

/// How long the connection to a file is waited for by those who share it.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long a lock in a database is good that nobody renews, unless the configuration says otherwise.
const LEASE: Duration = Duration::from_secs(30);

/// How long it may take to leave a server: one that does not answer is left all the same.
const LEAVING: Duration = Duration::from_secs(3);

/// Connections to a server, for everything but locks.
const CONNECTIONS: u32 = 8;

/// The state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    database: Database,
    place: Place,
}

/// Where it is.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Server(Server),
}

/// A database, and for how long locks in it are good that nobody renews.
#[derive(Debug, Clone)]
struct Server {
    url: PostgresUrl,
    lease: Duration,
    /// The locks that are being given back.
    given_back: TaskTracker,
}

impl State {
    /// Opens the state at `sqlite://PATH`, which is made when it is missing, or in the database at `postgres://…`, and
    /// brings its tables up to date. A relative path is relative to the working directory.
    ///
    /// # Errors
    /// When the URL is of another kind, the state cannot be made or opened, or a newer version of this program wrote it.
    pub async fn open(url: &str) -> Result<Self, StateError> {
        // Only the first installation counts, and in this program there is no other.
        let _ =
            sqlx::any::install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER]);
        if PostgresUrl::is_meant(url) {
            let url = url.parse().map_err(|source| StateError::Address {
                url: redacted(url),
                source,
            })?;
            return Self::open_server(url).await;
        }
        let path = url
            .strip_prefix("sqlite:")
            .map(|rest| rest.strip_prefix("//").unwrap_or(rest))
            .filter(|path| !path.is_empty())
            .ok_or_else(|| StateError::Url(redacted(url)))?;
        Self::open_file(path.into()).await
    }

    /// The same, with locks that are good for so long when nobody renews them, where it is a database.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        if let Place::Server(server) = &mut self.place {
            server.lease = lease;
        }
        self
    }

    async fn open_server(url: PostgresUrl) -> Result<Self, StateError> {
        let database = Database::postgres(&url, CONNECTIONS).await?;
        let state = Self {
            place: Place::Server(Server {
                url,
                lease: LEASE,
                given_back: TaskTracker::new(),
            }),
            database,
        };
        // The migrator lets one process at a time do it.
        state.migrate().await?;
        Ok(state)
    }

    async fn open_file(path: PathBuf) -> Result<Self, StateError> {
        let is_new = create_private(&path).map_err(|source| StateError::Create {
            path: path.clone(),
            source,
        })?;
        // Locks are on files beside it: by whatever path it is reached, they must be the same ones.
        let path = path.canonicalize().map_err(|source| StateError::Create {
            path: path.clone(),
            source,
        })?;
        // One process at a time: the migrator itself takes no lock on SQLite, so a second one would fail half-way.
        let _alone = opening(&path)
            .await
            .map_err(|source| StateError::lock(&path, source))?;
        if !is_new {
            intact::not_emptied(&path)?;
        }
        let open = |source| StateError::Open {
            path: path.clone(),
            source,
        };
        let options =
            AnyConnectOptions::from_str(&file_url(&path).map_err(&open)?).map_err(open)?;
        // Alone first: a pool would try a file that is no database again and again, until its patience ends.
        let mut first = AnyConnection::connect_with(&options).await.map_err(open)?;
        let set_up = sqlx::raw_sql(PRAGMAS).execute(&mut first).await;
        let looked = match set_up {
            Ok(_) => intact::look_through(&path, &mut first).await,
            Err(error) => Err(open(error)),
        };
        // Whatever was found, nothing of the file stays open.
        let closed = first.close().await.map_err(open);
        looked.and(closed)?;
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async {
                    sqlx::raw_sql(PRAGMAS).execute(connection).await?;
                    Ok(())
                })
            })
            // A full disk makes SQLite roll back by itself, which sqlx does not count: its connection would begin no transaction
            // ever again. The ping lets a rollback that is under way end.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options)
            .await
            .map_err(open)?;
        let state = Self {
            database: Database::new(pool, Backend::Sqlite),
            place: Place::File(path),
        };
        state.migrate().await?;
        Ok(state)
    }

    async fn migrate(&self) -> Result<(), StateError> {
        let place = || match &self.place {
            Place::File(path) => format!("file {}", path.display()),
            Place::Server(server) => format!("database {}", server.url),
        };
        match MIGRATIONS.run(self.pool()).await {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(version)) => Err(StateError::Newer {
                place: place(),
                version,
            }),
            Err(source) => Err(StateError::Migrate {
                place: place(),
                source,
            }),
        }
    }

    /// What the enrollment provider and the Spot client keep in it.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether several machines may have it: it is a database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// What time it is, in Unix milliseconds: by the clock of the database where several machines have one, for theirs differ.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn now(&self) -> Result<i64, StateError> {
        match self.place {
            Place::File(_) => Ok(jiff::Timestamp::now().as_millisecond()),
            Place::Server(_) => sqlx::query_scalar(
                "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
            )
            .fetch_one(self.pool())
            .await
            .map_err(StateError::query("asking for the time")),
        }
    }

    /// Closes it, so that nothing of a file stays in the write-ahead log, and nobody waits for locks in a database that were given back.
    pub async fn close(&self) {
        let Place::Server(server) = &self.place else {
            return self.pool().close().await;
        };
        let left = async {
            server.given_back.close();
            server.given_back.wait().await;
            self.pool().close().await;
        };
        if tokio::time::timeout(LEAVING, left).await.is_err() {
            tracing::warn!("the database does not answer; it is left with what is under way");
        }
    }

    fn pool(&self) -> &AnyPool {
        self.database.pool()
    }

    /// A transaction that writes, see [`Database::write`].
    async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        self.database.write().await
    }
}

/// The URL of a file for sqlx, with everything escaped that could mean something else.
fn file_url(path: &Path) -> Result<String, sqlx::Error> {
    let url = Url::from_file_path(std::path::absolute(path)?)
        .map_err(|()| sqlx::Error::Configuration("the path is not absolute".into()))?;
    Ok(format!("sqlite://{}?mode=rw", url.path()))
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
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name);
    match opened {
        // Another user's, who was the first to need it. A lock needs no writing.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => File::open(name),
        opened => opened,
    }
}

/// Makes the file, readable by its owner only, unless it is there. SQLite gives its side files the same mode. Gives whether it was made.
fn create_private(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent)?;
    }
    let options = |is_new| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(is_new).mode(0o600);
        options
    };
    match options(true).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            // A link to a file that is not there yet is there itself.
            let opened = options(false).create(true).open(path);
            opened.map(|_| false)
        }
        Err(error) => Err(error),
    }
}
