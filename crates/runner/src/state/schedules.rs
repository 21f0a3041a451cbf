//! What the scheduler remembers of each job: until when its ticks have been dealt with, which schedule is in force, and whether
//! somebody paused it. What a look decides is written down in one go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Any as AnyDatabase, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};
use crate::{
    engine::RunId,
    schedule::{Decision, Standing},
};

/// What a look at a job's schedule has decided.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The job.
    pub job: String,
    /// Its kind.
    pub kind: String,
    /// Its schedule.
    pub schedule: String,
    /// Until when ticks had been dealt with before.
    pub before: Option<Timestamp>,
    /// Until when they are now.
    pub until: Timestamp,
    /// What becomes of the ticks in between.
    pub decisions: Vec<Decision>,
}

impl State {
    /// How it stands with every job that the scheduler has seen or that has a run that waits or goes on.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn standings(&self) -> Result<BTreeMap<String, Standing>, StateError> {
        let failed = StateError::query("reading how it stands with the jobs");
        let rows = sqlx::query("SELECT * FROM schedules")
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for row in rows {
            let job: String = row.try_get("job").map_err(&failed)?;
            let looked_until: i64 = row.try_get("looked_until").map_err(&failed)?;
            let standing = standings.entry(job).or_default();
            let looked_until = Timestamp::from_millisecond(looked_until);
            standing.looked_until =
                Some(looked_until.map_err(StateError::value("the last look at a schedule"))?);
            standing.schedule = row.try_get("schedule").map_err(&failed)?;
            standing.paused = pause(&row).map_err(&failed)?;
        }
        let rows = sqlx::query(
            "SELECT id, job, state FROM runs WHERE state IN ('queued', 'running') AND (dry_run = 0 OR due_at IS NOT NULL) \
             ORDER BY id",
        )
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        for row in rows {
            let job: String = row.try_get("job").map_err(&failed)?;
            let id: String = row.try_get("id").map_err(&failed)?;
            let state: String = row.try_get("state").map_err(&failed)?;
            let standing = standings.entry(job).or_default();
            match state.as_str() {
                "queued" => standing.queued = Some(id),
                _ => standing.running = Some(id),
            }
        }
        Ok(standings)
    }

    /// Writes down what looks have decided, all of it or nothing. What another process has decided meanwhile stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn note_looks(&self, looks: &[Looked], now: Timestamp) -> Result<(), StateError> {
        let failed = StateError::query("writing down what is due");
        let mut tx = self.write().await.map_err(&failed)?;
        for look in looks {
            note_look(&mut tx, look, now).await.map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// These jobs have no schedule in force any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget_schedules(&self, jobs: &[&str]) -> Result<(), StateError> {
        for job in jobs {
            sqlx::query("UPDATE schedules SET schedule = NULL WHERE job = $1")
                .bind(job)
                .execute(self.pool())
                .await
                .map_err(StateError::query("taking a schedule out of force"))?;
        }
        Ok(())
    }

    /// Takes a job's schedule out of force, until [`State::resume_job`]. Ticks meanwhile are skipped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn pause_job(
        &self,
        job: &str,
        by: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StateError> {
        sqlx::query(
            "INSERT INTO schedules (job, looked_until, paused_by, paused_at, pause_reason) VALUES ($1, $3, $2, $3, $4) \
             ON CONFLICT (job) DO UPDATE SET paused_by = excluded.paused_by, paused_at = excluded.paused_at, \
             pause_reason = excluded.pause_reason",
        )
        .bind(job)
        .bind(by)
        .bind(now.as_millisecond())
        .bind(reason)
        .execute(self.pool())
        .await
        .map_err(StateError::query("pausing a job"))?;
        Ok(())
    }

    /// Puts a job's schedule into force again. False when it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn resume_job(&self, job: &str, now: Timestamp) -> Result<bool, StateError> {
        let resumed = sqlx::query(
            "UPDATE schedules SET paused_by = NULL, paused_at = NULL, pause_reason = NULL, in_force_since = $2 \
             WHERE job = $1 AND paused_by IS NOT NULL",
        )
        .bind(job)
        .bind(now.as_millisecond())
        .execute(self.pool())
        .await
        .map_err(StateError::query("resuming a job"))?;
        Ok(resumed.rows_affected() > 0)
    }
}

