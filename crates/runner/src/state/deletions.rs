//! The Spot accounts that were deleted: written down before, so that whatever happens they can be explained and made again.

use onboarding_core::{
    ids::SpotAccountId,
    orphan_cleanup::undo::{DeletedStack, DeletionRecord, Undone},
};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError, orphans};

/// The day in which so many may be deleted, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// A deletion, and the run that did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionRow {
    /// The run.
    pub run: String,
    /// What was deleted.
    pub record: DeletionRecord,
    /// When it was written down that it is about to be (Unix seconds); 0 where it uses no day up.
    pub written_at: i64,
}

impl State {
    /// Writes down what is about to be deleted by a run, at a moment (Unix seconds), unless `most_a_day` were, or may have been,
    /// in the last 24 hours. An earlier attempt that came to nothing is replaced.
    ///
    /// # Errors
    /// When as many as may be were deleted, it was deleted before, or the state cannot be written. Nothing may be deleted then.
    pub async fn begin_deletion(
        &self,
        run: &str,
        record: &DeletionRecord,
        most_a_day: usize,
        now: i64,
    ) -> Result<(), StateError> {
        let text = serde_json::to_string(record).map_err(StateError::value("a deletion"))?;
        let failed = failed();
        let mut tx = self.write().await.map_err(&failed)?;
        // Whoever else deletes waits for this, and counts it.
        orphans::lock_listing(&mut tx).await?;
        let others: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM deletions WHERE spot_account <> $1 AND COALESCE(deleted_at, written_at) > $2",
        )
        .bind(record.spot_account.as_str())
        .bind(now.saturating_sub(DAY))
        .fetch_one(&mut *tx)
        .await
        .map_err(&failed)?;
        if usize::try_from(others).unwrap_or(usize::MAX) >= most_a_day {
            return Err(StateError::DayUsedUp {
                spot_account: record.spot_account.clone(),
                most_a_day,
            });
        }
        let written = sqlx::query(
            "INSERT INTO deletions (spot_account, account, run_id, record, written_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (spot_account) DO UPDATE SET account = excluded.account, run_id = excluded.run_id, \
             record = excluded.record, written_at = excluded.written_at WHERE deletions.deleted_at IS NULL",
        )
        .bind(record.spot_account.as_str())
        .bind(record.account.to_string())
        .bind(run)
        .bind(text)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        if written.rows_affected() == 0 {
            return Err(StateError::DeletedBefore {
                spot_account: record.spot_account.clone(),
            });
        }
        tx.commit().await.map_err(failed)
    }

    /// Writes down that what was about to be deleted is deleted, at a moment (Unix seconds). False when it was known before, or
    /// was not about to be.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_deletion(
        &self,
        spot_account: &SpotAccountId,
        now: i64,
    ) -> Result<bool, StateError> {
        let failed = failed();
        let mut tx = self.write().await.map_err(&failed)?;
        let ended = sqlx::query(
            "UPDATE deletions SET deleted_at = $2 WHERE spot_account = $1 AND deleted_at IS NULL",
        )
        .bind(spot_account.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        let is_new = ended.rows_affected() > 0;
        if is_new {
            sqlx::query("DELETE FROM orphans WHERE spot_account = $1")
                .bind(spot_account.as_str())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            orphans::count_deletion(&mut tx, now).await?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(is_new)
    }

    /// Writes down that a run could not delete the stack that was left in an account, at a moment (Unix seconds), where all that was begun
    /// with is that. Where nothing was deleted, it uses no day up: an earlier try may.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn note_failed_try(
        &self,
        run: &str,
        spot_account: &SpotAccountId,
        nothing_was_deleted: bool,
        now: i64,
    ) -> Result<(), StateError> {
        let mut tx = self.write().await.map_err(failed())?;
        let Some(tried) = lock_try(&mut tx, spot_account).await? else {
            return Ok(());
        };
        let written_at = match nothing_was_deleted && tried.run == run {
            true => tried.record.tried_before.unwrap_or(0),
            false => tried.written_at,
        };
        let record = DeletionRecord {
            stack_failed_at: Some(now),
            ..tried.record
        };
        write_try(&mut tx, &record, written_at).await?;
        tx.commit().await.map_err(failed())
    }

    /// Writes down that the stack that was left in an account is gone, where all that was begun with is that.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn note_stack_gone(&self, spot_account: &SpotAccountId) -> Result<(), StateError> {
        let mut tx = self.write().await.map_err(failed())?;
        let Some(tried) = lock_try(&mut tx, spot_account).await? else {
            return Ok(());
        };
        let deleted = tried.record.deleted_stack.clone();
        let record = DeletionRecord {
            stack_failed_at: None,
            deleted_stack: deleted.map(|deleted| DeletedStack {
                is_gone: true,
                ..deleted
            }),
            ..tried.record
        };
        write_try(&mut tx, &record, tried.written_at).await?;
        tx.commit().await.map_err(failed())
    }

    /// Ends a deletion of which all that was begun with is the stack that was left in the account, and whose Spot account somebody else has
    /// deleted. What could not be deleted is forgotten; else it goes on to count in its day, and the record is kept. Whether there was
    /// one.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_try(&self, spot_account: &SpotAccountId) -> Result<bool, StateError> {
        let mut tx = self.write().await.map_err(failed())?;
        let Some(tried) = lock_try(&mut tx, spot_account).await? else {
            return Ok(false);
        };
        let end = if tried.record.stack_failed_at.is_some() {
            "DELETE FROM deletions WHERE spot_account = $1"
        } else {
            let record = DeletionRecord {
                by_others: true,
                ..tried.record
            };
            write_try(&mut tx, &record, tried.written_at).await?;
            "UPDATE deletions SET deleted_at = written_at WHERE spot_account = $1"
        };
        sqlx::query(end)
            .bind(spot_account.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed())?;
        tx.commit().await.map_err(failed())?;
        Ok(true)
    }

    /// What was deleted in the 24 hours before a moment (Unix seconds), or may have been: what was sent, and of which nobody knows
    /// what became of it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deletions_of_the_day(&self, now: i64) -> Result<Vec<DeletionRow>, StateError> {
        let rows = sqlx::query(
            "SELECT * FROM deletions WHERE COALESCE(deleted_at, written_at) > $1 ORDER BY written_at, spot_account",
        )
        .bind(now.saturating_sub(DAY))
        .fetch_all(self.pool())
        .await
        .map_err(failed())?;
        rows.iter().map(deletion_of).collect()
    }

    /// What was about to be deleted, and is not known to be.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn unsettled_deletions(&self) -> Result<Vec<DeletionRow>, StateError> {
        let rows =
            sqlx::query("SELECT * FROM deletions WHERE deleted_at IS NULL ORDER BY spot_account")
                .fetch_all(self.pool())
                .await
                .map_err(failed())?;
        rows.iter().map(deletion_of).collect()
    }

    /// What a run deleted.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deletions_of(&self, run: &str) -> Result<Vec<DeletionRecord>, StateError> {
        let rows = sqlx::query(
            "SELECT * FROM deletions WHERE run_id = $1 AND deleted_at IS NOT NULL ORDER BY spot_account",
        )
        .bind(run)
        .fetch_all(self.pool())
        .await
        .map_err(failed())?;
        let record = |row: &AnyRow| Ok(deletion_of(row)?.record);
        rows.iter().map(record).collect()
    }

    /// Writes down what was made in the place of a Spot account, by whom, at a moment (Unix seconds).
    ///
    /// # Errors
    /// When the state cannot be written, or has no such deletion.
    pub async fn note_undone(
        &self,
        spot_account: &SpotAccountId,
        undone: &Undone,
        by: &str,
        now: i64,
    ) -> Result<(), StateError> {
        let text = serde_json::to_string(undone).map_err(StateError::value("a deletion"))?;
        let noted = sqlx::query(
            "UPDATE deletions SET undone = $2, undone_by = $3, undone_at = $4 WHERE spot_account = $1",
        )
        .bind(spot_account.as_str())
        .bind(text)
        .bind(by)
        .bind(now)
        .execute(self.pool())
        .await
        .map_err(failed())?;
        match noted.rows_affected() {
            0 => Err(StateError::NoSuchDeletion {
                spot_account: spot_account.clone(),
            }),
            _ => Ok(()),
        }
    }
}

