//! Plans that wait for an approval, and what became of them.

use jiff::Timestamp;
use onboarding_core::plan::consent::ConsentedStep;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError, error::write};
use crate::engine::{JournalError, PlanDocument, RunId, RunKey};

/// A plan in the state.
#[derive(Debug, Clone)]
pub struct StoredPlan {
    /// The run that made it.
    pub run: String,
    /// The plan, or why it cannot be read: another version may have written it.
    pub document: Result<PlanDocument, String>,
    /// `waiting`, `replaced`, `approved`, `applied` or `void`.
    pub state: String,
    /// Who approved it, when, and what they said.
    pub approval: Option<ApprovalRow>,
}

/// What became of a plan, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PlanRow {
    /// `waiting`, `replaced`, `approved`, `applied` or `void`.
    pub state: String,
    /// Until when it can be approved and applied, in Unix milliseconds.
    pub expires_at: i64,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRow>,
    /// The run that applied it, or found it void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    /// Its steps, with why each account was due.
    pub steps: Vec<ConsentedStep>,
}

/// An approval, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApprovalRow {
    /// Who.
    pub by: String,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The newest plan of a job that is in a state and has not expired.
const OF_JOB: &str = "SELECT * FROM plans WHERE job = $1 AND state = $2 AND expires_at > $3 \
                      ORDER BY made_at DESC LIMIT 1";

impl State {
    pub(super) async fn insert_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError> {
        let failed = write("the plan that waits for an approval");
        let document =
            serde_json::to_string(plan).map_err(write("the plan that waits for an approval"))?;
        let mut tx = self.ours(run).await?;
        let waiting = sqlx::query(OF_JOB)
            .bind(&plan.basis.job)
            .bind("waiting")
            .bind(plan.made_at.as_millisecond())
            .fetch_optional(&mut *tx)
            .await
            .map_err(&failed)?;
        let waiting = waiting.as_ref().map(stored).transpose();
        let waiting = waiting.map_err(&failed)?;
        // Somebody may be looking at it: the same plan does not get another name.
        if let Some(Ok(waiting)) = waiting.map(|plan| plan.document)
            && waiting.does_the_same(plan)
        {
            tx.commit().await.map_err(failed)?;
            return Ok(waiting);
        }
        sqlx::query("UPDATE plans SET state = 'replaced' WHERE job = $1 AND state = 'waiting'")
            .bind(&plan.basis.job)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        sqlx::query(
            "INSERT INTO plans (run_id, job, document, made_at, expires_at, state) \
             VALUES ($1, $2, $3, $4, $5, 'waiting')",
        )
        .bind(run.id.to_string())
        .bind(&plan.basis.job)
        .bind(document)
        .bind(plan.made_at.as_millisecond())
        .bind(plan.expires_at.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(plan.clone())
    }

    /// The plan of the run whose id begins like this.
    ///
    /// # Errors
    /// When the state cannot be read, or not exactly one run with a plan matches.
    pub async fn plan(&self, id: &str) -> Result<StoredPlan, StateError> {
        let failed = StateError::query("reading a plan");
        let mut rows =
            sqlx::query("SELECT * FROM plans WHERE substr(run_id, 1, length($1)) = $1 LIMIT 2")
                .bind(id)
                .fetch_all(self.pool())
                .await
                .map_err(&failed)?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => stored(&row).map_err(failed),
            (_, others) => Err(StateError::NoSuchPlan {
                id: id.to_owned(),
                found: if others == 0 { 0 } else { 2 },
            }),
        }
    }

    /// What became of a run's plan; none when it kept none.
    pub(super) async fn plan_row(&self, run: &str) -> Result<Option<PlanRow>, StateError> {
        let failed = StateError::query("reading a plan");
        let row = sqlx::query("SELECT * FROM plans WHERE run_id = $1")
            .bind(run)
            .fetch_optional(self.pool())
            .await
            .map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        let plan = stored(&row).map_err(&failed)?;
        Ok(Some(PlanRow {
            state: plan.state,
            expires_at: row.try_get("expires_at").map_err(&failed)?,
            approval: plan.approval,
            applied_by: row.try_get("applied_by").map_err(failed)?,
            steps: plan.document.map(|plan| plan.steps).unwrap_or_default(),
        }))
    }

