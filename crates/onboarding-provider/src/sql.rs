//! The provider's state in a database: SQLite for one machine, PostgreSQL for several. Whoever opens it brings its tables up
//! to date first; this only uses them.
//!
//! One SQL text serves both, through sqlx's `Any`. What SQLite does by having one writer, PostgreSQL does by rows: every
//! change that depends on what a row has begins with a statement that locks this row, and so does a row that is not there
//! yet, by an upsert that changes nothing.

mod answers;
mod clock;
mod freezes;
mod intents;
mod leases;
mod links;
mod owners;
mod postgres;
mod tombstones;
mod unsettled;
mod windows;

use std::{
    str::FromStr as _,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use sqlx::{
    Any, AnyPool, Connection as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::PgConnection,
};

pub use postgres::{PostgresUrl, PostgresUrlError, redacted};
pub use unsettled::UnsettledCreation;

use crate::intents::IntentsError;

/// The newest migration that this code was written for.
pub const VERSION: i64 = 30;

/// How long a connection is waited for, and a row that another transaction has locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that nobody uses any more may take to answer.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Said on every connection to PostgreSQL. A process whose machine is gone lets go of its locks within a minute.
const SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'; \
                       SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be connected to.
    #[error(
        "the database {place} cannot be connected to; look at its address, at user and password (PGPASSWORD or ~/.pgpass \
         can have it), and at sslmode and sslrootcert"
    )]
    Connect {
        /// Its URL without the password.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Nobody has made the tables.
    #[error(
        "the database {place} has no state yet, or none that this user may read; `runner runs list` with this [state] url makes it"
    )]
    Empty {
        /// Its URL without the password.
        place: String,
    },
    /// Another version of the program made the tables.
    #[error(
        "the state in {place} is of migration {found} and this program of {VERSION}; let both be of one version (the runner \
         brings the state up to date)"
    )]
    Version {
        /// Its URL without the password.
        place: String,
        /// What it has.
        found: i64,
    },
}

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    backend: Backend,
    /// When old answers were forgotten last, in Unix milliseconds.
    pruned: Arc<AtomicI64>,
}

impl Database {
    /// Over connections that were set up elsewhere.
    #[must_use]
    pub fn new(pool: AnyPool, backend: Backend) -> Self {
        Self {
            pool,
            backend,
            pruned: Arc::default(),
        }
    }

    /// Connects to PostgreSQL with up to so many connections.
    ///
    /// # Errors
    /// [`DatabaseError::Connect`] when it cannot be reached or refuses us.
    pub async fn postgres(url: &PostgresUrl, connections: u32) -> Result<Self, DatabaseError> {
        // Fails when drivers are installed already: whoever did that wanted more of them.
        let _ = sqlx::any::install_drivers(&[sqlx::postgres::any::DRIVER]);
        let connect = |source| DatabaseError::Connect {
            place: url.to_string(),
            source,
        };
        let options = AnyConnectOptions::from_str(url.expose()).map_err(connect)?;
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .after_connect(|connection, _| {
                Box::pin(async {
                    sqlx::raw_sql(SESSION).execute(connection).await?;
                    Ok(())
                })
            })
            // One that somebody gave up waiting for may be without a server: it must not keep its place until TCP notices.
            .after_release(|connection, _| {
                Box::pin(async move {
                    let answered = tokio::time::timeout(LAST_ANSWER, connection.ping()).await;
                    answered.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                    Ok(true)
                })
            })
            .connect_with(options)
            .await
            .map_err(connect)?;
        Ok(Self::new(pool, Backend::Postgres))
    }

    /// One connection of its own, for locks that end with it.
    ///
    /// # Errors
    /// It cannot be reached or refuses us.
    pub async fn session(url: &PostgresUrl) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect(url.expose()).await?;
        sqlx::raw_sql(SESSION).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Checks that the tables are those that this code knows.
    ///
    /// # Errors
    /// [`DatabaseError::Empty`], [`DatabaseError::Version`], or [`DatabaseError::Connect`] when they cannot be looked at.
    pub async fn check(&self, url: &PostgresUrl) -> Result<(), DatabaseError> {
        let place = || url.to_string();
        let connect = |source| DatabaseError::Connect {
            place: place(),
            source,
        };
        let tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(connect)?;
        if tables == 0 {
            return Err(DatabaseError::Empty { place: place() });
        }
        match self.version().await.map_err(connect)? {
            None => Err(DatabaseError::Empty { place: place() }),
            Some(VERSION) => Ok(()),
            Some(found) => Err(DatabaseError::Version {
                place: place(),
                found,
            }),
        }
    }

    /// The newest migration that its tables have had.
    async fn version(&self) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&self.pool)
            .await
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Which database it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// A transaction that writes. On SQLite it may from its start, so that it never has to be repeated because another one
    /// wrote first.
    ///
    /// # Errors
    /// The database cannot be used, or is busy for too long.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.backend {
            Backend::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Backend::Postgres => self.pool.begin().await,
        }
    }
}

/// For `map_err` on whatever the store says.
fn store<E>(error: E) -> IntentsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    IntentsError::Store(error.into())
}
