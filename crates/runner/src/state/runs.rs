//! Runs: how they begin, how they end, and reading them back.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use onboarding_core::{
    events::Woken,
    plan::{Finding, Refusal, Summary},
};
use serde_json::Value;
use sqlx::{Row as _, Transaction, any::AnyRow};

use super::{
    State, StateError, dead_runs,
    error::write,
    events, findings, job_ends, notifications,
    plans::{self, PlanRow},
    steps::{StepRow, fenced},
    unbegun,
};
use crate::engine::{Asked, Begun, Hold, JournalError, NewRun, RunEnd, RunId, RunKey};

/// A run, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// The job's name.
    pub job: String,
    /// The job's kind.
    pub kind: String,
    /// What woke it.
    pub woken_by: String,
    /// The events that did, when it was events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Woken>,
    /// Whether it only planned.
    pub dry_run: bool,
    /// `running`, or how it ended.
    pub state: String,
    /// When it started, in Unix milliseconds.
    pub started_at: i64,
    /// When it ended, in Unix milliseconds. For a run that was found dead: when it was found.
    pub ended_at: Option<i64>,
    /// The exit code.
    pub exit_code: Option<i64>,
    /// The counts.
    pub summary: Option<Summary>,
    /// Why it failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its trace, when it was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What was asked for beside the job's definition.
    #[serde(skip)]
    pub asked: Asked,
}

/// A run with everything that it did, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunDetail {
    /// The run.
    pub run: RunRow,
    /// Its steps with their attempts, in the order of the plan.
    pub steps: Vec<StepRow>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// What guard rails refused.
    pub refusals: Vec<Refusal>,
    /// Where the accounts stood at its end that it worked on.
    pub accounts: Vec<AccountAtEnd>,
    /// The plan that it kept for an approval, and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRow>,
}

/// Where an account stood at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AccountAtEnd {
    /// The account.
    pub account: String,
    /// Its standing.
    pub standing: String,
    /// The reason code.
    pub reason: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The fence of a run's first claim.
const FIRST_FENCE: i64 = 1;

