//! What the state says in figures, for metrics. Reads only, and never more than a row for each job, target and failing account: whoever
//! scrapes must not keep a run from its journal, however many runs there were.

use std::collections::BTreeMap;

use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError, job_ends::JobEnds};

/// The state in figures. Moments are in Unix milliseconds unless it is said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// By job, for those that have runs or a place in the schedule.
    pub jobs: BTreeMap<String, JobFigures>,
    /// Since when the freeze is in force that is.
    pub frozen_since: Option<i64>,
    /// When the last freeze ended.
    pub thawed_at: Option<i64>,
    /// Accounts that could not be enrolled or mended, and are tried again later or wait for a person.
    pub retrying: u64,
    /// Since when the account fails that has failed longest, in Unix seconds.
    pub oldest_failure: Option<i64>,
    /// By target, for those that anything was to be told.
    pub targets: BTreeMap<String, TargetFigures>,
}

/// How it stands with a job. Runs that an operator only looked with count for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFigures {
    /// Since when somebody has paused it.
    pub paused_since: Option<i64>,
    /// Since when its schedule is in force, and not paused.
    pub in_force_since: Option<i64>,
    /// Runs that wait.
    pub queued: u64,
    /// Runs that go on.
    pub running: u64,
    /// What its last runs came to.
    pub ends: JobEnds,
}

/// How it stands with a target of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetFigures {
    /// Notifications that wait to be told.
    pub waiting: u64,
    /// When the oldest of them was written.
    pub oldest: Option<i64>,
    /// When one was given up last.
    pub given_up_at: Option<i64>,
}

const SCHEDULES: &str = "SELECT job, paused_at, in_force_since FROM schedules";
const RUNS: &str = "SELECT job, state, COUNT(*) AS runs FROM runs WHERE state IN ('queued', 'running') GROUP BY job, state";
const FREEZES: &str = "SELECT MAX(CASE WHEN in_force = 1 THEN began_at END) AS frozen_since, MAX(ended_at) AS thawed_at FROM freezes";
const CLOCKS: &str = "SELECT COUNT(DISTINCT account) AS accounts, MIN(first_failed_at) AS oldest FROM \
                      (SELECT account, first_failed_at FROM account_retry \
                      UNION ALL SELECT account, first_failed_at FROM mend_retry) AS clocks";
const WAITING: &str = "SELECT target, COUNT(*) AS waiting, MIN(created_at) AS oldest FROM notifications \
                       WHERE state = 'waiting' GROUP BY target";
const GIVEN_UP: &str = "SELECT target, MAX(ended_at) AS at FROM notifications WHERE state = 'given-up' GROUP BY target";

/// All that is asked of the state.
#[cfg(test)]
pub(super) const ASKED: [&str; 7] = [
    SCHEDULES,
    RUNS,
    FREEZES,
    CLOCKS,
    WAITING,
    GIVEN_UP,
    super::job_ends::READ,
];

impl State {
    /// Its figures.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn figures(&self) -> Result<Figures, StateError> {
        let mut figures = Figures::default();
        for (job, ends) in self.job_ends().await? {
            figures.jobs.entry(job).or_default().ends = ends;
        }
        let failed = StateError::query("reading the state's figures");
        self.read_figures(&mut figures).await.map_err(failed)?;
        Ok(figures)
    }

    async fn read_figures(&self, figures: &mut Figures) -> Result<(), sqlx::Error> {
        for row in sqlx::query(SCHEDULES).fetch_all(self.pool()).await? {
            let job = figures.jobs.entry(row.try_get("job")?).or_default();
            job.paused_since = row.try_get("paused_at")?;
            job.in_force_since = row.try_get("in_force_since")?;
        }
        for row in sqlx::query(RUNS).fetch_all(self.pool()).await? {
            let job = figures.jobs.entry(row.try_get("job")?).or_default();
            let state: String = row.try_get("state")?;
            match state.as_str() {
                "queued" => job.queued = count(&row, "runs")?,
                _ => job.running = count(&row, "runs")?,
            }
        }
        let freezes = sqlx::query(FREEZES).fetch_one(self.pool()).await?;
        figures.frozen_since = freezes.try_get("frozen_since")?;
        figures.thawed_at = freezes.try_get("thawed_at")?;
        let clocks = sqlx::query(CLOCKS).fetch_one(self.pool()).await?;
        figures.retrying = count(&clocks, "accounts")?;
        figures.oldest_failure = clocks.try_get("oldest")?;
        for row in sqlx::query(WAITING).fetch_all(self.pool()).await? {
            let target = figures.targets.entry(row.try_get("target")?).or_default();
            target.waiting = count(&row, "waiting")?;
            target.oldest = row.try_get("oldest")?;
        }
        for row in sqlx::query(GIVEN_UP).fetch_all(self.pool()).await? {
            let target = figures.targets.entry(row.try_get("target")?).or_default();
            target.given_up_at = row.try_get("at")?;
        }
        Ok(())
    }
}

fn count(row: &AnyRow, column: &str) -> Result<u64, sqlx::Error> {
    let count: i64 = row.try_get(column)?;
    Ok(u64::try_from(count).unwrap_or_default())
}
