//! Taking what is to be told, and what became of it.
//!
//! A target has a row, which is locked before anything of it is counted or put off: several processes send to one target, and together not
//! more often than it may be asked, and not while it fails.

use onboarding_core::notify::{Notice, next_slot};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{HELD, LATEST, READING, SKEW, State, StateError, WRITING};

/// The hour that a target's limit is for, in milliseconds.
const HOUR: i64 = 60 * 60 * 1_000;

/// What there is to send to a target.
#[derive(Debug, Clone, PartialEq)]
pub enum NextNotification {
    /// Nothing now.
    None,
    /// Nothing before its hour is over: it was asked as often as it may be.
    Enough,
    /// This one.
    One(Box<TakenNotification>),
}

/// A notification that is to be sent: it is held for whoever took it.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenNotification {
    /// What the receiver knows it by, however often it is sent.
    pub id: String,
    /// The target.
    pub target: String,
    /// What is told, or why this version of the program cannot read it.
    pub notice: Result<Notice, String>,
    /// How often it happened.
    pub occurrences: u64,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// How many attempts in a row failed by the target before.
    pub failures: u32,
}

/// What is due at `$1` and held by nobody, and put off by no clock that was set back.
macro_rules! due {
    () => {
        "state = 'waiting' AND (due_at <= $1 OR due_at > $1 + $2) \
         AND (held_until IS NULL OR held_until <= $1 OR held_until > $1 + $3)"
    };
}

impl State {
    /// The targets that have something due at a moment in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn targets_due(&self, now: i64) -> Result<Vec<String>, StateError> {
        sqlx::query_scalar(concat!(
            "SELECT DISTINCT target FROM notifications LEFT JOIN notification_targets ON name = target WHERE ",
            due!(),
            " AND (not_before IS NULL OR not_before <= $1 OR not_before > $1 + $2) ORDER BY target"
        ))
        .bind(now)
        .bind(LATEST)
        .bind(HELD)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query(READING))
    }

    /// Takes the notification of a target that is to be sent next: nobody else takes it until `held_until`. One that was tried less often
    /// goes first. At most so many are taken within an hour, whatever becomes of them.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn take_notification(
        &self,
        target: &str,
        per_hour: u32,
        now: i64,
        held_until: i64,
    ) -> Result<NextNotification, StateError> {
        let failed = StateError::query(WRITING);
        let mut tx = self.write().await.map_err(&failed)?;
        let (not_before, failures) = lock_target(&mut tx, target).await.map_err(&failed)?;
        if not_before > now && not_before <= now.saturating_add(LATEST) {
            tx.rollback().await.map_err(failed)?;
            return Ok(NextNotification::None);
        }
        let next: Option<String> = sqlx::query_scalar(concat!(
            "SELECT id FROM notifications WHERE target = $4 AND ",
            due!(),
            " ORDER BY attempts, due_at, id LIMIT 1"
        ))
        .bind(now)
        .bind(LATEST)
        .bind(HELD)
        .bind(target)
        .fetch_optional(&mut *tx)
        .await
        .map_err(&failed)?;
        let Some(next) = next else {
            tx.rollback().await.map_err(failed)?;
            return Ok(NextNotification::None);
        };
        let tried = tried(&mut tx, target, now).await.map_err(&failed)?;
        if let Some(slot) = next_slot(&tried, per_hour, now) {
            sqlx::query("UPDATE notification_targets SET not_before = $2 WHERE name = $1")
                .bind(target)
                .bind(slot)
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            tx.commit().await.map_err(failed)?;
            return Ok(NextNotification::Enough);
        }
        let row = sqlx::query(concat!(
            "UPDATE notifications SET held_until = $5, attempts = attempts + 1 WHERE id = $4 AND ",
            due!(),
            " RETURNING *"
        ))
        .bind(now)
        .bind(LATEST)
        .bind(HELD)
        .bind(next)
        .bind(held_until)
        .fetch_optional(&mut *tx)
        .await
        .map_err(&failed)?;
        let Some(row) = row else {
            tx.rollback().await.map_err(failed)?;
            return Ok(NextNotification::None);
        };
        sqlx::query("INSERT INTO notification_attempts (target, at) VALUES ($1, $2)")
            .bind(target)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        tx.commit().await.map_err(&failed)?;
        let taken = taken(&row, failures).map_err(failed)?;
        Ok(NextNotification::One(Box::new(taken)))
    }

    /// Notes that one got through, at a moment in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be written. It is sent once more then.
    pub async fn notification_sent(
        &self,
        taken: &TakenNotification,
        now: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query(WRITING);
        let mut tx = self.write().await.map_err(&failed)?;
        sqlx::query("UPDATE notification_targets SET failures = 0 WHERE name = $1")
            .bind(&taken.target)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        sqlx::query(
            "UPDATE notifications SET state = 'sent', error = NULL, ended_at = $2, held_until = NULL \
             WHERE id = $1 AND state = 'waiting'",
        )
        .bind(&taken.id)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    /// Notes why one did not get through that its target does not take, and when it is tried again, in Unix milliseconds. Others go on.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn notification_failed(
        &self,
        taken: &TakenNotification,
        why: &str,
        due_at: i64,
    ) -> Result<(), StateError> {
        sqlx::query(
            "UPDATE notifications SET error = $3, due_at = $4, held_until = NULL \
             WHERE id = $1 AND attempts = $2 AND state = 'waiting'",
        )
        .bind(&taken.id)
        .bind(i64::from(taken.attempts))
        .bind(why)
        .bind(due_at)
        .execute(self.pool())
        .await
        .map(drop)
        .map_err(StateError::query(WRITING))
    }

    /// Notes why one did not get through whose target takes none, and lets everything for it wait until a moment in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn target_failed(
        &self,
        taken: &TakenNotification,
        why: &str,
        not_before: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query(WRITING);
        let mut tx = self.write().await.map_err(&failed)?;
        // Another process may have been told to wait for longer.
        sqlx::query(
            "UPDATE notification_targets SET failures = failures + 1, \
             not_before = CASE WHEN not_before > $2 AND not_before <= $2 + $3 THEN not_before ELSE $2 END WHERE name = $1",
        )
        .bind(&taken.target)
        .bind(not_before)
        .bind(LATEST)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        sqlx::query(
            "UPDATE notifications SET error = $3, held_until = NULL WHERE id = $1 AND attempts = $2 AND state = 'waiting'",
        )
        .bind(&taken.id)
        .bind(i64::from(taken.attempts))
        .bind(why)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}

