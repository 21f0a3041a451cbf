//! The retry clocks of what `enroll` could not mend: one for each account and kind of mend. What they show is decided in the core.

use std::collections::BTreeMap;

use onboarding_core::{
    retry_clock,
    stackset_sync::{MendKind, MendOf, RetryState},
};
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError};
use crate::engine::RunId;

/// A mend that failed in a run.
#[derive(Debug, Clone, Copy)]
pub struct MendFailure<'a> {
    /// The account and what could not be mended.
    pub of: MendOf,
    /// Why.
    pub reason: &'a str,
}

impl State {
    /// The clocks of a profile's accounts, as this run sees them; outside of a run, none of them is its own.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn mend_retries(
        &self,
        profile: &str,
        run: Option<RunId>,
    ) -> Result<BTreeMap<MendOf, RetryState>, StateError> {
        let rows = sqlx::query(
            "SELECT account, mend, failures, next_due, reason, run_id FROM mend_retry WHERE profile = $1",
        )
        .bind(profile)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query("reading retry clocks"))?;
        let run = run.map(|run| run.to_string());
        let clocks = rows.iter().map(|row| clock(row, run.as_deref()));
        // A kind that an earlier version knew holds nothing back.
        clocks.filter_map(Result::transpose).collect()
    }

    /// Winds the clocks of what failed in a run: it waits longer each time. What this run has counted already changes nothing.
    /// `first_wait`, the wait after a first failure, is in seconds, `now` in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn record_mend_failures(
        &self,
        profile: &str,
        run: RunId,
        failures: &[MendFailure<'_>],
        first_wait: i64,
        now: i64,
    ) -> Result<(), StateError> {
        if failures.is_empty() {
            return Ok(());
        }
        let error = StateError::query("writing retry clocks");
        let earlier = self.mend_retries(profile, Some(run)).await?;
        let mut tx = self.write().await.map_err(&error)?;
        for failure in failures {
            let (account, mend) = failure.of;
            let clock = retry_clock::after_failure(earlier.get(&failure.of), first_wait, now);
            sqlx::query(
                "INSERT INTO mend_retry (profile, account, mend, failures, next_due, reason, run_id, first_failed_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (profile, account, mend) DO UPDATE SET failures = excluded.failures, \
                 next_due = excluded.next_due, reason = excluded.reason, run_id = excluded.run_id \
                 WHERE mend_retry.run_id <> excluded.run_id",
            )
            .bind(profile)
            .bind(account.to_string())
            .bind(mend.code())
            .bind(i64::from(clock.failures))
            .bind(clock.next_due)
            .bind(failure.reason)
            .bind(run.to_string())
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(&error)?;
        }
        tx.commit().await.map_err(error)
    }

    /// Stops the clocks of what is as it should be again, each of a profile by name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_mend_retries(&self, mended: &[(String, MendOf)]) -> Result<(), StateError> {
        if mended.is_empty() {
            return Ok(());
        }
        let error = StateError::query("writing retry clocks");
        let mut tx = self.write().await.map_err(&error)?;
        for (profile, (account, mend)) in mended {
            sqlx::query("DELETE FROM mend_retry WHERE profile = $1 AND account = $2 AND mend = $3")
                .bind(profile)
                .bind(account.to_string())
                .bind(mend.code())
                .execute(&mut *tx)
                .await
                .map_err(&error)?;
        }
        tx.commit().await.map_err(error)
    }
}

fn clock(row: &AnyRow, run: Option<&str>) -> Result<Option<(MendOf, RetryState)>, StateError> {
    let error = StateError::query("reading retry clocks");
    let account: String = row.try_get("account").map_err(&error)?;
    let mend: String = row.try_get("mend").map_err(&error)?;
    let failures: i64 = row.try_get("failures").map_err(&error)?;
    let counted_by: String = row.try_get("run_id").map_err(&error)?;
    let reason: Option<String> = row.try_get("reason").map_err(&error)?;
    let Some(mend) = MendKind::of_code(&mend) else {
        return Ok(None);
    };
    let clock = RetryState {
        failures: u32::try_from(failures).map_err(StateError::value("a retry clock"))?,
        next_due: row.try_get("next_due").map_err(&error)?,
        of_this_run: run == Some(&*counted_by),
        reason: reason.map(String::into_boxed_str),
    };
    let account = account
        .parse()
        .map_err(StateError::value("a retry clock"))?;
    Ok(Some(((account, mend), clock)))
}
