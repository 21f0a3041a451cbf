//! What targets are to be told: kept until it got through or was given up.
//!
//! - `note`: written down with what it is about, once;
//! - `take`: taken by whoever sends it, and what became of that.
//!
//! Who compares moments here takes them from [`State::now`]. A clock that was set back leaves moments that are too far away to be meant
//! (`LATEST`, `HELD`, `SKEW`); they count for nothing.

mod note;
mod take;

use std::collections::BTreeMap;

use onboarding_core::notify::Notification;
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError};

pub(super) use note::note;
pub use take::{NextNotification, TakenNotification};

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

/// One that was not told in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The target.
    pub target: String,
    /// The event.
    pub event: String,
    /// The job.
    pub job: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What went wrong last.
    pub why: String,
}

const WRITING: &str = "writing what is to be told";
const READING: &str = "reading what is to be told";

/// The latest that anything is put off to, from now on, in milliseconds: longer than an hour, which is the longest that is meant.
const LATEST: i64 = 2 * 60 * 60 * 1_000;

/// The longest that anybody holds one, in milliseconds: longer than the minute that is meant.
const HELD: i64 = 2 * 60 * 1_000;

/// How far the clocks of machines are apart at most, in milliseconds.
const SKEW: i64 = 60 * 1_000;

/// How long one is tried whose row does not say it, in milliseconds: an earlier version wrote it.
const GIVE_UP_AFTER: i64 = 24 * 60 * 60 * 1_000;

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

    /// Gives up what could not be told in time, to a target or to any, and gives it; whoever is sent to just now is left alone.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn give_up_overdue(
        &self,
        target: Option<&str>,
        now: i64,
    ) -> Result<Vec<GivenUp>, StateError> {
        let failed = StateError::query(WRITING);
        let rows = sqlx::query(
            "UPDATE notifications SET state = 'given-up', error = COALESCE(error, 'nobody tried it in time'), ended_at = $1, \
             held_until = NULL WHERE state = 'waiting' AND COALESCE(give_up_at, created_at + $3) <= $1 \
             AND (held_until IS NULL OR held_until <= $1 OR held_until > $1 + $4) AND ($2 IS NULL OR target = $2) \
             RETURNING target, event, job, attempts, error",
        )
        .bind(now)
        .bind(target)
        .bind(GIVE_UP_AFTER)
        .bind(HELD)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let given_up = |row: &AnyRow| {
            Ok(GivenUp {
                target: row.try_get("target")?,
                event: row.try_get("event")?,
                job: row.try_get("job")?,
                attempts: row.try_get("attempts")?,
                why: row.try_get("error")?,
            })
        };
        let given_up: Result<_, sqlx::Error> = rows.iter().map(given_up).collect();
        given_up.map_err(failed)
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
                "SELECT id, state, exit_code FROM runs WHERE job = $1 AND (dry_run = 0 OR due_at IS NOT NULL) \
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
        let rows = sqlx::query(
            "SELECT notifications.*, not_before FROM notifications \
             LEFT JOIN notification_targets ON notification_targets.name = notifications.target \
             ORDER BY created_at DESC, id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let rows: Result<_, sqlx::Error> = rows.iter().map(row_for_people).collect();
        rows.map_err(failed)
    }
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
    let not_before: Option<i64> = row.try_get("not_before")?;
    let due_at = due_at.max(not_before.unwrap_or_default());
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
