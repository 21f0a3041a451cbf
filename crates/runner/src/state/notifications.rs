//! What targets are to be told: written with what it is about, and kept until it got through or was given up.
//!
//! Of one event of a job with one cause, a target has one row that is the newest. What happens while that waits, or was told a while ago
//! only, is counted in it.

use std::collections::BTreeMap;

use onboarding_core::notify::{Notice, Notification};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};
use crate::engine::RunId;

/// A notification that is to be sent: it is held for whoever took it.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenNotification {
    /// What the receiver knows it by, however often it is sent.
    pub id: String,
    /// What is told.
    pub notice: Notice,
    /// How often it happened.
    pub occurrences: u64,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// When it was written, in Unix milliseconds.
    pub created_at: i64,
}

/// A notification, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotificationRow {
    /// Its id.
    pub id: String,
    /// The target.
    pub target: String,
    /// The event.
    pub event: String,
    /// The job.
    pub job: String,
    /// `waiting`, `sent` or `given-up`.
    pub state: String,
    /// How often it happened, as it is told.
    pub count: i64,
    /// How often it happened since.
    pub repeats: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// When it was written, in Unix milliseconds.
    pub created_at: i64,
    /// When it is tried next, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

const WRITING: &str = "writing what is to be told";
const READING: &str = "reading what is to be told";

