//! Forgetting runs that ended long ago, with their steps, attempts and plans, a few at a time so that nobody waits for it.
//!
//! What is kept of them, however old: the last run of each job and its last one that was done (or only looked, as its job says), what
//! `runs undo` can still make again, plans that somebody can still approve or that are being applied, memos that a later run takes up,
//! and what was taken out of accounts, which can be put back with nothing else.

use std::time::Duration;

use sqlx::{Any, Row as _, any::AnyArguments, query::Query};

use super::{State, StateError};

/// How long one of these statements may take: nobody waits for it, and it may have much to delete.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs that are forgotten in one transaction: each may have tens of thousands of steps.
const BATCH: i64 = 10;

/// Ticks that were skipped, which have no steps.
const BATCH_OF_SKIPPED: i64 = 1_000;

/// Nothing of what stays is among them, so they need not be looked for in all that.
const SKIPPED: &str = "DELETE FROM runs WHERE id IN \
                       (SELECT id FROM runs WHERE state = 'skipped' AND ended_at < $1 ORDER BY ended_at LIMIT $2)";

/// What has been forgotten, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Prunable {
    /// Runs.
    pub runs: u64,
    /// Notifications that got through or were given up.
    pub notifications: u64,
    /// Links that ended, of stacks that are gone.
    pub links: u64,
    /// Retry clocks that nobody has asked for since they were due.
    pub clocks: u64,
}

/// A statement about the runs that may go: they ended before `$1`, and it is `$2`, both in Unix milliseconds.
macro_rules! of_old_runs {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM runs WHERE ended_at < $1 AND state NOT IN ('queued', 'running') \
             AND id NOT IN (SELECT MAX(id) FROM runs WHERE (dry_run = 0 OR due_at IS NOT NULL) \
             AND state NOT IN ('queued', 'skipped') GROUP BY job) \
             AND id NOT IN (SELECT MAX(id) FROM runs WHERE (dry_run = 0 OR due_at IS NOT NULL) \
             AND state IN ('done', 'planned') GROUP BY job) \
             AND NOT EXISTS (SELECT 1 FROM deletions WHERE deletions.run_id = runs.id AND deletions.undone_at IS NULL) \
             AND NOT EXISTS (SELECT 1 FROM plans WHERE plans.run_id = runs.id AND plans.state IN ('waiting', 'approved') \
             AND plans.expires_at > $2) \
             AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.run_id = runs.id AND ((steps.memo <> 'null' \
             AND steps.state NOT IN ('changed', 'unchanged')) OR (steps.action = 'remove-stray-policies' \
             AND steps.state <> 'unchanged')))",
            $tail
        )
    };
}

const NOTIFICATIONS: &str = "FROM notifications WHERE state <> 'waiting' AND ended_at < $1";
const LINKS: &str = "FROM links WHERE ended_at < $1 AND stack_gone = 1";
const CLOCKS: &str = "FROM mend_retry WHERE next_due < $1 AND failures < $2";

impl State {
    /// What would be forgotten of what ended before a moment, now; both in Unix milliseconds. A clock with so many failures as
    /// `quarantine_after` waits for a person, and stays.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn prunable(
        &self,
        before: i64,
        quarantine_after: u32,
        now: i64,
    ) -> Result<Prunable, StateError> {
        let failed = StateError::query("looking for what can be forgotten");
        let count = |row: sqlx::any::AnyRow| {
            let count: i64 = row.try_get(0).map_err(&failed)?;
            Ok::<u64, StateError>(u64::try_from(count).unwrap_or_default())
        };
        let runs = sqlx::query(of_old_runs!("SELECT COUNT(*)", ""))
            .bind(before)
            .bind(now)
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        let of = |what: &str| sqlx::AssertSqlSafe(format!("SELECT COUNT(*) {what}"));
        let notifications = sqlx::query(of(NOTIFICATIONS))
            .bind(before)
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        let links = sqlx::query(of(LINKS))
            .bind(before)
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        let clocks = sqlx::query(of(CLOCKS))
            .bind(before.div_euclid(1000))
            .bind(i64::from(quarantine_after))
            .fetch_one(self.pool())
            .await
            .map_err(&failed)?;
        Ok(Prunable {
            runs: count(runs)?,
            notifications: count(notifications)?,
            links: count(links)?,
            clocks: count(clocks)?,
        })
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the state cannot be written. What was forgotten before stays forgotten.
    pub async fn prune(
        &self,
        before: i64,
        quarantine_after: u32,
        now: i64,
    ) -> Result<Prunable, StateError> {
        let mut pruned = Prunable::default();
        loop {
            let skipped = sqlx::query(SKIPPED).bind(before).bind(BATCH_OF_SKIPPED);
            let gone = self.forget(skipped).await?;
            if gone == 0 {
                break;
            }
            pruned.runs += gone;
        }
        loop {
            let runs = sqlx::query(of_old_runs!(
                "DELETE FROM runs WHERE id IN (SELECT id",
                " ORDER BY ended_at LIMIT $3)"
            ))
            .bind(before)
            .bind(now)
            .bind(BATCH);
            let gone = self.forget(runs).await?;
            if gone == 0 {
                break;
            }
            pruned.runs += gone;
        }
        let of = |what: &str| sqlx::AssertSqlSafe(format!("DELETE {what}"));
        let notifications = sqlx::query(of(NOTIFICATIONS)).bind(before);
        pruned.notifications = self.forget(notifications).await?;
        let links = sqlx::query(of(LINKS)).bind(before);
        pruned.links = self.forget(links).await?;
        let clocks = sqlx::query(of(CLOCKS))
            .bind(before.div_euclid(1000))
            .bind(i64::from(quarantine_after));
        pruned.clocks = self.forget(clocks).await?;
        Ok(pruned)
    }

    /// How many rows a statement has deleted.
    async fn forget(&self, statement: Query<'_, Any, AnyArguments>) -> Result<u64, StateError> {
        let gone = async {
            let gone = statement.execute(self.pool()).await;
            gone.map_err(StateError::query("forgetting old runs"))
        };
        Ok(self.within(PATIENCE, gone).await?.rows_affected())
    }
}
