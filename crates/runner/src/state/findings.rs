//! The findings of a job that are not gone: since when they are there, and as they were seen last.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::plan::{Finding, Remembered, Unjudged};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};

impl State {
    /// The findings of the job's runs that are not gone, by id.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn known_findings(
        &self,
        job: &str,
    ) -> Result<BTreeMap<String, Remembered>, StateError> {
        let failed = StateError::query("reading since when findings are there");
        let rows = sqlx::query("SELECT * FROM findings WHERE job = $1")
            .bind(job)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        rows.iter()
            .map(|row| {
                let known = remembered(row)?;
                Ok((known.finding.id.clone(), known))
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(failed)
    }
}

/// A row as it was written. One of an earlier version says no more than its id.
fn remembered(row: &AnyRow) -> Result<Remembered, sqlx::Error> {
    let id: String = row.try_get("id")?;
    let (first_seen, last_seen) = (row.try_get("first_seen")?, row.try_get("last_seen")?);
    let finding: Option<String> = row.try_get("finding")?;
    let profiles: Option<String> = row.try_get("profiles")?;
    let known = Remembered::by_id(&id, first_seen, last_seen);
    let finding = finding.and_then(|text| serde_json::from_str::<Finding>(&text).ok());
    let finding = finding.map_or(known.finding, |finding| Finding {
        first_seen: Some(first_seen),
        last_seen: Some(last_seen),
        ..finding
    });
    let profiles = profiles.and_then(|text| serde_json::from_str::<BTreeSet<String>>(&text).ok());
    Ok(Remembered {
        finding,
        profiles: profiles.unwrap_or_default(),
    })
}

/// Notes what a run of a job has found at a moment (Unix milliseconds). What it looked for and did not find is forgotten.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    (findings, unjudged): (&[Finding], Option<&Unjudged>),
    at: i64,
) -> Result<(), sqlx::Error> {
    let now = at.div_euclid(1000);
    let profiles = unjudged.map(|unjudged| &unjudged.only_profiles);
    let profiles = profiles.filter(|profiles| !profiles.is_empty());
    let profiles = profiles.and_then(|profiles| serde_json::to_string(profiles).ok());
    for finding in findings {
        sqlx::query(
            "INSERT INTO findings (job, id, first_seen, last_seen, run_id, finding, profiles) \
             SELECT job, $2, $3, $3, $1, $4, $5 FROM runs WHERE id = $1 \
             ON CONFLICT (job, id) DO UPDATE SET last_seen = excluded.last_seen, run_id = excluded.run_id, \
             finding = excluded.finding, profiles = excluded.profiles",
        )
        .bind(run)
        .bind(&finding.id)
        .bind(now)
        .bind(serde_json::to_string(finding).ok())
        .bind(profiles.clone())
        .execute(&mut **tx)
        .await?;
    }
    let left = sqlx::query(
        "SELECT * FROM findings WHERE run_id <> $1 AND job = (SELECT job FROM runs WHERE id = $1)",
    )
    .bind(run)
    .fetch_all(&mut **tx)
    .await?;
    for row in &left {
        let known = remembered(row)?;
        if unjudged.is_some_and(|unjudged| unjudged.has(&known)) {
            continue;
        }
        sqlx::query(
            "DELETE FROM findings WHERE id = $2 AND job = (SELECT job FROM runs WHERE id = $1)",
        )
        .bind(run)
        .bind(&known.finding.id)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