fn failed() -> impl Fn(sqlx::Error) -> StateError {
    StateError::query("reading or writing what was deleted")
}

/// Locks the row of a deletion of which only the stack was begun with.
async fn lock_try(
    tx: &mut Transaction<'static, Any>,
    spot_account: &SpotAccountId,
) -> Result<Option<DeletionRow>, StateError> {
    let row = sqlx::query(
        "UPDATE deletions SET written_at = written_at WHERE spot_account = $1 AND deleted_at IS NULL RETURNING *",
    )
    .bind(spot_account.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(failed())?;
    let row = row.as_ref().map(deletion_of).transpose()?;
    Ok(row.filter(|row| row.record.only_stack))
}

async fn write_try(
    tx: &mut Transaction<'static, Any>,
    record: &DeletionRecord,
    written_at: i64,
) -> Result<(), StateError> {
    let text = serde_json::to_string(record).map_err(StateError::value("a deletion"))?;
    sqlx::query("UPDATE deletions SET record = $2, written_at = $3 WHERE spot_account = $1")
        .bind(record.spot_account.as_str())
        .bind(text)
        .bind(written_at)
        .execute(&mut **tx)
        .await
        .map_err(failed())?;
    Ok(())
}

fn deletion_of(row: &AnyRow) -> Result<DeletionRow, StateError> {
    let text: String = row.try_get("record").map_err(failed())?;
    let undone: Option<String> = row.try_get("undone").map_err(failed())?;
    let record: DeletionRecord =
        serde_json::from_str(&text).map_err(StateError::value("a deletion"))?;
    let undone = undone.map(|undone| serde_json::from_str(&undone));
    Ok(DeletionRow {
        run: row.try_get("run_id").map_err(failed())?,
        written_at: row.try_get("written_at").map_err(failed())?,
        record: DeletionRecord {
            deleted_at: row.try_get("deleted_at").map_err(failed())?,
            undone: undone
                .transpose()
                .map_err(StateError::value("a deletion"))?,
            ..record
        },
    })
}
