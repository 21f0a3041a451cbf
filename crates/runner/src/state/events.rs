//! Runs that events of AWS ask for. One of them waits for each job at most: it is due a while after the last event, and those that come
//! meanwhile are added to it, whichever process has heard of them.

use std::time::Duration;

use jiff::Timestamp;
use onboarding_core::events::{Woken, due_at};
use sqlx::{Any as AnyDatabase, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};
use crate::engine::RunId;

/// What wakes a run that events ask for.
pub const EVENT: &str = "event";

/// Spans that are kept of those that asked for a run.
const SPANS: usize = 8;

/// A job that events wake.
#[derive(Debug, Clone)]
pub struct WakeUp<'a> {
    /// The job.
    pub job: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// By what.
    pub woken: Woken,
}

/// How long a run that events ask for is put off.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After the last event.
    pub quiet: Duration,
    /// After the first one, at most.
    pub longest: Duration,
}

impl State {
    /// Asks for a run of each of these jobs, all of them or none. `span` is the one that asks (W3C traceparent).
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn wake(
        &self,
        jobs: &[WakeUp<'_>],
        pace: Pace,
        span: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StateError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let failed = StateError::query("asking for runs because of events");
        let mut tx = self.write().await.map_err(&failed)?;
        for job in jobs {
            wake_one(&mut tx, job, pace, span, now).await?;
        }
        tx.commit().await.map_err(failed)
    }

    /// Ends the runs of these jobs in whose place a run that events ask for is due now, unless the job is paused: that run would be left
    /// out. Gives the jobs.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn make_room<'a>(
        &self,
        jobs: &[&'a str],
        now: Timestamp,
    ) -> Result<Vec<&'a str>, StateError> {
        let failed = StateError::query("making room for a run that events ask for");
        let mut ended = Vec::new();
        if jobs.is_empty() {
            return Ok(ended);
        }
        let due: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT waits.job FROM runs waits JOIN runs other ON other.job = waits.job \
             WHERE waits.state = 'queued' AND waits.events IS NOT NULL AND waits.due_at <= $1 \
             AND other.state = 'running' AND other.cancelled_by IS NULL",
        )
        .bind(now.as_millisecond())
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        for job in jobs.iter().filter(|job| due.iter().any(|due| due == *job)) {
            let runs = sqlx::query(
                "UPDATE runs SET cancelled_by = 'an event' WHERE job = $1 AND state = 'running' \
                 AND (dry_run = 0 OR due_at IS NOT NULL) AND cancelled_by IS NULL \
                 AND EXISTS (SELECT 1 FROM runs waits WHERE waits.job = $1 AND waits.state = 'queued' \
                 AND waits.events IS NOT NULL AND waits.due_at <= $2) \
                 AND NOT EXISTS (SELECT 1 FROM schedules WHERE schedules.job = $1 AND schedules.paused_by IS NOT NULL)",
            )
            .bind(job)
            .bind(now.as_millisecond())
            .execute(self.pool())
            .await
            .map_err(&failed)?;
            if runs.rows_affected() > 0 {
                ended.push(*job);
            }
        }
        Ok(ended)
    }

    /// Whether a run of one of these kinds that changed something went on at that moment, or had ended less than `before` earlier: what
    /// stack sets tell of that time, we did.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn was_changing(
        &self,
        kinds: &[&str],
        at: Timestamp,
        before: Duration,
    ) -> Result<bool, StateError> {
        let failed = StateError::query("looking for runs at the time of an event");
        let since = at.checked_sub(before).unwrap_or(Timestamp::MIN);
        let changing: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT kind FROM runs WHERE dry_run = 0 AND state <> 'queued' AND started_at <= $1 \
             AND (ended_at IS NULL OR ended_at >= $2) AND EXISTS (SELECT 1 FROM steps WHERE steps.run_id = runs.id)",
        )
        .bind(at.as_millisecond())
        .bind(since.as_millisecond())
        .fetch_all(self.pool())
        .await
        .map_err(failed)?;
        Ok(changing.iter().any(|kind| kinds.contains(&kind.as_str())))
    }
}

async fn wake_one(
    tx: &mut Transaction<'_, AnyDatabase>,
    job: &WakeUp<'_>,
    pace: Pace,
    span: Option<&str>,
    now: Timestamp,
) -> Result<(), StateError> {
    let failed = StateError::query("asking for a run because of events");
    let json =
        |woken: &Woken| serde_json::to_string(woken).map_err(StateError::value("what woke a run"));
    let now = now.as_millisecond();
    let due = |first| due_at(first, now, millis(pace.quiet), millis(pace.longest));
    let id = RunId::new().to_string();
    // One that waits is locked: nobody takes it up until more is added to it.
    let row = sqlx::query(
        "INSERT INTO runs (id, job, kind, woken_by, dry_run, state, started_at, due_at, events, asked_in, fence) \
         VALUES ($1, $2, $3, $4, 0, 'queued', $5, $6, $7, $8, 0) \
         ON CONFLICT (job) WHERE state = 'queued' AND events IS NOT NULL DO UPDATE SET fence = runs.fence \
         RETURNING id, events, asked_in",
    )
    .bind(&id)
    .bind(job.job)
    .bind(job.kind)
    .bind(EVENT)
    .bind(now)
    .bind(due(job.woken.since))
    .bind(json(&job.woken)?)
    .bind(span)
    .fetch_one(&mut **tx)
    .await
    .map_err(&failed)?;
    let waits: String = row.try_get("id").map_err(&failed)?;
    if waits != id {
        let asked_in: Option<String> = row.try_get("asked_in").map_err(&failed)?;
        let earlier = woken(&row)?.unwrap_or_default();
        let woken = earlier.and(job.woken.clone());
        sqlx::query("UPDATE runs SET events = $2, asked_in = $3, due_at = $4 WHERE id = $1")
            .bind(&waits)
            .bind(json(&woken)?)
            .bind(with(asked_in, span))
            .bind(due(woken.since))
            .execute(&mut **tx)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

/// What woke a run, when events did.
pub(super) fn woken(row: &AnyRow) -> Result<Option<Woken>, StateError> {
    let events: Option<String> = row
        .try_get("events")
        .map_err(StateError::query("reading what woke a run"))?;
    let woken = events.map(|events| serde_json::from_str(&events));
    woken
        .transpose()
        .map_err(StateError::value("what woke a run"))
}

/// The spans, and one more.
fn with(spans: Option<String>, span: Option<&str>) -> Option<String> {
    match (spans, span) {
        (Some(spans), Some(span)) if spans.split(' ').count() < SPANS => {
            Some(format!("{spans} {span}"))
        }
        (Some(spans), _) => Some(spans),
        (None, span) => span.map(str::to_owned),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
