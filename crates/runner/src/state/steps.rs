//! Steps and their attempts. Each write holds only while the run is ours (its fence) and running: it locks the run's row, so
//! nobody takes the run over between looking and writing.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use onboarding_core::{ids::AwsAccountId, plan::Step, stackset_sync::stray_policies::put_back};
use serde_json::Value;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError, error::write};
use crate::engine::{AttemptEnd, AttemptStart, JournalError, RunKey, StepEnd};

/// A step of a run, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StepRow {
    /// Its id.
    pub id: String,
    /// What it does.
    pub action: String,
    /// Why.
    pub reason: String,
    /// How much it can hurt.
    pub risk: String,
    /// The accounts that it works on.
    pub accounts: Vec<AwsAccountId>,
    /// `planned`, `running`, or its outcome.
    pub state: String,
    /// What it remembers across a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<Value>,
    /// What was done, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The AWS CLI commands, for its account, that put back what it took away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub put_back: Vec<String>,
    /// When its first attempt started, in Unix milliseconds.
    pub started_at: Option<i64>,
    /// When it ended, in Unix milliseconds.
    pub ended_at: Option<i64>,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptRow>,
}

/// An attempt of a step, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AttemptRow {
    /// Counted from 1.
    pub attempt: i64,
    /// When it started, in Unix milliseconds.
    pub started_at: i64,
    /// When it ended, in Unix milliseconds; none when the process went away meanwhile.
    pub ended_at: Option<i64>,
    /// The class of the error that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    /// The error's message, or the step's note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its span, when it was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
}

