//! Advisory locks of PostgreSQL: each on a connection of its own, which a task looks after. The server ends them with the
//! connection, so that what a process held that died is free at once.
//!
//! A process that hangs or was paused keeps its connections. Therefore each lock has a lease, which its connection renews; one
//! that has run out may be taken from its holder ([`Advisory::expel`]), who knows by its own clock that it has nothing to say any
//! more ([`Advisory::is_lost`]).
//!
//! A lock whose connection breaks is taken again. Meanwhile another process may have had it, and may keep it: what must
//! happen once is therefore fenced as well (see `runs`).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use onboarding_provider::sql::{Database, PostgresUrl};
use parking_lot::Mutex;
use sqlx::{AnyPool, postgres::PgConnection};
use tokio_util::task::AbortOnDropHandle;

/// How long a lock is waited for: the server may not have noticed yet that its last holder has ended.
const PATIENCE: &str = "SET lock_timeout = '2s'";

/// The pause before a lock that was lost is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What PostgreSQL says when the lock was not to be had in time (lock_not_available, appendix A of its manual).
const NOT_AVAILABLE: &str = "55P03";

// Locks are of a whole database; ours are of the schema that the state is in.
const EXCLUSIVE: &str =
    "SELECT pg_advisory_lock(hashtextextended(current_schema() || '/' || $1, 0))";
const AT_ONCE: &str =
    "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/' || $1, 0))";
const SHARED: &str =
    "SELECT pg_advisory_lock_shared(hashtextextended(current_schema() || '/' || $1, 0))";
const HOLDERS: &str = "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(current_schema() || '/' || $1, 0)";
/// By the database's clock: those of machines differ.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Whether a lock that somebody has is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all.
    No,
    /// For two seconds: its last holder may have ended, which the server has not noticed yet.
    AMoment,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Advisory {
    good_until: Arc<Mutex<Moment>>,
    _keeper: AbortOnDropHandle<()>,
}

/// A moment by two clocks: one that nobody sets stands still where a machine sleeps, the other can be set back.
#[derive(Debug, Clone, Copy)]
struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    fn in_a(while_: Duration) -> Self {
        Self {
            steady: Instant::now() + while_,
            wall: SystemTime::now() + while_,
        }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.steady || SystemTime::now() >= self.wall
    }
}

/// What a lock is.
#[derive(Debug, Clone)]
struct Terms {
    url: PostgresUrl,
    name: String,
    is_shared: bool,
    lease: Duration,
}

impl Advisory {
    /// Takes a lock that nobody else can have; none when somebody has it.
    pub(super) async fn exclusive(
        url: &PostgresUrl,
        name: &str,
        lease: Duration,
        wait: Wait,
    ) -> Result<Option<Self>, sqlx::Error> {
        let terms = Terms {
            url: url.clone(),
            name: name.to_owned(),
            is_shared: false,
            lease,
        };
        Self::take(terms, wait).await
    }

    /// Takes a lock that others can have at the same time.
    pub(super) async fn shared(
        url: &PostgresUrl,
        name: &str,
        lease: Duration,
    ) -> Result<Self, sqlx::Error> {
        let terms = Terms {
            url: url.clone(),
            name: name.to_owned(),
            is_shared: true,
            lease,
        };
        let taken = Self::take(terms, Wait::AMoment);
        taken.await?.ok_or(sqlx::Error::PoolTimedOut)
    }

