//! Requests for runs, and what the scheduler remembers of each job. A request is a row of `runs` that waits: unique by job and
//! tick, taken up by whoever has the job's lock, and raised to the next fence when it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
    sync::Arc,
};

use jiff::Timestamp;
use onboarding_core::notify::Notification;
use sqlx::{Any as AnyDatabase, Row as _, Transaction, any::AnyRow};

use super::{
    State, StateError, advisory::Wait, error::write, job_ends, locks::Lock, notifications,
};
use crate::{
    engine::{Asked, Hold, JournalError, RunId, RunKey},
    schedule::{Decision, Standing},
};

/// A run that is asked for.
#[derive(Debug, Clone)]
pub struct NewRequest<'a> {
    /// The job.
    pub job: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// What asks: `operator`, `event`, `resume`.
    pub woken_by: &'a str,
    /// What is asked for beside the job's definition.
    pub asked: Asked,
    /// Not before.
    pub due_at: Timestamp,
    /// The span that asks (W3C traceparent), when it is traced.
    pub asked_in: Option<String>,
}

/// What is told of a run to whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The JSON document.
    pub document: String,
    /// What a terminal shows.
    pub text: String,
}

/// How it stands with a run that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// `queued`, `running`, or how it ended.
    pub state: String,
    /// Its exit code, when it has ended.
    pub exit: Option<i64>,
    /// Why it failed as a whole, or was not run.
    pub error: Option<String>,
    /// What is told of it, as soon as that is there.
    pub told: Option<Told>,
}

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