/// Locks the row of a target, makes it when it is missing, and gives before when nothing is sent, and the failures in a row.
async fn lock_target(
    tx: &mut Transaction<'static, Any>,
    target: &str,
) -> Result<(i64, u32), sqlx::Error> {
    let row = sqlx::query(
        "INSERT INTO notification_targets (name, not_before, failures) VALUES ($1, 0, 0) \
         ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING not_before, failures",
    )
    .bind(target)
    .fetch_one(&mut **tx)
    .await?;
    let failures: i64 = row.try_get("failures")?;
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    Ok((row.try_get("not_before")?, failures))
}

/// When a target was sent something within the last hour, the oldest first. What was before is forgotten.
async fn tried(
    tx: &mut Transaction<'static, Any>,
    target: &str,
    now: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query("DELETE FROM notification_attempts WHERE target = $1 AND (at <= $2 OR at > $3)")
        .bind(target)
        .bind(now.saturating_sub(HOUR))
        .bind(now.saturating_add(SKEW))
        .execute(&mut **tx)
        .await?;
    sqlx::query_scalar("SELECT at FROM notification_attempts WHERE target = $1 ORDER BY at")
        .bind(target)
        .fetch_all(&mut **tx)
        .await
}

fn taken(row: &AnyRow, failures: u32) -> Result<TakenNotification, sqlx::Error> {
    let notice: String = row.try_get("notice")?;
    let occurrences: i64 = row.try_get("occurrences")?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(TakenNotification {
        id: row.try_get("id")?,
        target: row.try_get("target")?,
        notice: serde_json::from_str(&notice).map_err(|error| error.to_string()),
        occurrences: u64::try_from(occurrences).unwrap_or(1),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        failures,
    })
}
