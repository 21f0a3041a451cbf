//! What the last runs of each job came to, in one row for each job: written in the transactions that end runs, so that metrics need not
//! look through the runs.

use std::collections::BTreeMap;

use onboarding_core::{
    plan::{AccountRow, Finding, Severity, Summary},
    status::Standing,
};
use serde::de::DeserializeOwned;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};
use crate::engine::{RunEnd, RunStatus};

/// Accounts by standing and reason code.
pub type Standings = BTreeMap<String, BTreeMap<String, u64>>;

/// What the last runs of a job came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobEnds {
    /// When a run ended last by itself, in Unix milliseconds.
    pub ended_at: Option<i64>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// When a run ended last in which nothing failed, in Unix milliseconds.
    pub succeeded_at: Option<i64>,
    /// The accounts as the last run left them that looked at them.
    pub accounts: Option<Summary>,
    /// The same by standing and reason.
    pub ledger: Standings,
    /// The findings of the last run that looked at everything, by severity. Not known of runs before this was written down.
    pub findings: Option<BTreeMap<Severity, u64>>,
    /// Runs that have died with their process since one ended by itself.
    pub deaths: u64,
}

/// All that is known of the jobs; one row for each.
pub(super) const READ: &str = "SELECT * FROM job_ends";

impl State {
    /// What the last runs of each job came to.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) async fn job_ends(&self) -> Result<Vec<(String, JobEnds)>, StateError> {
        let rows = sqlx::query(READ)
            .fetch_all(self.pool())
            .await
            .map_err(StateError::query("reading what the last runs came to"))?;
        rows.iter().map(job_ends).collect()
    }
}

/// Notes how a run of a job has ended by itself, unless an operator only looked with it.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    end: &RunEnd<'_>,
) -> Result<(), sqlx::Error> {
    let has_looked =
        end.error.is_none() && !matches!(end.status, RunStatus::Refused | RunStatus::Interrupted);
    let summary = has_looked.then(|| json(&end.summary)).transpose()?;
    let ledger = has_looked.then(|| json(&counted(end.ledger))).transpose()?;
    let findings = end.looked.then(|| json(&by_severity(end.findings)));
    let findings = findings.transpose()?;
    write(tx, run, (end.exit, end.at), [summary, ledger, findings]).await
}

/// Notes that a run of a job could not be begun.
pub(super) async fn note_unbegun(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    exit: u8,
    at: i64,
) -> Result<(), sqlx::Error> {
    write(tx, run, (exit, at), [None, None, None]).await
}

async fn write(
    tx: &mut Transaction<'static, Any>,
    run: &str,
    (exit, at): (u8, i64),
    [summary, ledger, findings]: [Option<String>; 3],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO job_ends (job, ended_at, exit_code, succeeded_at, summary, ledger, findings, deaths) \
         SELECT job, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT), \
         CAST($7 AS TEXT), 0 FROM runs WHERE id = $1 AND (dry_run = 0 OR woken_by <> 'operator') \
         ON CONFLICT (job) DO UPDATE SET ended_at = excluded.ended_at, exit_code = excluded.exit_code, \
         succeeded_at = COALESCE(excluded.succeeded_at, job_ends.succeeded_at), \
         summary = COALESCE(excluded.summary, job_ends.summary), ledger = COALESCE(excluded.ledger, job_ends.ledger), \
         findings = COALESCE(excluded.findings, job_ends.findings), deaths = 0",
    )
    .bind(run)
    .bind(at)
    .bind(i64::from(exit))
    .bind(matches!(exit, 0 | 3).then_some(at))
    .bind(summary)
    .bind(ledger)
    .bind(findings)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Notes that so many runs of a job have died with their process.
pub(super) async fn note_deaths(
    tx: &mut Transaction<'static, Any>,
    job: &str,
    deaths: usize,
) -> Result<(), sqlx::Error> {
    if deaths == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO job_ends (job, deaths) VALUES ($1, $2) \
         ON CONFLICT (job) DO UPDATE SET deaths = job_ends.deaths + excluded.deaths",
    )
    .bind(job)
    .bind(i64::try_from(deaths).unwrap_or(i64::MAX))
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The accounts by standing and reason.
fn counted(rows: &[AccountRow]) -> BTreeMap<Standing, BTreeMap<&'static str, u64>> {
    let mut counted: BTreeMap<_, BTreeMap<_, u64>> = BTreeMap::new();
    for row in rows {
        let by_reason = counted.entry(row.standing).or_default();
        *by_reason.entry(row.reason.code()).or_default() += 1;
    }
    counted
}

fn by_severity(findings: &[Finding]) -> BTreeMap<Severity, u64> {
    let mut counted = BTreeMap::new();
    for finding in findings {
        *counted.entry(finding.severity).or_default() += 1;
    }
    counted
}

fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn job_ends(row: &AnyRow) -> Result<(String, JobEnds), StateError> {
    let failed = StateError::query("reading what the last runs came to");
    let deaths: i64 = row.try_get("deaths").map_err(&failed)?;
    let ends = JobEnds {
        ended_at: row.try_get("ended_at").map_err(&failed)?,
        exit_code: row.try_get("exit_code").map_err(&failed)?,
        succeeded_at: row.try_get("succeeded_at").map_err(&failed)?,
        accounts: parsed(row, "summary")?,
        ledger: parsed(row, "ledger")?.unwrap_or_default(),
        findings: parsed(row, "findings")?,
        deaths: u64::try_from(deaths).unwrap_or_default(),
    };
    Ok((row.try_get("job").map_err(failed)?, ends))
}

fn parsed<T: DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, StateError> {
    let text: Option<String> = row
        .try_get(column)
        .map_err(StateError::query("reading what the last runs came to"))?;
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed.map_err(StateError::value("what the last runs came to"))
}
