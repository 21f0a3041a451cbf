//! Locks that processes on this state share, by name: held for a while by the database's clock, and then anybody's.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use spot_api::SharedLocks;

use super::{
    Database,
    clock::{Timed, timed},
};

/// Makes, takes over or prolongs a lock, unless somebody else holds it.
const TAKE: Timed = timed!(
    "INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, ",
    " + $3) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
     WHERE leases.holder = excluded.holder OR leases.held_until <= ",
    " RETURNING name",
);

/// How much longer a lock is held.
const LEFT: Timed = timed!("SELECT held_until - ", " FROM leases WHERE name = $1");

#[async_trait]
impl SharedLocks for Database {
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Duration>, Box<dyn Error + Send + Sync>> {
        let taken = sqlx::query(self.text(&TAKE))
            .bind(name)
            .bind(holder)
            .bind(i64::try_from(lease.as_millis())?)
            .fetch_optional(&self.pool)
            .await?;
        if taken.is_some() {
            return Ok(None);
        }
        let left: Option<i64> = sqlx::query_scalar(self.text(&LEFT))
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        // Given back between the two statements: it can be had at once.
        let left = left.and_then(|left| u64::try_from(left).ok());
        Ok(Some(Duration::from_millis(left.unwrap_or_default())))
    }

    async fn give_back(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
