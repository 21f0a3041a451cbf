//! Advisory locks of PostgreSQL: each on a connection of its own, which a task looks after. The server ends them with the
//! connection.
//!
//! Each lock has a lease, which its connection renews, and which is taken away when the lock is given back. Who finds the lock free and
//! its lease good cannot tell whether its holder has died or has only lost its connection, and waits. A process that hangs or was paused
//! keeps its connections: a lock whose lease has run out may be taken from its holder ([`Advisory::expel`]). Its holder knows by its own
//! clock that it has nothing to say any more then ([`Advisory::is_lost`]).
//!
//! A lock whose connection breaks is taken again within its lease. After that another process may have it: what must happen once is
//! fenced as well (see `runs`).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use onboarding_provider::sql::{Database, PostgresUrl};
use parking_lot::Mutex;
use sqlx::{AnyPool, Connection as _, postgres::PgConnection};
use tokio::sync::oneshot;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::Server;

/// How long a lock is waited for: the server may not have noticed yet that its last holder has ended.
const PATIENCE: &str = "SET lock_timeout = '2s'";

/// The pause before a lock that was lost is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long it may take to give a lock back.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// For how long a lease is in force at most by whose looks at it: a database whose clock was set back must not keep it for as long.
const LONGEST: Duration = Duration::from_secs(60 * 60);

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

/// A lock that is held until this is dropped, and given back then.
#[derive(Debug)]
pub(super) struct Advisory {
    good_until: Arc<Mutex<Moment>>,
    /// Tells the keeper that it is given back, with what the state waits for when it is closed.
    ends: Option<oneshot::Sender<TaskTrackerToken>>,
    given_back: TaskTracker,
}

impl Drop for Advisory {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            // One that was lost is nobody's to give back.
            drop(ends.send(self.given_back.token()));
        }
    }
}