impl State {
    pub(super) async fn insert_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        let failed = write("the start of a run");
        let hold: Option<Arc<dyn Hold>> = match &run.claim {
            Some(claim) => Some(Arc::clone(&claim.hold)),
            None if run.dry_run => None,
            None => Some(Arc::new(self.lock_job(&run.job).await?)),
        };
        let mut tx = self.write().await.map_err(&failed)?;
        let (mut interrupted, mut memos) = (Vec::new(), Memos::default());
        if !run.dry_run {
            interrupted = end_dead_runs(&mut tx, run).await?;
            memos = memos_of(&mut tx, &run.job).await?;
        }
        if let Some(plan) = &run.plan {
            plans::still_approved(&mut tx, plan, run.id).await?;
        }
        if let Some(claim) = &run.claim {
            begin_claimed(&mut tx, run, claim.key).await?;
            tx.commit().await.map_err(&failed)?;
            return Ok(Begun {
                key: claim.key,
                interrupted,
                memos: memos.unfinished,
                failed_memos: memos.failed,
                hold,
            });
        }
        let asked = serde_json::to_string(&run.asked).map_err(write("the start of a run"))?;
        let inserted = sqlx::query(
            "INSERT INTO runs (id, job, kind, woken_by, tick, dry_run, state, started_at, begun_at, trace_id, lease_owner, fence, asked) \
             VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $7, $8, $9, $10, $11)",
        )
        .bind(run.id.to_string())
        .bind(&run.job)
        .bind(&run.kind)
        .bind(&run.trigger)
        .bind(run.tick)
        .bind(i64::from(run.dry_run))
        .bind(run.at)
        .bind(&run.trace_id)
        .bind(format!("process {}", std::process::id()))
        .bind(FIRST_FENCE)
        .bind(asked)
        .execute(&mut *tx)
        .await;
        match inserted {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(JournalError::TickTaken {
                    job: run.job.clone(),
                });
            }
            other => other.map_err(&failed)?,
        };
        tx.commit().await.map_err(&failed)?;
        Ok(Begun {
            key: RunKey {
                id: run.id,
                fence: FIRST_FENCE,
            },
            interrupted,
            memos: memos.unfinished,
            failed_memos: memos.failed,
            hold,
        })
    }

    pub(super) async fn update_run(
        &self,
        run: RunKey,
        end: RunEnd<'_>,
    ) -> Result<(), JournalError> {
        let failed = write("the end of a run");
        let json = |value: serde_json::Result<String>| value.map_err(write("the end of a run"));
        let mut tx = self.write().await.map_err(&failed)?;
        let ours = sqlx::query(
            "UPDATE runs SET state = $3, ended_at = $4, exit_code = $5, summary = $6, findings = $7, refusals = $8, \
             error = $9, lease_owner = NULL WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.to_string())
        .bind(run.fence)
        .bind(end.status.code())
        .bind(end.at)
        .bind(i64::from(end.exit))
        .bind(json(serde_json::to_string(&end.summary))?)
        .bind(json(serde_json::to_string(end.findings))?)
        .bind(json(serde_json::to_string(end.refusals))?)
        .bind(end.error)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        let (state, exit) = (end.status.code(), end.exit);
        if ours.rows_affected() == 0 && has_ended(&mut tx, run, (state, exit, end.at)).await? {
            return Ok(());
        }
        fenced(ours.rows_affected(), run)?;
        if let Some((plan, became)) = end.plan {
            plans::end(&mut tx, plan, became, run.id).await?;
        }
        if end.looked {
            let found = (end.findings, end.unjudged);
            findings::note(&mut tx, &run.id.to_string(), found, end.at)
                .await
                .map_err(&failed)?;
        }
        job_ends::note(&mut tx, &run.id.to_string(), &end)
            .await
            .map_err(&failed)?;
        if end.again {
            dead_runs::ask_again(&mut tx, run, end.at).await?;
        }
        notifications::note(&mut tx, end.notifications, end.at)
            .await
            .map_err(&failed)?;
        for row in end.accounts {
            let standing =
                serde_json::to_value(row.standing).map_err(&write("the end of a run"))?;
            sqlx::query(
                "INSERT INTO run_accounts (run_id, account, standing, reason, detail) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(run.id.to_string())
            .bind(row.account.to_string())
            .bind(standing.as_str())
            .bind(row.reason.code())
            .bind(row.detail.as_deref())
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// The newest runs, newest first: of one job, or of all.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn list_runs(
        &self,
        job: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RunRow>, StateError> {
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE $1 IS NULL OR job = $1 ORDER BY started_at DESC, id DESC LIMIT $2",
        )
        .bind(job)
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query("listing runs"))?;
        rows.iter().map(run_row).collect()
    }

    /// The run whose id begins like this, with everything that it did.
    ///
    /// # Errors
    /// When the state cannot be read, or not exactly one run matches.
    pub async fn show_run(&self, id: &str) -> Result<RunDetail, StateError> {
        let failed = StateError::query("reading a run");
        let mut rows =
            sqlx::query("SELECT * FROM runs WHERE substr(id, 1, length($1)) = $1 LIMIT 2")
                .bind(id)
                .fetch_all(self.pool())
                .await
                .map_err(&failed)?;
        let row = match (rows.pop(), rows.len()) {
            (Some(row), 0) => row,
            (_, others) => {
                return Err(StateError::NoSuchRun {
                    id: id.to_owned(),
                    found: if others == 0 { 0 } else { 2 },
                });
            }
        };
        let run = run_row(&row)?;
        let accounts = sqlx::query(
            "SELECT account, standing, reason, detail FROM run_accounts WHERE run_id = $1 ORDER BY account",
        )
        .bind(&run.id)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        let account = |row: &AnyRow| {
            Ok(AccountAtEnd {
                account: row.try_get("account")?,
                standing: row.try_get("standing")?,
                reason: row.try_get("reason")?,
                detail: row.try_get("detail")?,
            })
        };
        let accounts: Result<_, sqlx::Error> = accounts.iter().map(account).collect();
        Ok(RunDetail {
            plan: self.plan_row(&run.id).await?,
            steps: self.steps_of(&run.id).await?,
            findings: json(&row, "findings")?.unwrap_or_default(),
            refusals: json(&row, "refusals")?.unwrap_or_default(),
            accounts: accounts.map_err(&failed)?,
            run,
        })
    }
}

/// Whether a run has ended just so: it was written, and the answer to that was lost.
pub(super) async fn has_ended(
    tx: &mut Transaction<'static, sqlx::Any>,
    run: RunKey,
    (state, exit, at): (&str, u8, i64),
) -> Result<bool, JournalError> {
    let ended: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM runs WHERE id = $1 AND fence = $2 AND state = $3 AND exit_code = $4 AND ended_at = $5",
    )
    .bind(run.id.to_string())
    .bind(run.fence)
    .bind(state)
    .bind(i64::from(exit))
    .bind(at)
    .fetch_one(&mut **tx)
    .await
    .map_err(write("the end of a run"))?;
    Ok(ended > 0)
}

