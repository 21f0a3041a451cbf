//! Since when the findings of a job are there.

use std::collections::BTreeMap;

use onboarding_core::plan::Finding;
use sqlx::{Any, Row as _, Transaction};

use super::{State, StateError};

impl State {
    /// When each finding of the job's last run was seen first, in Unix seconds, by its id.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn findings_since(&self, job: &str) -> Result<BTreeMap<String, i64>, StateError> {
        let failed = StateError::query("reading since when findings are there");
        let rows = sqlx::query("SELECT id, first_seen FROM findings WHERE job = $1")
            .bind(job)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, row.try_get("first_seen")?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(failed)
    }
}

/// Notes what a run of a job has found at a moment (Unix milliseconds). What it did not find is forgotten.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    findings: &[Finding],
    at: i64,
) -> Result<(), sqlx::Error> {
    let now = at.div_euclid(1000);
    for finding in findings {
        sqlx::query(
            "INSERT INTO findings (job, id, first_seen, last_seen, run_id) \
             SELECT job, $2, $3, $3, $1 FROM runs WHERE id = $1 \
             ON CONFLICT (job, id) DO UPDATE SET last_seen = excluded.last_seen, run_id = excluded.run_id",
        )
        .bind(run)
        .bind(&finding.id)
        .bind(now)
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query(
        "DELETE FROM findings WHERE run_id <> $1 AND job = (SELECT job FROM runs WHERE id = $1)",
    )
    .bind(run)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
