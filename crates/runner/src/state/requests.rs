//! Requests for runs. A request is a row of `runs` that waits, unique by job and tick; what is told of the run goes back to whoever
//! asked for it, who may also ask it to end.

use jiff::Timestamp;
use sqlx::{Any as AnyDatabase, Row as _, Transaction};

use super::{State, StateError, error::write};
use crate::engine::{Asked, JournalError, RunId, RunKey};

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

/// What became of the request to end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and is taken away.
    Waiting,
    /// It goes on, and ends as after a signal.
    Running,
}

impl State {
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
}

/// A request, as it is written.
pub(super) struct RequestRow<'a> {
    pub(super) job: &'a str,
    pub(super) kind: &'a str,
    pub(super) woken_by: &'a str,
    pub(super) asked: Option<&'a str>,
    pub(super) due_at: Timestamp,
    pub(super) asked_in: Option<&'a str>,
}

/// Writes a request down; it waits from then on.
pub(super) async fn insert_request(
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
