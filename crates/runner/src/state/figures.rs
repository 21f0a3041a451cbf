//! What the state says in figures, for metrics. Reads only.

use std::collections::BTreeMap;

use onboarding_core::plan::{Severity, Summary};
use serde::Deserialize;
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError};

/// The state in figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// By job, for those that have runs, findings or a place in the schedule.
    pub jobs: BTreeMap<String, JobFigures>,
    /// Whether a freeze is in force.
    pub is_frozen: bool,
    /// Accounts whose stack instance failed and is tried again later.
    pub retrying: u64,
    /// Since when the account fails that has failed longest, in Unix seconds.
    pub oldest_failure: Option<i64>,
}

/// How it stands with a job. Runs that an operator only looked with count for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFigures {
    /// Whether somebody has paused it.
    pub is_paused: bool,
    /// Runs that wait.
    pub queued: u64,
    /// Runs that go on.
    pub running: u64,
    /// When a run ended last, in Unix milliseconds.
    pub last_end: Option<i64>,
    /// Its exit code.
    pub last_exit_code: Option<i64>,
    /// When a run ended last in which nothing failed, in Unix milliseconds.
    pub last_success: Option<i64>,
    /// The accounts as the last run left them that looked at them.
    pub accounts: Option<Summary>,
    /// The findings of the last run that looked at everything, by severity.
    pub findings: BTreeMap<Severity, u64>,
}

/// The findings that were counted before, by job, with the run that found them: they are long, and change with the run only.
#[derive(Debug, Default)]
pub struct CountedFindings(BTreeMap<String, (String, BTreeMap<Severity, u64>)>);

/// How the last runs of each job ended, and the last that has looked at the accounts. Runs count that ended by themselves and were
/// not an operator's look.
const LAST_RUNS: &str = "\
    WITH ends AS ( \
        SELECT job, ended_at, exit_code, CASE WHEN error IS NULL AND state NOT IN ('refused', 'interrupted') THEN summary END AS counts \
        FROM runs WHERE exit_code IS NOT NULL AND state <> 'skipped' AND (dry_run = 0 OR woken_by <> 'operator') \
    ), last AS ( \
        SELECT job, MAX(ended_at) AS ended, MAX(CASE WHEN exit_code IN (0, 3) THEN ended_at END) AS succeeded, \
        MAX(CASE WHEN counts IS NOT NULL THEN ended_at END) AS looked FROM ends GROUP BY job \
    ) \
    SELECT ends.job, ends.ended_at, ends.exit_code, ends.counts, last.ended, last.succeeded, last.looked FROM ends \
    JOIN last ON ends.job = last.job AND (ends.ended_at = last.ended OR ends.ended_at = last.looked)";

impl State {
    /// Its figures.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn figures(&self, counted: &mut CountedFindings) -> Result<Figures, StateError> {
        let failed = StateError::query("reading the state's figures");
        let mut figures = Figures::default();
        for (job, standing) in self.standings().await? {
            figures.jobs.entry(job).or_default().is_paused = standing.paused.is_some();
        }
        self.count_runs(&mut figures).await.map_err(&failed)?;
        self.read_ends(&mut figures).await?;
        self.count_findings(&mut figures, counted).await?;
        let freeze = self.database().freeze().await;
        figures.is_frozen = freeze.map_err(&failed)?.is_some();
        let row = sqlx::query(
            "SELECT COUNT(*) AS accounts, MIN(first_failed_at) AS oldest FROM account_retry",
        )
        .fetch_one(self.pool())
        .await
        .map_err(&failed)?;
        figures.retrying = count(&row, "accounts").map_err(&failed)?;
        figures.oldest_failure = row.try_get("oldest").map_err(failed)?;
        Ok(figures)
    }

    /// The runs that wait and go on.
    async fn count_runs(&self, figures: &mut Figures) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT job, state, COUNT(*) AS runs FROM runs WHERE state IN ('queued', 'running') GROUP BY job, state",
        )
        .fetch_all(self.pool())
        .await?;
        for row in rows {
            let job = figures.jobs.entry(row.try_get("job")?).or_default();
            let state: String = row.try_get("state")?;
            match state.as_str() {
                "queued" => job.queued = count(&row, "runs")?,
                _ => job.running = count(&row, "runs")?,
            }
        }
        Ok(())
    }

    /// How the last runs ended.
    async fn read_ends(&self, figures: &mut Figures) -> Result<(), StateError> {
        let failed = StateError::query("reading how the last runs ended");
        let rows = sqlx::query(LAST_RUNS)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        for row in rows {
            let moment = |column| -> Result<Option<i64>, StateError> {
                row.try_get(column).map_err(&failed)
            };
            let job = figures
                .jobs
                .entry(row.try_get("job").map_err(&failed)?)
                .or_default();
            job.last_success = moment("succeeded")?;
            job.last_end = moment("ended")?;
            if moment("ended_at")? == job.last_end {
                job.last_exit_code = moment("exit_code")?;
            }
            if moment("ended_at")? == moment("looked")? {
                let counts: Option<String> = row.try_get("counts").map_err(&failed)?;
                let counts = counts.map(|text| serde_json::from_str(&text)).transpose();
                job.accounts = counts.map_err(StateError::value("a run's summary"))?;
            }
        }
        Ok(())
    }

    async fn count_findings(
        &self,
        figures: &mut Figures,
        counted: &mut CountedFindings,
    ) -> Result<(), StateError> {
        let failed = StateError::query("counting findings");
        let rows = sqlx::query("SELECT DISTINCT job, run_id FROM findings")
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut before = std::mem::take(&mut counted.0);
        for row in rows {
            let job: String = row.try_get("job").map_err(&failed)?;
            let run: String = row.try_get("run_id").map_err(&failed)?;
            let findings = match before.remove(&job) {
                Some((known, findings)) if known == run => findings,
                _ => self.findings_by_severity(&run).await?,
            };
            let entry = figures.jobs.entry(job.clone()).or_default();
            entry.findings.clone_from(&findings);
            counted.0.insert(job, (run, findings));
        }
        Ok(())
    }

    /// The findings of a run. One that is not there any more has none.
    async fn findings_by_severity(&self, run: &str) -> Result<BTreeMap<Severity, u64>, StateError> {
        #[derive(Deserialize)]
        struct Found {
            severity: Severity,
        }
        let text: Option<Option<String>> =
            sqlx::query_scalar("SELECT findings FROM runs WHERE id = $1")
                .bind(run)
                .fetch_optional(self.pool())
                .await
                .map_err(StateError::query("counting findings"))?;
        let text = text.flatten().unwrap_or_else(|| "[]".to_owned());
        let found: Vec<Found> =
            serde_json::from_str(&text).map_err(StateError::value("a run's findings"))?;
        let mut counts = BTreeMap::new();
        for Found { severity } in found {
            *counts.entry(severity).or_default() += 1;
        }
        Ok(counts)
    }
}

fn count(row: &AnyRow, column: &str) -> Result<u64, sqlx::Error> {
    let count: i64 = row.try_get(column)?;
    Ok(u64::try_from(count).unwrap_or_default())
}
