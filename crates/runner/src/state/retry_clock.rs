//! The retry clock of accounts whose stack instance failed. What it shows is decided in the core; this keeps it.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{ids::AwsAccountId, retry_clock, stackset_sync::RetryState};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};
use crate::engine::RunId;

/// What an operation came to for each account that it worked on.
#[derive(Debug, Clone, Copy)]
pub struct OperationResults<'a> {
    /// The operation's id.
    pub operation: &'a str,
    /// The accounts that failed, each with AWS's reason.
    pub failed: &'a [(AwsAccountId, Option<&'a str>)],
    /// The accounts that succeeded.
    pub succeeded: &'a [AwsAccountId],
}

impl State {
    /// The clocks of a profile's failed accounts, as this run sees them; outside of a run, none of them is its own.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn retries(
        &self,
        profile: &str,
        run: Option<RunId>,
    ) -> Result<BTreeMap<AwsAccountId, RetryState>, StateError> {
        let rows = sqlx::query(
            "SELECT account, failures, next_due, run_id, reason FROM account_retry WHERE profile = $1",
        )
        .bind(profile)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query("reading retry clocks"))?;
        let run = run.map(|run| run.to_string());
        rows.iter().map(|row| clock(row, run.as_deref())).collect()
    }

    /// Winds the clocks after an operation that a run followed: failed accounts wait longer each time, succeeded ones have no clock. Counting
    /// the same operation again changes nothing, so this may be repeated after a crash. `first_wait`, the wait after a first
    /// failure, is in seconds, `now` in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn record_results(
        &self,
        profile: &str,
        run: RunId,
        results: OperationResults<'_>,
        first_wait: i64,
        now: i64,
    ) -> Result<(), StateError> {
        let OperationResults {
            operation,
            failed,
            succeeded,
        } = results;
        if failed.is_empty() && succeeded.is_empty() {
            return Ok(());
        }
        let error = StateError::query("writing retry clocks");
        let earlier = self.retries(profile, Some(run)).await?;
        let mut tx = self.write().await.map_err(&error)?;
        for (account, reason) in failed {
            let clock = retry_clock::after_failure(earlier.get(account), first_wait, now);
            sqlx::query(
                "INSERT INTO account_retry \
                 (profile, account, failures, first_failed_at, last_failed_at, next_due, reason, operation, run_id) \
                 VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8) \
                 ON CONFLICT (profile, account) DO UPDATE SET failures = excluded.failures, \
                 last_failed_at = excluded.last_failed_at, next_due = excluded.next_due, reason = excluded.reason, \
                 operation = excluded.operation, run_id = excluded.run_id WHERE account_retry.operation <> excluded.operation",
            )
            .bind(profile)
            .bind(account.to_string())
            .bind(i64::from(clock.failures))
            .bind(now)
            .bind(clock.next_due)
            .bind(*reason)
            .bind(operation)
            .bind(run.to_string())
            .execute(&mut *tx)
            .await
            .map_err(&error)?;
        }
        for account in succeeded
            .iter()
            .filter(|account| earlier.contains_key(account))
        {
            forget(&mut tx, profile, *account).await.map_err(&error)?;
        }
        tx.commit().await.map_err(error)
    }

    /// Stops the clocks of accounts of a profile that are as they should be, or that nobody enrolls any more.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_retries(
        &self,
        profile: &str,
        accounts: &[AwsAccountId],
    ) -> Result<(), StateError> {
        if accounts.is_empty() {
            return Ok(());
        }
        let error = StateError::query("writing retry clocks");
        let mut tx = self.write().await.map_err(&error)?;
        for account in accounts {
            forget(&mut tx, profile, *account).await.map_err(&error)?;
        }
        tx.commit().await.map_err(error)
    }

    /// Stops all clocks, those of mends too, of other profiles than these: they are not configured any more.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn forget_clocks_of_others(
        &self,
        profiles: &BTreeSet<&str>,
    ) -> Result<(), StateError> {
        let error = StateError::query("writing retry clocks");
        let known: Vec<String> = sqlx::query_scalar(
            "SELECT profile FROM account_retry UNION SELECT profile FROM mend_retry",
        )
        .fetch_all(self.pool())
        .await
        .map_err(&error)?;
        for other in known
            .iter()
            .filter(|name| !profiles.contains(name.as_str()))
        {
            for delete in [
                "DELETE FROM account_retry WHERE profile = $1",
                "DELETE FROM mend_retry WHERE profile = $1",
            ] {
                sqlx::query(delete)
                    .bind(other)
                    .execute(self.pool())
                    .await
                    .map_err(&error)?;
            }
        }
        Ok(())
    }
}

/// Stops the clock of an account.
async fn forget(
    tx: &mut Transaction<'_, Any>,
    profile: &str,
    account: AwsAccountId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM account_retry WHERE profile = $1 AND account = $2")
        .bind(profile)
        .bind(account.to_string())
        .execute(&mut **tx)
        .await
        .map(drop)
}

fn clock(row: &AnyRow, run: Option<&str>) -> Result<(AwsAccountId, RetryState), StateError> {
    let error = StateError::query("reading retry clocks");
    let account: String = row.try_get("account").map_err(&error)?;
    let failures: i64 = row.try_get("failures").map_err(&error)?;
    let counted_by: Option<String> = row.try_get("run_id").map_err(&error)?;
    let reason: Option<String> = row.try_get("reason").map_err(&error)?;
    let clock = RetryState {
        failures: u32::try_from(failures).map_err(StateError::value("a retry clock"))?,
        next_due: row.try_get("next_due").map_err(&error)?,
        of_this_run: counted_by.is_some() && counted_by.as_deref() == run,
        reason: reason.map(String::into_boxed_str),
    };
    let account = account
        .parse()
        .map_err(StateError::value("a retry clock"))?;
    Ok((account, clock))
}