impl State {
    pub(super) async fn insert_steps(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        let failed = write("the plan");
        let mut tx = self.ours(run).await?;
        let id = run.id.to_string();
        let planned: BTreeSet<&str> = steps.iter().map(|step| &*step.id).collect();
        let held = memos.keys().map(String::as_str);
        let held: BTreeSet<&str> = held.filter(|step| !planned.contains(step)).collect();
        end_memos(&mut tx, &id, &held).await.map_err(&failed)?;
        for (position, step) in (0_i64..).zip(steps) {
            let accounts = serde_json::to_string(&step.accounts).map_err(write("the plan"))?;
            let risk = serde_json::to_value(step.risk).map_err(write("the plan"))?;
            sqlx::query(
                "INSERT INTO steps (run_id, step_id, position, action, reason, risk, accounts, payload, state, memo) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'planned', $9)",
            )
            .bind(&id)
            .bind(&step.id)
            .bind(position)
            .bind(&step.action)
            .bind(&step.reason)
            .bind(risk.as_str())
            .bind(accounts)
            .bind(step.payload.to_string())
            .bind(memos.get(&step.id).map(Value::to_string))
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    pub(super) async fn insert_attempt(
        &self,
        run: RunKey,
        start: AttemptStart<'_>,
    ) -> Result<(), JournalError> {
        let failed = write("the start of an attempt");
        let mut tx = self.ours(run).await?;
        let known = sqlx::query(
            "UPDATE steps SET state = 'running', started_at = COALESCE(started_at, $3) \
             WHERE run_id = $1 AND step_id = $2",
        )
        .bind(run.id.to_string())
        .bind(start.step)
        .bind(start.at)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        fenced(known.rows_affected(), run)?;
        sqlx::query(
            "INSERT INTO attempts (run_id, step_id, attempt, started_at, span_id) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(run.id.to_string())
        .bind(start.step)
        .bind(i64::from(start.attempt))
        .bind(start.at)
        .bind(start.span_id)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    pub(super) async fn update_memo(
        &self,
        run: RunKey,
        step: &str,
        memo: &Value,
    ) -> Result<(), JournalError> {
        let failed = write("a step's memo");
        let mut tx = self.ours(run).await?;
        let known = sqlx::query("UPDATE steps SET memo = $3 WHERE run_id = $1 AND step_id = $2")
            .bind(run.id.to_string())
            .bind(step)
            .bind(memo.to_string())
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        fenced(known.rows_affected(), run)?;
        tx.commit().await.map_err(failed)
    }

    pub(super) async fn update_attempt(
        &self,
        run: RunKey,
        end: AttemptEnd<'_>,
    ) -> Result<(), JournalError> {
        let failed = write("the end of an attempt");
        let mut tx = self.ours(run).await?;
        let known = sqlx::query(
            "UPDATE attempts SET ended_at = $4, error_class = $5, message = $6 \
             WHERE run_id = $1 AND step_id = $2 AND attempt = $3",
        )
        .bind(run.id.to_string())
        .bind(end.step)
        .bind(i64::from(end.attempt))
        .bind(end.at)
        .bind(end.error.map(|class| class.code()))
        .bind(end.message)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        fenced(known.rows_affected(), run)?;
        tx.commit().await.map_err(failed)
    }

    pub(super) async fn update_step(
        &self,
        run: RunKey,
        end: StepEnd<'_>,
    ) -> Result<(), JournalError> {
        let failed = write("the end of a step");
        let mut tx = self.ours(run).await?;
        let known = sqlx::query(
            "UPDATE steps SET state = $3, note = $4, ended_at = $5 WHERE run_id = $1 AND step_id = $2",
        )
        .bind(run.id.to_string())
        .bind(end.step)
        .bind(end.outcome.code())
        .bind(end.note)
        .bind(end.at)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        fenced(known.rows_affected(), run)?;
        tx.commit().await.map_err(failed)
    }

    /// A transaction in which the run is ours, and stays so until its end.
    pub(super) async fn ours(
        &self,
        run: RunKey,
    ) -> Result<Transaction<'static, Any>, JournalError> {
        let failed = write("the run");
        let mut tx = self.write().await.map_err(&failed)?;
        let ours = sqlx::query(
            "UPDATE runs SET fence = fence WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.to_string())
        .bind(run.fence)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        fenced(ours.rows_affected(), run)?;
        Ok(tx)
    }

    /// The steps of a run with their attempts, in the order of the plan.
    pub(super) async fn steps_of(&self, run: &str) -> Result<Vec<StepRow>, StateError> {
        let failed = StateError::query("reading the steps of a run");
        let mut attempts: BTreeMap<String, Vec<AttemptRow>> = BTreeMap::new();
        let rows =
            sqlx::query("SELECT * FROM attempts WHERE run_id = $1 ORDER BY step_id, attempt")
                .bind(run)
                .fetch_all(self.pool())
                .await
                .map_err(&failed)?;
        for row in rows {
            let step: String = row.try_get("step_id").map_err(&failed)?;
            let attempt = attempt_row(&row).map_err(&failed)?;
            attempts.entry(step).or_default().push(attempt);
        }
        let rows = sqlx::query("SELECT * FROM steps WHERE run_id = $1 ORDER BY position")
            .bind(run)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            let mut step = step_row(&row)?;
            step.attempts = attempts.remove(&step.id).unwrap_or_default();
            // One that was never begun took nothing away.
            if step.attempts.is_empty() {
                step.put_back.clear();
            }
            steps.push(step);
        }
        Ok(steps)
    }
}

/// Ends the memos of the run's job, but for those of these steps.
async fn end_memos(
    tx: &mut Transaction<'_, Any>,
    run: &str,
    held: &BTreeSet<&str>,
) -> Result<(), sqlx::Error> {
    if held.is_empty() {
        sqlx::query(
            "UPDATE steps SET memo = NULL WHERE memo IS NOT NULL AND run_id IN \
             (SELECT earlier.id FROM runs earlier JOIN runs ours ON earlier.job = ours.job WHERE ours.id = $1)",
        )
        .bind(run)
        .execute(&mut **tx)
        .await?;
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT steps.run_id, steps.step_id FROM steps JOIN runs earlier ON earlier.id = steps.run_id \
         JOIN runs ours ON earlier.job = ours.job WHERE ours.id = $1 AND steps.memo IS NOT NULL",
    )
    .bind(run)
    .fetch_all(&mut **tx)
    .await?;
    for row in rows {
        let step: String = row.try_get("step_id")?;
        if held.contains(step.as_str()) {
            continue;
        }
        let earlier: String = row.try_get("run_id")?;
        sqlx::query("UPDATE steps SET memo = NULL WHERE run_id = $1 AND step_id = $2")
            .bind(earlier)
            .bind(step)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn attempt_row(row: &AnyRow) -> Result<AttemptRow, sqlx::Error> {
    Ok(AttemptRow {
        attempt: row.try_get("attempt")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        error_class: row.try_get("error_class")?,
        message: row.try_get("message")?,
        span_id: row.try_get("span_id")?,
    })
}

fn step_row(row: &AnyRow) -> Result<StepRow, StateError> {
    let failed = StateError::query("reading the steps of a run");
    let accounts: String = row.try_get("accounts").map_err(&failed)?;
    let memo: Option<String> = row.try_get("memo").map_err(&failed)?;
    let payload: String = row.try_get("payload").map_err(&failed)?;
    let payload = Value::from_str(&payload).map_err(StateError::value("a step's payload"))?;
    Ok(StepRow {
        id: row.try_get("step_id").map_err(&failed)?,
        action: row.try_get("action").map_err(&failed)?,
        reason: row.try_get("reason").map_err(&failed)?,
        risk: row.try_get("risk").map_err(&failed)?,
        accounts: serde_json::from_str(&accounts)
            .map_err(StateError::value("a step's accounts"))?,
        state: row.try_get("state").map_err(&failed)?,
        memo: memo
            .map(|memo| Value::from_str(&memo).map_err(StateError::value("a step's memo")))
            .transpose()?,
        note: row.try_get("note").map_err(&failed)?,
        put_back: put_back(&payload),
        started_at: row.try_get("started_at").map_err(&failed)?,
        ended_at: row.try_get("ended_at").map_err(&failed)?,
        attempts: Vec::new(),
    })
}

/// A write that changed no row found another fence or state.
pub(super) fn fenced(rows: u64, run: RunKey) -> Result<(), JournalError> {
    if rows == 0 {
        Err(JournalError::Fenced(run.id))
    } else {
        Ok(())
    }
}
