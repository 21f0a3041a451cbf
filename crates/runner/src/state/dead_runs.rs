//! Runs that nobody goes on with: their process has died, or nobody knows their job. Whose process died is asked for once more.

use std::{collections::BTreeSet, str::FromStr as _};

use jiff::Timestamp;
use sqlx::{Any as AnyDatabase, Row as _, Transaction, any::AnyRow};

use super::{
    State, StateError,
    advisory::Wait,
    error::write,
    job_ends,
    requests::{RequestRow, insert_request},
    unbegun,
};
use crate::engine::{JournalError, RunId, RunKey};

/// How many runs of a job may die one after the other until only its schedule tries again.
const DEATHS: i64 = 3;

impl State {
    /// Asks for a run of each job whose run has died with its process, unless one waits already, somebody had run it by hand, or it
    /// dies again and again. Gives the runs that died. One that was taken up and has not begun has not died: it waits again.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn ask_again_for_dead(&self, now: Timestamp) -> Result<Vec<RunId>, JournalError> {
        let failed = write("a look at dead runs");
        let rows =
            sqlx::query("SELECT DISTINCT job FROM runs WHERE state = 'running' AND (dry_run = 0 OR due_at IS NOT NULL)")
                .fetch_all(self.pool())
                .await
                .map_err(&failed)?;
        let mut dead = Vec::new();
        for row in rows {
            let job: String = row.try_get("job").map_err(&failed)?;
            if matches!(self.is_run(&job).await, Ok(true)) {
                continue;
            }
            let Some(_alone) = self.lock_job_or_tell(&job, Wait::AMoment).await else {
                continue;
            };
            let mut tx = self.write().await.map_err(&failed)?;
            unbegun::wait_again(&mut tx, &job, None, now.as_millisecond()).await?;
            let rows = sqlx::query(
                "UPDATE runs SET state = 'interrupted', ended_at = $2, fence = fence + 1, lease_owner = NULL \
                 WHERE job = $1 AND state = 'running' AND (dry_run = 0 OR due_at IS NOT NULL) RETURNING *",
            )
            .bind(&job)
            .bind(now.as_millisecond())
            .fetch_all(&mut *tx)
            .await
            .map_err(&failed)?;
            job_ends::note_deaths(&mut tx, &job, rows.len())
                .await
                .map_err(&failed)?;
            let waits: Option<String> = sqlx::query_scalar(
                "SELECT id FROM runs WHERE job = $1 AND state = 'queued' LIMIT 1",
            )
            .bind(&job)
            .fetch_optional(&mut *tx)
            .await
            .map_err(&failed)?;
            let mut asked_for = None;
            for row in &rows {
                let id: String = row.try_get("id").map_err(&failed)?;
                dead.push(RunId::from_str(&id).map_err(write("a look at dead runs"))?);
                let due_at: Option<i64> = row.try_get("due_at").map_err(&failed)?;
                let cancelled_by: Option<String> = row.try_get("cancelled_by").map_err(&failed)?;
                // What somebody ran by hand is theirs to run again, and what somebody ended is wanted no more.
                let is_wanted = due_at.is_some() && cancelled_by.is_none();
                asked_for = asked_for.or(is_wanted.then_some(row));
            }
            if let Some(row) = asked_for
                && waits.is_none()
                && !dies_again_and_again(&mut tx, &job).await?
            {
                again(&mut tx, row, now).await?;
            }
            tx.commit().await.map_err(&failed)?;
        }
        Ok(dead)
    }

    /// Takes away runs that were due before this and wait, of jobs that are none of these and whose schedule is not in force: nobody who
    /// looks at this state seems to know them. A job that another replica has in force, or a file that is wrong for a while, is not
    /// known by all. Gives their jobs.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn take_away_unknown(
        &self,
        known: &BTreeSet<String>,
        due_before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<String>, StateError> {
        let failed = StateError::query("taking away runs of unknown jobs");
        let jobs: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT job FROM runs WHERE state = 'queued' AND due_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM schedules WHERE schedules.job = runs.job AND schedules.schedule IS NOT NULL)",
        )
        .bind(due_before.as_millisecond())
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let unknown: Vec<String> = jobs
            .into_iter()
            .filter(|job| !known.contains(job))
            .collect();
        for job in &unknown {
            sqlx::query(
                "UPDATE runs SET state = 'skipped', ended_at = $3, \
                 error = 'the daemon that looked does not know the job, and no schedule of it is in force' \
                 WHERE job = $1 AND state = 'queued' AND due_at < $2 AND NOT EXISTS \
                 (SELECT 1 FROM schedules WHERE schedules.job = $1 AND schedules.schedule IS NOT NULL)",
            )
            .bind(job)
            .bind(due_before.as_millisecond())
            .bind(now.as_millisecond())
            .execute(self.pool())
            .await
            .map_err(&failed)?;
        }
        Ok(unknown)
    }

    /// Ends dry runs that somebody began by hand before this: their process lives no more.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_old_dry_runs(
        &self,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<(), StateError> {
        sqlx::query(
            "UPDATE runs SET state = 'interrupted', ended_at = $2, lease_owner = NULL \
             WHERE state = 'running' AND dry_run = 1 AND due_at IS NULL AND started_at < $1",
        )
        .bind(before.as_millisecond())
        .bind(now.as_millisecond())
        .execute(self.pool())
        .await
        .map(drop)
        .map_err(StateError::query("ending old dry runs"))
    }
}