impl State {
    /// Writes down what targets are to be told, at a moment in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn notify(&self, all: &[Notification], now: i64) -> Result<(), StateError> {
        if all.is_empty() {
            return Ok(());
        }
        let failed = StateError::query(WRITING);
        let mut tx = self.write().await.map_err(&failed)?;
        note(&mut tx, all, now).await.map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    /// The targets that have something due at a moment in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn targets_due(&self, now: i64) -> Result<Vec<String>, StateError> {
        sqlx::query_scalar(
            "SELECT DISTINCT target FROM notifications WHERE state = 'waiting' AND due_at <= $1 \
             AND (held_until IS NULL OR held_until <= $1)",
        )
        .bind(now)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query(READING))
    }

    /// Takes the notification of a target that waits longest of those that are due: nobody else takes it until `held_until`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn take_notification(
        &self,
        target: &str,
        now: i64,
        held_until: i64,
    ) -> Result<Option<TakenNotification>, StateError> {
        let failed = StateError::query(WRITING);
        let row = sqlx::query(
            "UPDATE notifications SET held_until = $3, attempts = attempts + 1 \
             WHERE state = 'waiting' AND (held_until IS NULL OR held_until <= $2) AND id = (\
             SELECT id FROM notifications WHERE target = $1 AND state = 'waiting' AND due_at <= $2 \
             AND (held_until IS NULL OR held_until <= $2) ORDER BY due_at, id LIMIT 1) RETURNING *",
        )
        .bind(target)
        .bind(now)
        .bind(held_until)
        .fetch_optional(self.pool())
        .await
        .map_err(failed)?;
        row.as_ref().map(taken).transpose()
    }

    /// Notes that one got through.
    ///
    /// # Errors
    /// When the state cannot be written. It is sent once more then.
    pub async fn notification_sent(&self, id: &str, now: i64) -> Result<(), StateError> {
        self.end_notification(id, "sent", None, now).await
    }

    /// Notes that one will not be tried again.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn notification_given_up(
        &self,
        id: &str,
        why: &str,
        now: i64,
    ) -> Result<(), StateError> {
        self.end_notification(id, "given-up", Some(why), now).await
    }

    async fn end_notification(
        &self,
        id: &str,
        state: &str,
        error: Option<&str>,
        now: i64,
    ) -> Result<(), StateError> {
        sqlx::query(
            "UPDATE notifications SET state = $2, error = $3, ended_at = $4, held_until = NULL \
             WHERE id = $1 AND state = 'waiting'",
        )
        .bind(id)
        .bind(state)
        .bind(error)
        .bind(now)
        .execute(self.pool())
        .await
        .map(drop)
        .map_err(StateError::query(WRITING))
    }

    /// Notes why one did not get through, and when it is tried again, in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn notification_failed(
        &self,
        id: &str,
        why: &str,
        due_at: i64,
    ) -> Result<(), StateError> {
        sqlx::query(
            "UPDATE notifications SET error = $2, due_at = $3, held_until = NULL WHERE id = $1 AND state = 'waiting'",
        )
        .bind(id)
        .bind(why)
        .bind(due_at)
        .execute(self.pool())
        .await
        .map(drop)
        .map_err(StateError::query(WRITING))
    }

    /// When a target was told since a moment, the oldest first; all in Unix milliseconds.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn told_since(&self, target: &str, since: i64) -> Result<Vec<i64>, StateError> {
        sqlx::query_scalar(
            "SELECT ended_at FROM notifications WHERE target = $1 AND ended_at > $2 AND state = 'sent' ORDER BY ended_at",
        )
        .bind(target)
        .bind(since)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query(READING))
    }

    /// Lets everything that waits for a target wait until a moment at least, and gives up what was written before another; in Unix
    /// milliseconds. Tells how many were given up.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn put_off(
        &self,
        target: &str,
        until: i64,
        give_up: (i64, &str),
        now: i64,
    ) -> Result<u64, StateError> {
        let failed = StateError::query(WRITING);
        let (written_before, why) = give_up;
        let given_up = sqlx::query(
            "UPDATE notifications SET state = 'given-up', error = $3, ended_at = $4 \
             WHERE target = $1 AND state = 'waiting' AND held_until IS NULL AND created_at < $2",
        )
        .bind(target)
        .bind(written_before)
        .bind(why)
        .bind(now)
        .execute(self.pool())
        .await
        .map_err(&failed)?;
        sqlx::query(
            "UPDATE notifications SET due_at = $2 WHERE target = $1 AND state = 'waiting' AND due_at < $2",
        )
        .bind(target)
        .bind(until)
        .execute(self.pool())
        .await
        .map_err(failed)?;
        Ok(given_up.rows_affected())
    }

    /// The jobs whose last three runs have all died with their process, the last one after a moment (Unix milliseconds), by that run.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn dying_jobs(&self, since: i64) -> Result<BTreeMap<String, String>, StateError> {
        let failed = StateError::query(READING);
        let died: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT job FROM runs WHERE state = 'interrupted' AND exit_code IS NULL AND ended_at > $1",
        )
        .bind(since)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let mut dying = BTreeMap::new();
        for job in died {
            let last = sqlx::query(
                "SELECT id, state, exit_code FROM runs WHERE job = $1 AND dry_run = 0 \
                 AND state NOT IN ('queued', 'skipped', 'running') ORDER BY started_at DESC, id DESC LIMIT 3",
            )
            .bind(&job)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
            let ids: Result<Vec<_>, sqlx::Error> = last.iter().map(dead_run).collect();
            let ids: Option<Vec<String>> = ids.map_err(&failed)?.into_iter().collect();
            if let Some([newest, _, _]) = ids.as_deref() {
                dying.insert(job, newest.clone());
            }
        }
        Ok(dying)
    }

    /// The newest notifications, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn notifications(&self, limit: u32) -> Result<Vec<NotificationRow>, StateError> {
        let failed = StateError::query(READING);
        let rows =
            sqlx::query("SELECT * FROM notifications ORDER BY created_at DESC, id DESC LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(self.pool())
                .await
                .map_err(&failed)?;
        let rows: Result<_, sqlx::Error> = rows.iter().map(row_for_people).collect();
        rows.map_err(failed)
    }
}

/// Writes down what targets are to be told, with what it is about.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    all: &[Notification],
    now: i64,
) -> Result<(), sqlx::Error> {
    for notification in all {
        note_one(tx, notification, now).await?;
    }
    Ok(())
}

