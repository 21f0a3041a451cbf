//! Plans that wait for an approval, and what became of them.

use jiff::Timestamp;
use onboarding_core::plan::Step;
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError, error::write};
use crate::engine::{JournalError, PlanDocument, RunId, RunKey};

/// A plan in the state.
#[derive(Debug, Clone)]
pub struct StoredPlan {
    /// The plan.
    pub document: PlanDocument,
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
    /// Its steps.
    pub steps: Vec<Step>,
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

impl State {
    pub(super) async fn insert_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<(), JournalError> {
        let failed = write("the plan that waits for an approval");
        let document =
            serde_json::to_string(plan).map_err(write("the plan that waits for an approval"))?;
        let mut tx = self.ours(run).await?;
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
        tx.commit().await.map_err(failed)
    }

    /// The plan of the run whose id begins like this.
    ///
    /// # Errors
    /// When the state cannot be read, or not exactly one run with a plan matches.
    pub async fn plan(&self, id: &str) -> Result<StoredPlan, StateError> {
        let mut rows =
            sqlx::query("SELECT * FROM plans WHERE substr(run_id, 1, length($1)) = $1 LIMIT 2")
                .bind(id)
                .fetch_all(self.pool())
                .await
                .map_err(StateError::query("reading a plan"))?;
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => stored(&row),
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
        let plan = stored(&row)?;
        let steps = plan.document.steps.into_iter();
        Ok(Some(PlanRow {
            state: plan.state,
            expires_at: plan.document.expires_at.as_millisecond(),
            approval: plan.approval,
            applied_by: row.try_get("applied_by").map_err(failed)?,
            steps: steps.map(|step| step.step).collect(),
        }))
    }

    /// The plan of a job that was approved, not applied to its end, and has not expired.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn approved_plan(
        &self,
        job: &str,
        now: Timestamp,
    ) -> Result<Option<StoredPlan>, StateError> {
        let row = sqlx::query(
            "SELECT * FROM plans WHERE job = $1 AND state = 'approved' AND expires_at > $2 \
             ORDER BY approved_at DESC LIMIT 1",
        )
        .bind(job)
        .bind(now.as_millisecond())
        .fetch_optional(self.pool())
        .await
        .map_err(StateError::query("reading a plan"))?;
        row.as_ref().map(stored).transpose()
    }

    /// Notes who approved a plan. Tells whether it still waited: of two who approve it, one does.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn approve_plan(
        &self,
        run: &str,
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
        tx.commit().await.map_err(failed)?;
        Ok(changed.rows_affected() == 1)
    }

    /// Notes what became of an approved plan, `applied` or `void`, so that it is not applied again.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn plan_ended(&self, run: &str, state: &str, by: RunId) -> Result<(), StateError> {
        let failed = StateError::query("noting what became of a plan");
        let mut tx = self.write().await.map_err(&failed)?;
        sqlx::query(
            "UPDATE plans SET state = $2, applied_by = $3 WHERE run_id = $1 AND state = 'approved'",
        )
        .bind(run)
        .bind(state)
        .bind(by.to_string())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}

fn stored(row: &AnyRow) -> Result<StoredPlan, StateError> {
    let failed = StateError::query("reading a plan");
    let document: String = row.try_get("document").map_err(&failed)?;
    let by: Option<String> = row.try_get("approved_by").map_err(&failed)?;
    let at: Option<i64> = row.try_get("approved_at").map_err(&failed)?;
    let comment = row.try_get("comment").map_err(&failed)?;
    Ok(StoredPlan {
        document: serde_json::from_str(&document).map_err(StateError::value("a plan"))?,
        state: row.try_get("state").map_err(&failed)?,
        approval: by.zip(at).map(|(by, at)| ApprovalRow { by, at, comment }),
    })
}