/// Begins a run that was taken up.
async fn begin_claimed(
    tx: &mut Transaction<'_, sqlx::Any>,
    run: &NewRun,
    key: RunKey,
) -> Result<(), JournalError> {
    let ours = sqlx::query(
        "UPDATE runs SET begun_at = $5, trace_id = $3, dry_run = $4 WHERE id = $1 AND fence = $2 AND state = 'running'",
    )
    .bind(key.id.to_string())
    .bind(key.fence)
    .bind(&run.trace_id)
    .bind(i64::from(run.dry_run))
    .bind(run.at)
    .execute(&mut **tx)
    .await
    .map_err(write("the start of a run"))?;
    fenced(ours.rows_affected(), key)
}

/// Marks runs of the job that never ended. Their process is gone: it held the lock that is ours now.
async fn end_dead_runs(
    tx: &mut Transaction<'static, sqlx::Any>,
    run: &NewRun,
) -> Result<Vec<RunId>, JournalError> {
    let failed = write("the end of a dead run");
    unbegun::wait_again(tx, &run.job, Some(run.id), run.at).await?;
    let rows = sqlx::query(
        "UPDATE runs SET state = 'interrupted', ended_at = $2, fence = fence + 1 \
         WHERE job = $1 AND state = 'running' AND dry_run = 0 AND id <> $3 RETURNING id",
    )
    .bind(&run.job)
    .bind(run.at)
    .bind(run.id.to_string())
    .fetch_all(&mut **tx)
    .await
    .map_err(&failed)?;
    job_ends::note_deaths(tx, &run.job, rows.len())
        .await
        .map_err(&failed)?;
    let id = |row: &AnyRow| {
        let id: String = row.try_get("id").map_err(&failed)?;
        RunId::from_str(&id).map_err(write("the end of a dead run"))
    };
    rows.iter().map(id).collect()
}

/// What steps of the job wrote down that have not ended well, by step id.
#[derive(Default)]
struct Memos {
    unfinished: BTreeMap<String, Value>,
    failed: BTreeMap<String, Value>,
}

async fn memos_of(tx: &mut Transaction<'_, sqlx::Any>, job: &str) -> Result<Memos, JournalError> {
    let failed = write("the memos of unfinished steps");
    let rows = sqlx::query(
        "SELECT steps.step_id, steps.state, steps.memo FROM steps JOIN runs ON runs.id = steps.run_id \
         WHERE runs.job = $1 AND steps.memo IS NOT NULL AND steps.state NOT IN ('changed', 'unchanged') \
         ORDER BY runs.id",
    )
    .bind(job)
    .fetch_all(&mut **tx)
    .await
    .map_err(&failed)?;
    let mut memos = Memos::default();
    for row in rows {
        let step: String = row.try_get("step_id").map_err(&failed)?;
        let state: String = row.try_get("state").map_err(&failed)?;
        let memo: String = row.try_get("memo").map_err(&failed)?;
        let memo = Value::from_str(&memo).map_err(write("the memos of unfinished steps"))?;
        match state.as_str() {
            // `skipped` is one that built on another step, which failed.
            "failed" | "skipped" => memos.failed.insert(step, memo),
            _ => memos.unfinished.insert(step, memo),
        };
    }
    Ok(memos)
}

fn run_row(row: &AnyRow) -> Result<RunRow, StateError> {
    let failed = StateError::query("reading a run");
    let dry_run: i64 = row.try_get("dry_run").map_err(&failed)?;
    Ok(RunRow {
        id: row.try_get("id").map_err(&failed)?,
        job: row.try_get("job").map_err(&failed)?,
        kind: row.try_get("kind").map_err(&failed)?,
        woken_by: row.try_get("woken_by").map_err(&failed)?,
        events: events::woken(row)?,
        dry_run: dry_run != 0,
        state: row.try_get("state").map_err(&failed)?,
        started_at: row.try_get("started_at").map_err(&failed)?,
        ended_at: row.try_get("ended_at").map_err(&failed)?,
        exit_code: row.try_get("exit_code").map_err(&failed)?,
        summary: json(row, "summary")?,
        error: row.try_get("error").map_err(&failed)?,
        trace_id: row.try_get("trace_id").map_err(&failed)?,
        asked: json(row, "asked")?.unwrap_or_default(),
    })
}

/// A column with a JSON document.
fn json<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, StateError> {
    let text: Option<String> = row
        .try_get(column)
        .map_err(StateError::query("reading a run"))?;
    text.map(|text| serde_json::from_str(&text).map_err(StateError::value(column)))
        .transpose()
}