async fn note_one(
    tx: &mut Transaction<'static, Any>,
    Notification {
        target,
        notice,
        quiet,
    }: &Notification,
    now: i64,
) -> Result<(), sqlx::Error> {
    let document =
        serde_json::to_string(notice).map_err(|error| sqlx::Error::Encode(error.into()))?;
    // One that nobody has tried yet can still tell of more.
    let counted = sqlx::query(
        "UPDATE notifications SET \
         occurrences = occurrences + CASE WHEN state = 'waiting' AND attempts = 0 THEN 1 ELSE 0 END, \
         repeats = repeats + CASE WHEN state = 'waiting' AND attempts = 0 THEN 0 ELSE 1 END, \
         notice = CASE WHEN state = 'waiting' AND attempts = 0 THEN $5 ELSE notice END \
         WHERE target = $1 AND event = $2 AND job = $3 AND cause = $4 AND newest = 1 AND (state = 'waiting' OR created_at > $6)",
    )
    .bind(target)
    .bind(notice.event.code())
    .bind(&notice.job)
    .bind(&notice.cause)
    .bind(&document)
    .bind(now.saturating_sub(*quiet))
    .execute(&mut **tx)
    .await?;
    if counted.rows_affected() > 0 {
        return Ok(());
    }
    let before: Option<i64> = sqlx::query_scalar(
        "UPDATE notifications SET newest = NULL WHERE target = $1 AND event = $2 AND job = $3 AND cause = $4 AND newest = 1 \
         AND state <> 'waiting' AND created_at <= $5 RETURNING repeats",
    )
    .bind(target)
    .bind(notice.event.code())
    .bind(&notice.job)
    .bind(&notice.cause)
    .bind(now.saturating_sub(*quiet))
    .fetch_optional(&mut **tx)
    .await?;
    // Another process may have been first.
    sqlx::query(
        "INSERT INTO notifications (id, target, event, job, cause, notice, occurrences, repeats, state, created_at, due_at, \
         attempts, newest) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 'waiting', $8, $8, 0, 1) \
         ON CONFLICT (target, event, job, cause, newest) DO UPDATE SET \
         occurrences = notifications.occurrences + CASE WHEN notifications.attempts = 0 THEN 1 ELSE 0 END, \
         repeats = notifications.repeats + CASE WHEN notifications.attempts = 0 THEN 0 ELSE 1 END",
    )
    .bind(RunId::new().to_string())
    .bind(target)
    .bind(notice.event.code())
    .bind(&notice.job)
    .bind(&notice.cause)
    .bind(document)
    .bind(before.unwrap_or(0).saturating_add(1))
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn taken(row: &AnyRow) -> Result<TakenNotification, StateError> {
    let failed = StateError::query(READING);
    let notice: String = row.try_get("notice").map_err(&failed)?;
    let occurrences: i64 = row.try_get("occurrences").map_err(&failed)?;
    let attempts: i64 = row.try_get("attempts").map_err(&failed)?;
    Ok(TakenNotification {
        id: row.try_get("id").map_err(&failed)?,
        notice: serde_json::from_str(&notice).map_err(StateError::value("a notification"))?,
        occurrences: u64::try_from(occurrences).unwrap_or(1),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        created_at: row.try_get("created_at").map_err(failed)?,
    })
}

/// The id of a run that died; none of one that ended.
fn dead_run(row: &AnyRow) -> Result<Option<String>, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let exit_code: Option<i64> = row.try_get("exit_code")?;
    let id = row.try_get("id")?;
    Ok((state == "interrupted" && exit_code.is_none()).then_some(id))
}

fn row_for_people(row: &AnyRow) -> Result<NotificationRow, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let due_at: i64 = row.try_get("due_at")?;
    Ok(NotificationRow {
        id: row.try_get("id")?,
        target: row.try_get("target")?,
        event: row.try_get("event")?,
        job: row.try_get("job")?,
        count: row.try_get("occurrences")?,
        repeats: row.try_get("repeats")?,
        attempts: row.try_get("attempts")?,
        created_at: row.try_get("created_at")?,
        due_at: (state == "waiting").then_some(due_at),
        error: row.try_get("error")?,
        state,
    })
}