/// Asks for the same run once more, unless one of its job waits already, or somebody has ended it: that is wanted no more. Nor is one of
/// which three have failed that were asked for again: whatever stops them does not pass.
pub(super) async fn ask_again(
    tx: &mut Transaction<'_, AnyDatabase>,
    run: RunKey,
    now: i64,
) -> Result<(), JournalError> {
    let failed = write("a run in place of one that was put off");
    let row = sqlx::query(
        "SELECT * FROM runs WHERE id = $1 AND cancelled_by IS NULL AND NOT EXISTS \
         (SELECT 1 FROM runs other WHERE other.job = runs.job AND other.state = 'queued')",
    )
    .bind(run.id.to_string())
    .fetch_optional(&mut **tx)
    .await
    .map_err(&failed)?;
    let Some(row) = row else {
        return Ok(());
    };
    let job: String = row.try_get("job").map_err(&failed)?;
    if fails_again_and_again(tx, &job).await? {
        return Ok(());
    }
    let now = Timestamp::from_millisecond(now);
    let now = now.map_err(write("a run in place of one that was put off"))?;
    again(tx, &row, now).await
}

async fn fails_again_and_again(
    tx: &mut Transaction<'_, AnyDatabase>,
    job: &str,
) -> Result<bool, JournalError> {
    let failed: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT state, woken_by FROM runs WHERE job = $1 AND (dry_run = 0 OR due_at IS NOT NULL) \
         AND state NOT IN ('queued', 'skipped') ORDER BY started_at DESC, id DESC LIMIT $2) AS latest \
         WHERE state = 'failed' AND woken_by = 'resume'",
    )
    .bind(job)
    .bind(DEATHS)
    .fetch_one(&mut **tx)
    .await
    .map_err(write("a run in place of one that was put off"))?;
    Ok(failed == DEATHS)
}

async fn dies_again_and_again(
    tx: &mut Transaction<'_, AnyDatabase>,
    job: &str,
) -> Result<bool, JournalError> {
    let died: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT state, exit_code FROM runs WHERE job = $1 AND (dry_run = 0 OR due_at IS NOT NULL) \
         AND state NOT IN ('queued', 'skipped') ORDER BY started_at DESC, id DESC LIMIT $2) AS latest \
         WHERE state = 'interrupted' AND exit_code IS NULL",
    )
    .bind(job)
    .bind(DEATHS)
    .fetch_one(&mut **tx)
    .await
    .map_err(write("a look at dead runs"))?;
    Ok(died == DEATHS)
}

/// Asks for the same once more, now.
async fn again(
    tx: &mut Transaction<'_, AnyDatabase>,
    dead: &AnyRow,
    now: Timestamp,
) -> Result<(), JournalError> {
    let failed = write("a run in place of a dead one");
    let job: String = dead.try_get("job").map_err(&failed)?;
    let kind: String = dead.try_get("kind").map_err(&failed)?;
    let asked: Option<String> = dead.try_get("asked").map_err(&failed)?;
    let asked_in: Option<String> = dead.try_get("asked_in").map_err(&failed)?;
    let row = RequestRow {
        job: &job,
        kind: &kind,
        woken_by: "resume",
        asked: asked.as_deref(),
        due_at: now,
        asked_in: asked_in.as_deref(),
    };
    insert_request(tx, &row, now).await.map_err(failed)?;
    Ok(())
}