/// Whether a lock was this process's until a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// No: who had it may not know yet that its connection has ended.
    Anew,
    /// Yes, and its lease is good: nobody else has had it.
    Again,
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
        self.is_over_at(Instant::now(), SystemTime::now())
    }

    fn is_over_at(self, steady: Instant, wall: SystemTime) -> bool {
        steady >= self.steady || wall >= self.wall
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

impl Terms {
    fn of(server: &Server, name: &str, is_shared: bool) -> Self {
        Self {
            url: server.url.clone(),
            name: name.to_owned(),
            is_shared,
            lease: server.lease,
        }
    }
}

impl Advisory {
    /// Takes a lock that nobody else can have; none when somebody has it, or has lost it without giving it back and its lease is
    /// good.
    pub(super) async fn exclusive(
        server: &Server,
        name: &str,
        wait: Wait,
    ) -> Result<Option<Self>, sqlx::Error> {
        Self::take(server, Terms::of(server, name, false), wait).await
    }

    /// Takes a lock that others can have at the same time.
    pub(super) async fn shared(server: &Server, name: &str) -> Result<Self, sqlx::Error> {
        let taken = Self::take(server, Terms::of(server, name, true), Wait::AMoment);
        taken.await?.ok_or(sqlx::Error::PoolTimedOut)
    }

    async fn take(server: &Server, terms: Terms, wait: Wait) -> Result<Option<Self>, sqlx::Error> {
        let Some((session, moment)) = take(&terms, wait, Taken::Anew).await? else {
            return Ok(None);
        };
        let good_until = Arc::new(Mutex::new(moment));
        let (ends, ended) = oneshot::channel();
        tokio::spawn(keep(session, terms, Arc::clone(&good_until), ended));
        Ok(Some(Self {
            good_until,
            ends: Some(ends),
            given_back: server.given_back.clone(),
        }))
    }

    /// Whether the lease has run out, so that somebody else may have taken the lock.
    pub(super) fn is_lost(&self) -> bool {
        self.good_until.lock().is_over()
    }

    /// Whether the lease of a lock is good: whoever has it, or had it a moment ago, may go on.
    pub(super) async fn is_leased(pool: &AnyPool, name: &str) -> Result<bool, sqlx::Error> {
        // No lease is so long: the clock was set back.
        let leased = format!(
            "SELECT COUNT(*) FROM lock_leases WHERE name = $1 AND good_until > {NOW} AND good_until <= {NOW} + $2"
        );
        let leased: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(leased))
            .bind(name)
            .bind(milliseconds(LONGEST))
            .fetch_one(pool)
            .await?;
        Ok(leased > 0)
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

/// A connection that holds the lock, and until when; none when somebody else does, or may go on as if it did.
async fn take(
    terms: &Terms,
    wait: Wait,
    taken: Taken,
) -> Result<Option<(PgConnection, Moment)>, sqlx::Error> {
    let mut session = Database::session(&terms.url).await?;
    if !lock(&mut session, terms, wait).await? {
        return Ok(None);
    }
    if !terms.is_shared && taken == Taken::Anew && is_left(&mut session, terms).await? {
        return Ok(None);
    }
    let moment = renew(&mut session, terms).await?;
    Ok(Some((session, moment)))
}

/// Takes the lock, unless somebody has it.
async fn lock(session: &mut PgConnection, terms: &Terms, wait: Wait) -> Result<bool, sqlx::Error> {
    if wait == Wait::No && !terms.is_shared {
        let taken = sqlx::query_scalar(AT_ONCE).bind(&terms.name);
        return taken.fetch_one(session).await;
    }
    sqlx::raw_sql(PATIENCE).execute(&mut *session).await?;
    let sql = if terms.is_shared { SHARED } else { EXCLUSIVE };
    let taken = sqlx::query(sql).bind(&terms.name).execute(session).await;
    match taken {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_AVAILABLE) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether the lock was left without being given back, and its lease is good.
async fn is_left(session: &mut PgConnection, terms: &Terms) -> Result<bool, sqlx::Error> {
    let left = format!(
        "UPDATE lock_leases SET good_until = LEAST(good_until, {NOW} + $2) WHERE name = $1 AND good_until > {NOW}"
    );
    let left = sqlx::query(sqlx::AssertSqlSafe(left))
        .bind(&terms.name)
        .bind(milliseconds(terms.lease.max(LONGEST)))
        .execute(session)
        .await?;
    Ok(left.rows_affected() > 0)
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
        .bind(milliseconds(terms.lease))
        .execute(session)
        .await?;
    Ok(moment)
}

/// Renews the lease until the lock is given back, or lost for good.
async fn keep(
    session: PgConnection,
    terms: Terms,
    good_until: Arc<Mutex<Moment>>,
    mut ended: oneshot::Receiver<TaskTrackerToken>,
) {
    let mut session = Some(session);
    let given_back = tokio::select! {
        biased;
        given_back = &mut ended => given_back,
        () = hold(&mut session, &terms, &good_until) => return,
    };
    if let Some(session) = session {
        // Its lease runs out when that fails.
        drop(tokio::time::timeout(GIVING_BACK, give_back(session, &terms)).await);
    }
    drop(given_back);
}

/// Takes the lease away on the connection that holds the lock, so that nobody waits for it, and ends the connection. A lock that others
/// have as well keeps it.
async fn give_back(mut session: PgConnection, terms: &Terms) -> Result<(), sqlx::Error> {
    if !terms.is_shared {
        sqlx::query("DELETE FROM lock_leases WHERE name = $1")
            .bind(&terms.name)
            .execute(&mut session)
            .await?;
    }
    session.close().await
}

/// Renews the lease, and takes the lock again on another connection when it breaks. Not after the lease of a lock that nobody else
/// can have at the same time: somebody else may have had it then.
async fn hold(session: &mut Option<PgConnection>, terms: &Terms, good_until: &Mutex<Moment>) {
    let check = terms.lease / 3;
    loop {
        tokio::time::sleep(check).await;
        if let Some(session) = session.as_mut()
            && let Ok(Ok(moment)) = tokio::time::timeout(check, renew(session, terms)).await
        {
            *good_until.lock() = moment;
            continue;
        }
        tracing::warn!(
            lock = terms.name,
            "a lock in the state was lost with its connection"
        );
        // The server frees the lock when it sees the end of the connection.
        drop(session.take());
        loop {
            let taken = take(terms, Wait::AMoment, Taken::Again);
            let taken = tokio::time::timeout(check, taken).await;
            if !terms.is_shared && good_until.lock().is_over() {
                tracing::error!(
                    lock = terms.name,
                    "the lock was not had again within its lease; another process may have it"
                );
                return;
            }
            if let Ok(Ok(Some((again, moment)))) = taken {
                *good_until.lock() = moment;
                *session = Some(again);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_jumps_makes_no_lease_longer() {
        let (steady, wall) = (Instant::now(), SystemTime::now());
        let lease = Moment {
            steady: steady + LEASE,
            wall: wall + LEASE,
        };
        let a_moment = Duration::from_secs(1);
        assert!(!lease.is_over_at(steady + LEASE - a_moment, wall + LEASE - a_moment));
        // Set back meanwhile, and set ahead.
        assert!(lease.is_over_at(steady + LEASE, wall - HOUR));
        assert!(!lease.is_over_at(steady + a_moment, wall - HOUR));
        assert!(lease.is_over_at(steady + a_moment, wall + HOUR));
        // A machine that sleeps does not count.
        assert!(lease.is_over_at(steady, wall + LEASE));
    }
}