    async fn take(terms: Terms, wait: Wait) -> Result<Option<Self>, sqlx::Error> {
        let Some((session, moment)) = take(&terms, wait).await? else {
            return Ok(None);
        };
        let good_until = Arc::new(Mutex::new(moment));
        let keeper = keep(session, terms, Arc::clone(&good_until));
        Ok(Some(Self {
            good_until,
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)),
        }))
    }

    /// Whether the lease has run out, so that somebody else may have taken the lock.
    pub(super) fn is_lost(&self) -> bool {
        self.good_until.lock().is_over()
    }

    /// Whether anybody has a lock whose lease is good.
    pub(super) async fn is_held(pool: &AnyPool, name: &str) -> Result<bool, sqlx::Error> {
        let held = format!(
            "SELECT COUNT(*) {HOLDERS} AND EXISTS (SELECT 1 FROM lock_leases WHERE name = $1 AND good_until > {NOW})"
        );
        let held: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(held))
            .bind(name)
            .fetch_one(pool)
            .await?;
        Ok(held > 0)
    }

    /// Ends the connection of whoever has a lock whose lease has run out. Gives whether there was one.
    pub(super) async fn expel(pool: &AnyPool, name: &str) -> Result<bool, sqlx::Error> {
        let expel = format!(
            "SELECT COUNT(pg_terminate_backend(pid)::int) {HOLDERS} \
             AND EXISTS (SELECT 1 FROM lock_leases WHERE name = $1 AND good_until <= {NOW})"
        );
        let ended: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(expel))
            .bind(name)
            .fetch_one(pool)
            .await?;
        Ok(ended > 0)
    }
}

/// A connection that holds the lock, and until when; none when somebody else does.
async fn take(terms: &Terms, wait: Wait) -> Result<Option<(PgConnection, Moment)>, sqlx::Error> {
    let mut session = Database::session(&terms.url).await?;
    if wait == Wait::No && !terms.is_shared {
        let taken = sqlx::query_scalar(AT_ONCE).bind(&terms.name);
        let is_taken: bool = taken.fetch_one(&mut session).await?;
        if !is_taken {
            return Ok(None);
        }
        let moment = renew(&mut session, terms).await?;
        return Ok(Some((session, moment)));
    }
    sqlx::raw_sql(PATIENCE).execute(&mut session).await?;
    let sql = if terms.is_shared { SHARED } else { EXCLUSIVE };
    let taken = sqlx::query(sql)
        .bind(&terms.name)
        .execute(&mut session)
        .await;
    match taken {
        Ok(_) => {
            let moment = renew(&mut session, terms).await?;
            Ok(Some((session, moment)))
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_AVAILABLE) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Renews the lease on the connection that holds the lock, which is there then. Gives until when, counted from before.
async fn renew(session: &mut PgConnection, terms: &Terms) -> Result<Moment, sqlx::Error> {
    let moment = Moment::in_a(terms.lease);
    let renew = format!(
        "INSERT INTO lock_leases (name, good_until) VALUES ($1, {NOW} + $2) \
         ON CONFLICT (name) DO UPDATE SET good_until = excluded.good_until"
    );
    sqlx::query(sqlx::AssertSqlSafe(renew))
        .bind(&terms.name)
        .bind(i64::try_from(terms.lease.as_millis()).unwrap_or(i64::MAX))
        .execute(session)
        .await?;
    Ok(moment)
}

/// Renews the lease, and takes the lock again on another connection when it breaks. Not after the lease of a lock that nobody else
/// can have at the same time: somebody else may have had it then.
async fn keep(mut session: PgConnection, terms: Terms, good_until: Arc<Mutex<Moment>>) {
    let check = terms.lease / 3;
    loop {
        tokio::time::sleep(check).await;
        if let Ok(Ok(moment)) = tokio::time::timeout(check, renew(&mut session, &terms)).await {
            *good_until.lock() = moment;
            continue;
        }
        tracing::warn!(
            lock = terms.name,
            "a lock in the state was lost with its connection"
        );
        // The server frees the lock when it sees the end of the connection.
        drop(session);
        session = loop {
            let taken = tokio::time::timeout(check, take(&terms, Wait::AMoment)).await;
            if !terms.is_shared && good_until.lock().is_over() {
                tracing::error!(
                    lock = terms.name,
                    "the lock was not had again within its lease; another process may have it"
                );
                return;
            }
            if let Ok(Ok(Some((session, moment)))) = taken {
                *good_until.lock() = moment;
                break session;
            }
            tokio::time::sleep(PAUSE).await;
        };
    }
}
