//! Runs that were taken up and have not begun: they have done nothing, so they wait again. What kept them may be the state alone, which
//! is nobody's death.

use sqlx::{Any, AssertSqlSafe, Transaction};

use super::{State, error::write};
use crate::engine::{JournalError, RunId, RunKey};

/// How often one is taken up without beginning until it counts as dead: whatever keeps it from that does not pass.
const TAKEN_UP: i64 = 3;

/// Those that may wait again: whoever wants one no more has said so.
const LEFT: &str =
    "state = 'running' AND begun_at IS NULL AND due_at IS NOT NULL AND cancelled_by IS NULL";

/// One run that events ask for waits for a job at most.
const STANDS_FOR_IT: &str = "events IS NOT NULL AND EXISTS (SELECT 1 FROM runs other WHERE other.job = runs.job \
     AND other.state = 'queued' AND other.events IS NOT NULL)";

/// Which of them.
enum Which<'a> {
    /// This one, while it is ours.
    Ours(RunKey),
    /// Those of a job, but for one that is about to begin. Nobody else has the job's lock.
    Of(&'a str, Option<RunId>),
}

impl State {
    /// Lets a run wait again that was taken up and does not begin, for whoever takes it up next.
    ///
    /// # Errors
    /// When it cannot be written. Then whoever looks for dead runs does it.
    pub async fn put_back(&self, run: RunKey, now: i64) -> Result<(), JournalError> {
        let failed = write("that a run waits again");
        let mut tx = self.write().await.map_err(&failed)?;
        let put_back = again(&mut tx, Which::Ours(run), now).await;
        put_back.map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}

/// Lets all runs of a job wait again that were taken up and have not begun, but for one that is about to.
pub(super) async fn wait_again(
    tx: &mut Transaction<'static, Any>,
    job: &str,
    but: Option<RunId>,
    now: i64,
) -> Result<(), JournalError> {
    let runs = again(tx, Which::Of(job, but), now).await;
    for run in runs.map_err(write("that a run waits again"))? {
        tracing::warn!(
            run.id = run,
            job.name = job,
            "a run that was taken up has not begun; it waits again"
        );
    }
    Ok(())
}

async fn again(
    tx: &mut Transaction<'static, Any>,
    which: Which<'_>,
    now: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let (which, name, fence, but) = match which {
        Which::Ours(run) => (
            "id = $1 AND fence = $2 AND id <> $3",
            run.id.to_string(),
            run.fence,
            None,
        ),
        Which::Of(job, but) => (
            "job = $1 AND fence <= $2 AND id <> $3",
            job.to_owned(),
            TAKEN_UP,
            but,
        ),
    };
    let but = but.map(|run| run.to_string()).unwrap_or_default();
    let left_out = format!(
        "UPDATE runs SET state = 'skipped', ended_at = $4, lease_owner = NULL, \
         error = 'a later run that events ask for waits' WHERE {LEFT} AND {which} AND {STANDS_FOR_IT}"
    );
    sqlx::query(AssertSqlSafe(left_out))
        .bind(&name)
        .bind(fence)
        .bind(&but)
        .bind(now)
        .execute(&mut **tx)
        .await?;
    let again = format!(
        "UPDATE runs SET state = 'queued', lease_owner = NULL WHERE {LEFT} AND {which} RETURNING id"
    );
    sqlx::query_scalar(AssertSqlSafe(again))
        .bind(name)
        .bind(fence)
        .bind(but)
        .fetch_all(&mut **tx)
        .await
}
