//! Runs that are taken up: a request that waits is raised to the next fence and goes on in this process, under its job's lock.

use std::{collections::BTreeSet, str::FromStr as _, sync::Arc};

use jiff::Timestamp;
use onboarding_core::notify::Notification;
use sqlx::{Row as _, any::AnyRow};

use super::{
    State, advisory::Wait, dead_runs, error::write, job_ends, locks::Lock, notifications, runs,
    steps::fenced,
};
use crate::engine::{Asked, Hold, JournalError, RunId, RunKey};

/// A request that was taken up: the run goes on in this process, until `hold` is dropped.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The run.
    pub run: RunKey,
    /// The job.
    pub job: String,
    /// What asked for it.
    pub woken_by: String,
    /// The tick that it is for, in Unix milliseconds.
    pub tick: Option<i64>,
    /// What is asked for beside the job's definition.
    pub asked: Asked,
    /// The spans that asked for it (W3C traceparent).
    pub asked_in: Vec<String>,
    /// The job's lock.
    pub hold: Arc<dyn Hold>,
}

/// How a run ends that was taken up and could not be begun.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnbegunEnd<'a> {
    /// `failed`, `refused` or `skipped`.
    pub state: &'a str,
    /// Its exit code.
    pub exit: u8,
    /// Why.
    pub why: &'a str,
    /// What targets are told of it.
    pub told: &'a [Notification],
    /// Whether its job is asked for once more: what stopped it may pass.
    pub again: bool,
}

impl State {
    /// Takes up the run that waits longest of those that are due, whose job is one of these, and which nobody runs. None as soon as
    /// `ends` says so.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn take_up(
        &self,
        now: Timestamp,
        owner: &str,
        known: &BTreeSet<String>,
        ends: impl Fn() -> bool,
    ) -> Result<Option<Taken>, JournalError> {
        let failed = write("that a run is taken up");
        let now = now.as_millisecond();
        let jobs: Vec<AnyRow> = sqlx::query(
            "SELECT job, MIN(due_at) AS due FROM runs WHERE state = 'queued' AND due_at <= $1 AND NOT EXISTS \
             (SELECT 1 FROM runs other WHERE other.job = runs.job AND other.state = 'running' \
             AND (other.dry_run = 0 OR other.due_at IS NOT NULL)) GROUP BY job ORDER BY due, job",
        )
        .bind(now)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let mut had = None;
        for row in jobs {
            let job: String = row.try_get("job").map_err(&failed)?;
            if !known.contains(&job) {
                continue;
            }
            if ends() {
                return Ok(None);
            }
            // What another one takes up at this moment is not waited for: it goes through the same jobs in the same order.
            let Some(lock) = self.lock_job_or_tell(&job, Wait::No).await else {
                had.get_or_insert(job);
                continue;
            };
            if let Some(taken) = self.take_up_of(&job, lock, now, owner).await? {
                return Ok(Some(taken));
            }
        }
        // Who has it may have ended just now.
        if let Some(job) = had.filter(|_| !ends())
            && let Some(lock) = self.lock_job_or_tell(&job, Wait::AMoment).await
        {
            return self.take_up_of(&job, lock, now, owner).await;
        }
        Ok(None)
    }

    /// Takes up the run of a job that waits longest, under the job's lock.
    async fn take_up_of(
        &self,
        job: &str,
        lock: Lock,
        now: i64,
        owner: &str,
    ) -> Result<Option<Taken>, JournalError> {
        let taken = sqlx::query(
            "UPDATE runs SET state = 'running', started_at = $2, lease_owner = $3, fence = fence + 1 \
             WHERE state = 'queued' AND id = (SELECT id FROM runs WHERE job = $1 AND state = 'queued' AND due_at <= $2 \
             ORDER BY due_at, id LIMIT 1) RETURNING *",
        )
        .bind(job)
        .bind(now)
        .bind(owner)
        .fetch_optional(self.pool())
        .await
        .map_err(write("that a run is taken up"))?;
        let taken = taken.map(|row| {
            Ok(Taken {
                hold: Arc::new(lock),
                ..taken_row(&row)?
            })
        });
        taken.transpose()
    }

    /// Ends a run that was taken up and could not be begun, at a moment; once, however often that is asked for with the same.
    ///
    /// # Errors
    /// When it cannot be written, or the run is not ours any more.
    pub async fn end_unbegun(
        &self,
        run: RunKey,
        end: UnbegunEnd<'_>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let failed = write("the end of a run that did not begin");
        let now = now.as_millisecond();
        let mut tx = self.write().await.map_err(&failed)?;
        let ended = sqlx::query(
            "UPDATE runs SET state = $3, exit_code = $4, error = $5, ended_at = $6, lease_owner = NULL \
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.to_string())
        .bind(run.fence)
        .bind(end.state)
        .bind(i64::from(end.exit))
        .bind(end.why)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        let as_said = (end.state, end.exit, now);
        if ended.rows_affected() == 0 && runs::has_ended(&mut tx, run, as_said).await? {
            return Ok(());
        }
        fenced(ended.rows_affected(), run)?;
        if end.state != "skipped" {
            job_ends::note_unbegun(&mut tx, &run.id.to_string(), end.exit, now)
                .await
                .map_err(&failed)?;
        }
        notifications::note(&mut tx, end.told, now)
            .await
            .map_err(&failed)?;
        if end.again {
            dead_runs::ask_again(&mut tx, run, now).await?;
        }
        tx.commit().await.map_err(failed)
    }
}

/// A row of a run that was taken up; its lock is put in by who has it.
fn taken_row(row: &AnyRow) -> Result<Taken, JournalError> {
    let failed = write("that a run is taken up");
    let id: String = row.try_get("id").map_err(&failed)?;
    let asked: Option<String> = row.try_get("asked").map_err(&failed)?;
    let asked = asked.map(|asked| serde_json::from_str(&asked)).transpose();
    let asked_in: Option<String> = row.try_get("asked_in").map_err(&failed)?;
    let asked_in = asked_in.unwrap_or_default();
    Ok(Taken {
        asked_in: asked_in.split_whitespace().map(str::to_owned).collect(),
        run: RunKey {
            id: RunId::from_str(&id).map_err(write("that a run is taken up"))?,
            fence: row.try_get("fence").map_err(&failed)?,
        },
        job: row.try_get("job").map_err(&failed)?,
        woken_by: row.try_get("woken_by").map_err(&failed)?,
        tick: row.try_get("tick").map_err(&failed)?,
        asked: asked
            .map_err(write("that a run is taken up"))?
            .unwrap_or_default(),
        hold: Arc::new(()),
    })
}