/// What became of the request to end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and is taken away.
    Waiting,
    /// It goes on, and ends as after a signal.
    Running,
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

    /// Asks for a run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn ask_for_run(
        &self,
        request: &NewRequest<'_>,
        now: Timestamp,
    ) -> Result<RunId, StateError> {
        let failed = StateError::query("asking for a run");
        let asked = serde_json::to_string(&request.asked)
            .map_err(StateError::value("what is asked for"))?;
        let row = RequestRow {
            job: request.job,
            kind: request.kind,
            woken_by: request.woken_by,
            asked: Some(&asked),
            due_at: request.due_at,
            asked_in: request.asked_in.as_deref(),
        };
        let mut tx = self.write().await.map_err(&failed)?;
        let id = insert_request(&mut tx, &row, now).await.map_err(&failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(id)
    }

    /// Writes down what is told of a run to whoever asked for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn tell_of_run(&self, id: RunId, told: &Told) -> Result<(), StateError> {
        sqlx::query("UPDATE runs SET told_document = $2, told_text = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(&told.document)
            .bind(&told.text)
            .execute(self.pool())
            .await
            .map_err(StateError::query("telling of a run"))?;
        Ok(())
    }

    /// How it stands with a run that somebody waits for.
    ///
    /// # Errors
    /// When the state cannot be read, or has no such run.
    pub async fn await_run(&self, id: RunId) -> Result<Awaited, StateError> {
        let failed = StateError::query("looking at a run");
        let row = sqlx::query(
            "SELECT state, exit_code, error, told_document, told_text FROM runs WHERE id = $1",
        )
        .bind(id.to_string())
        .fetch_one(self.pool())
        .await
        .map_err(&failed)?;
        let document: Option<String> = row.try_get("told_document").map_err(&failed)?;
        let text: Option<String> = row.try_get("told_text").map_err(&failed)?;
        Ok(Awaited {
            state: row.try_get("state").map_err(&failed)?,
            exit: row.try_get("exit_code").map_err(&failed)?,
            error: row.try_get("error").map_err(&failed)?,
            told: document
                .zip(text)
                .map(|(document, text)| Told { document, text }),
        })
    }

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

    /// Ends a run that was taken up and could not be begun, with what targets are told of it.
    ///
    /// # Errors
    /// When it cannot be written, or the run is not ours any more.
    pub async fn end_unbegun(
        &self,
        run: RunKey,
        state: &str,
        exit: u8,
        why: &str,
        told: &[Notification],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let failed = write("the end of a run that did not begin");
        let mut tx = self.write().await.map_err(&failed)?;
        let ended = sqlx::query(
            "UPDATE runs SET state = $3, exit_code = $4, error = $5, ended_at = $6, lease_owner = NULL \
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.to_string())
        .bind(run.fence)
        .bind(state)
        .bind(i64::from(exit))
        .bind(why)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        super::steps::fenced(ended.rows_affected(), run)?;
        if state != "skipped" {
            job_ends::note_unbegun(&mut tx, &run.id.to_string(), exit, now.as_millisecond())
                .await
                .map_err(&failed)?;
        }
        notifications::note(&mut tx, told, now.as_millisecond())
            .await
            .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    /// Asks for a run of each job whose run has died with its process, unless one waits already, somebody had run it by hand, or it
    /// dies again and again. Gives the runs that died.
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

    /// Takes away runs that were due before this and wait, of jobs that are none of these: nobody who looks at this state seems to
    /// know them. Gives their jobs.
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
            "SELECT DISTINCT job FROM runs WHERE state = 'queued' AND due_at < $1",
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
                "UPDATE runs SET state = 'skipped', ended_at = $3, error = 'no daemon knew the job' \
                 WHERE job = $1 AND state = 'queued' AND due_at < $2",
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

    /// Asks a run to end: one that waits is taken away.
    ///
    /// # Errors
    /// When it cannot be written, or the run neither waits nor goes on.
    pub async fn cancel_run(
        &self,
        id: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Cancelled>, StateError> {
        let failed = StateError::query("cancelling a run");
        let waiting = sqlx::query(
            "UPDATE runs SET state = 'cancelled', ended_at = $3, cancelled_by = $2, error = $4 \
             WHERE id = $1 AND state = 'queued'",
        )
        .bind(id)
        .bind(by)
        .bind(now.as_millisecond())
        .bind(format!("cancelled by {by}"))
        .execute(self.pool())
        .await
        .map_err(&failed)?;
        if waiting.rows_affected() > 0 {
            return Ok(Some(Cancelled::Waiting));
        }
        let running =
            sqlx::query("UPDATE runs SET cancelled_by = $2 WHERE id = $1 AND state = 'running'")
                .bind(id)
                .bind(by)
                .execute(self.pool())
                .await
                .map_err(&failed)?;
        Ok((running.rows_affected() > 0).then_some(Cancelled::Running))
    }

    /// Who asked a run to end.
    pub(super) async fn cancelled_by(&self, run: RunKey) -> Result<Option<String>, JournalError> {
        sqlx::query_scalar("SELECT cancelled_by FROM runs WHERE id = $1")
            .bind(run.id.to_string())
            .fetch_one(self.pool())
            .await
            .map_err(write("a look at who ended the run"))
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

/// A request, as it is written.
struct RequestRow<'a> {
    job: &'a str,
    kind: &'a str,
    woken_by: &'a str,
    asked: Option<&'a str>,
    due_at: Timestamp,
    asked_in: Option<&'a str>,
}

async fn insert_request(
    tx: &mut Transaction<'_, AnyDatabase>,
    request: &RequestRow<'_>,
    now: Timestamp,
) -> Result<RunId, sqlx::Error> {
    let id = RunId::new();
    sqlx::query(
        "INSERT INTO runs (id, job, kind, woken_by, dry_run, state, started_at, due_at, asked, asked_in, fence) \
         VALUES ($1, $2, $3, $4, 0, 'queued', $5, $6, $7, $8, 0)",
    )
    .bind(id.to_string())
    .bind(request.job)
    .bind(request.kind)
    .bind(request.woken_by)
    .bind(now.as_millisecond())
    .bind(request.due_at.as_millisecond())
    .bind(request.asked)
    .bind(request.asked_in)
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// Asks for the same run once more, unless one of its job waits already, or somebody has ended it: that is wanted no more.
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
    let now = Timestamp::from_millisecond(now);
    let now = now.map_err(write("a run in place of one that was put off"))?;
    again(tx, &row, now).await
}

/// How many runs of a job may die one after the other until only its schedule tries again.
const DEATHS: i64 = 3;

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

/// Who paused a job, and why.
fn pause(row: &AnyRow) -> Result<Option<String>, sqlx::Error> {
    let by: Option<String> = row.try_get("paused_by")?;
    let reason: Option<String> = row.try_get("pause_reason")?;
    Ok(by.map(|by| match reason {
        Some(reason) => format!("by {by}: {reason}"),
        None => format!("by {by}"),
    }))
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