    /// The plan of a job that was approved, not applied to its end, and has not expired. One that cannot be read any more is
    /// none.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn approved_plan(
        &self,
        job: &str,
        now: Timestamp,
    ) -> Result<Option<PlanDocument>, StateError> {
        let failed = StateError::query("reading a plan");
        let row = sqlx::query(OF_JOB)
            .bind(job)
            .bind("approved")
            .bind(now.as_millisecond())
            .fetch_optional(self.pool())
            .await
            .map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        let StoredPlan { run, document, .. } = stored(&row).map_err(failed)?;
        if let Err(why) = &document {
            tracing::warn!(run.id = %run, "an approved plan cannot be applied: {why}");
        }
        Ok(document.ok())
    }

    /// Notes who approved a plan; other plans of the job go no further. Tells whether it still waited: of two who approve it,
    /// one does.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn approve_plan(
        &self,
        run: &str,
        job: &str,
        approval: &ApprovalRow,
    ) -> Result<bool, StateError> {
        let failed = StateError::query("approving a plan");
        let mut tx = self.write().await.map_err(&failed)?;
        let changed = sqlx::query(
            "UPDATE plans SET state = 'approved', approved_by = $2, approved_at = $3, comment = $4 \
             WHERE run_id = $1 AND state = 'waiting'",
        )
        .bind(run)
        .bind(&approval.by)
        .bind(approval.at)
        .bind(&approval.comment)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        if changed.rows_affected() == 1 {
            sqlx::query(
                "UPDATE plans SET state = 'replaced' \
                 WHERE job = $1 AND run_id <> $2 AND state IN ('waiting', 'approved')",
            )
            .bind(job)
            .bind(run)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(changed.rows_affected() == 1)
    }

    /// Lets an approved plan wait again that no run has begun to apply but this one, which came to nothing.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn withdraw_approval(&self, run: &str, by: RunId) -> Result<(), StateError> {
        let failed = StateError::query("withdrawing an approval");
        let mut tx = self.write().await.map_err(&failed)?;
        sqlx::query(
            "UPDATE plans SET state = 'waiting', approved_by = NULL, approved_at = NULL, comment = NULL, applied_by = NULL \
             WHERE run_id = $1 AND state = 'approved' AND (applied_by IS NULL OR applied_by = $2)",
        )
        .bind(run)
        .bind(by.to_string())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}

/// Notes which run applies the plan of this run. Fails unless it is approved and not applied to its end.
pub(super) async fn still_approved(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    by: RunId,
) -> Result<(), JournalError> {
    let failed = write("the start of a run");
    let begun =
        sqlx::query("UPDATE plans SET applied_by = $2 WHERE run_id = $1 AND state = 'approved'")
            .bind(run)
            .bind(by.to_string())
            .execute(&mut **tx)
            .await
            .map_err(&failed)?;
    if begun.rows_affected() == 1 {
        return Ok(());
    }
    let state: Option<String> = sqlx::query_scalar("SELECT state FROM plans WHERE run_id = $1")
        .bind(run)
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed)?;
    Err(JournalError::PlanEnded {
        run: run.to_owned(),
        state: state.unwrap_or_else(|| "gone".to_owned()),
    })
}

/// Notes what became of an approved plan, so that it is not applied again.
pub(super) async fn end(
    tx: &mut Transaction<'static, Any>,
    plan: &str,
    became: &str,
    by: RunId,
) -> Result<(), JournalError> {
    sqlx::query(
        "UPDATE plans SET state = $2, applied_by = $3 WHERE run_id = $1 AND state = 'approved'",
    )
    .bind(plan)
    .bind(became)
    .bind(by.to_string())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(write("what became of a plan"))
}

fn stored(row: &AnyRow) -> Result<StoredPlan, sqlx::Error> {
    let document: String = row.try_get("document")?;
    let by: Option<String> = row.try_get("approved_by")?;
    let at: Option<i64> = row.try_get("approved_at")?;
    let comment = row.try_get("comment")?;
    Ok(StoredPlan {
        run: row.try_get("run_id")?,
        document: PlanDocument::read(&document),
        state: row.try_get("state")?,
        approval: by.zip(at).map(|(by, at)| ApprovalRow { by, at, comment }),
    })
}
