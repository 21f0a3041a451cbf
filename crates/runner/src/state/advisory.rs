//! Advisory locks of PostgreSQL: each on a connection of its own, which a task looks after. The server ends them with the
//! connection.
//!
//! A lock whose connection breaks is taken again. Meanwhile another process may have had it, and may keep it: what must
//! happen once is therefore fenced as well (see `runs`).

use std::time::Duration;

use onboarding_provider::sql::{Database, PostgresUrl};
use sqlx::{AnyPool, Connection as _, postgres::PgConnection};
use tokio_util::task::AbortOnDropHandle;

/// How long a lock is waited for: the server may not have noticed yet that its last holder has ended.
const PATIENCE: &str = "SET lock_timeout = '2s'";

/// How often a connection is looked at.
const CHECK: Duration = Duration::from_secs(15);

/// What PostgreSQL says when the lock was not to be had in time (lock_not_available, appendix A of its manual).
const NOT_AVAILABLE: &str = "55P03";

// Locks are of a whole database; ours are of the schema that the state is in.
const EXCLUSIVE: &str =
    "SELECT pg_advisory_lock(hashtextextended(current_schema() || '/' || $1, 0))";
const SHARED: &str =
    "SELECT pg_advisory_lock_shared(hashtextextended(current_schema() || '/' || $1, 0))";
const HELD: &str = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(current_schema() || '/' || $1, 0)";

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Advisory {
    _keeper: AbortOnDropHandle<()>,
}

impl Advisory {
    /// Takes a lock that nobody else can have; none when somebody has it.
    pub(super) async fn exclusive(
        url: &PostgresUrl,
        name: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let session = take(url, EXCLUSIVE, name).await?;
        Ok(session.map(|session| Self::kept(session, url, EXCLUSIVE, name)))
    }

    /// Takes a lock that others can have at the same time.
    pub(super) async fn shared(url: &PostgresUrl, name: &str) -> Result<Self, sqlx::Error> {
        let session = take(url, SHARED, name).await?;
        let session = session.ok_or(sqlx::Error::PoolTimedOut)?;
        Ok(Self::kept(session, url, SHARED, name))
    }

    /// Whether anybody has a lock.
    pub(super) async fn is_held(pool: &AnyPool, name: &str) -> Result<bool, sqlx::Error> {
        let held: i64 = sqlx::query_scalar(HELD).bind(name).fetch_one(pool).await?;
        Ok(held > 0)
    }

    fn kept(session: PgConnection, url: &PostgresUrl, sql: &'static str, name: &str) -> Self {
        let keeper = keep(session, url.clone(), sql, name.to_owned());
        Self {
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)),
        }
    }
}

/// A connection that holds the lock; none when somebody else does.
async fn take(
    url: &PostgresUrl,
    sql: &'static str,
    name: &str,
) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut session = Database::session(url).await?;
    sqlx::raw_sql(PATIENCE).execute(&mut session).await?;
    match sqlx::query(sql).bind(name).execute(&mut session).await {
        Ok(_) => Ok(Some(session)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_AVAILABLE) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Looks after a connection, and takes the lock again on another one when it breaks, unless somebody else was faster.
async fn keep(mut session: PgConnection, url: PostgresUrl, sql: &'static str, name: String) {
    loop {
        tokio::time::sleep(CHECK).await;
        if let Ok(Ok(())) = tokio::time::timeout(CHECK, session.ping()).await {
            continue;
        }
        tracing::warn!(
            lock = name,
            "a lock in the state was lost with its connection"
        );
        session = loop {
            match take(&url, sql, &name).await {
                Ok(Some(session)) => break session,
                Ok(None) => {
                    tracing::error!(lock = name, "another process has taken the lock");
                    return;
                }
                Err(_) => tokio::time::sleep(CHECK).await,
            }
        };
    }
}