/// Writes one look down, unless another process has looked since.
async fn note_look(
    tx: &mut Transaction<'_, AnyDatabase>,
    look: &Looked,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // A replica that lacks the job, or has another schedule for it, may have written its own since. What this one has in force is
    // in force for as long as before; only a look that puts it into force, which decides nothing, says otherwise.
    let ours = sqlx::query(
        "INSERT INTO schedules (job, looked_until, schedule, in_force_since) VALUES ($1, $2, $4, $2) \
         ON CONFLICT (job) DO UPDATE SET looked_until = excluded.looked_until, schedule = excluded.schedule, \
         in_force_since = CASE WHEN schedules.in_force_since IS NOT NULL AND ($5 = 0 OR schedules.schedule = excluded.schedule) \
         THEN schedules.in_force_since ELSE excluded.in_force_since END WHERE schedules.looked_until = $3",
    )
    .bind(&look.job)
    .bind(look.until.as_millisecond())
    .bind(look.before.map(Timestamp::as_millisecond))
    .bind(&look.schedule)
    .bind(i64::from(look.decisions.is_empty()))
    .execute(&mut **tx)
    .await?;
    if ours.rows_affected() == 0 {
        return Ok(());
    }
    if look.before.is_some_and(|before| before > look.until) {
        // The clock was set back: nothing waits for a time that is far away now, and what was missed then is still to come.
        for set_back in [
            "UPDATE runs SET due_at = $2 WHERE job = $1 AND state = 'queued' AND due_at > $2",
            "DELETE FROM runs WHERE job = $1 AND state = 'skipped' AND tick > $2",
        ] {
            sqlx::query(set_back)
                .bind(&look.job)
                .bind(look.until.as_millisecond())
                .execute(&mut **tx)
                .await?;
        }
    }
    for decision in &look.decisions {
        match decision {
            Decision::Queue { tick, due_at } => {
                insert_tick(tx, look, *tick, ("queued", None), Some(*due_at), now).await?;
            }
            Decision::Skip { tick, why } => {
                let why = why.to_string();
                insert_tick(tx, look, *tick, ("skipped", Some(&why)), None, now).await?;
            }
            Decision::Replace { run } => {
                sqlx::query(
                    "UPDATE runs SET cancelled_by = 'the schedule', \
                     error = CASE WHEN state = 'queued' THEN 'a later run of the job took its place (overlap = \"replace\")' END, \
                     ended_at = CASE WHEN state = 'queued' THEN CAST($2 AS BIGINT) END, \
                     state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END \
                     WHERE id = $1 AND state IN ('queued', 'running')",
                )
                .bind(run)
                .bind(now.as_millisecond())
                .execute(&mut **tx)
                .await?;
            }
        }
    }
    Ok(())
}

/// The run of a tick, or why there is none. What is there of it already stands.
async fn insert_tick(
    tx: &mut Transaction<'_, AnyDatabase>,
    look: &Looked,
    tick: Timestamp,
    (state, why): (&str, Option<&str>),
    due_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let now = now.as_millisecond();
    sqlx::query(
        "INSERT INTO runs (id, job, kind, woken_by, tick, dry_run, state, started_at, ended_at, error, due_at, fence) \
         VALUES ($1, $2, $3, 'schedule', $4, 0, $5, $6, $7, $8, $9, 0) ON CONFLICT (job, tick) DO NOTHING",
    )
    .bind(RunId::new().to_string())
    .bind(&look.job)
    .bind(&look.kind)
    .bind(tick.as_millisecond())
    .bind(state)
    .bind(now)
    .bind(due_at.is_none().then_some(now))
    .bind(why)
    .bind(due_at.map(Timestamp::as_millisecond))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who paused a job, and why.
fn pause(row: &AnyRow) -> Result<Option<String>, sqlx::Error> {
    let by: Option<String> = row.try_get("paused_by")?;
    let reason: Option<String> = row.try_get("pause_reason")?;
    Ok(by.map(|by| match reason {
        Some(reason) => format!("by {by}: {reason}"),
        None => format!("by {by}"),
    }))
}
