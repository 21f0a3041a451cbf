//! The freeze: while one is in force, nothing is changed at Spot or in AWS by any process on the state.

use jiff::Timestamp;
use sqlx::{Row as _, any::AnyRow};

use super::Database;
use crate::intents::Freeze;

impl Database {
    /// The freeze that is in force.
    ///
    /// # Errors
    /// When the state does not answer.
    pub async fn freeze(&self) -> Result<Option<Freeze>, sqlx::Error> {
        let row = sqlx::query("SELECT began_at, began_by, reason FROM freezes WHERE in_force = 1")
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Begins a freeze with this id, unless one is in force: false then.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn begin_freeze(&self, id: &str, freeze: &Freeze) -> Result<bool, sqlx::Error> {
        let mut tx = self.write().await?;
        let begun = sqlx::query(
            "INSERT INTO freezes (id, began_at, began_by, reason, in_force) VALUES ($1, $2, $3, $4, 1) \
             ON CONFLICT (in_force) DO NOTHING",
        )
        .bind(id)
        .bind(freeze.since.as_millisecond())
        .bind(&freeze.by)
        .bind(&freeze.reason)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(begun.rows_affected() > 0)
    }

    /// Ends the freeze that is in force. Tells whether there was one.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_freeze(&self, at: Timestamp, by: &str) -> Result<bool, sqlx::Error> {
        let mut tx = self.write().await?;
        let ended = sqlx::query(
            "UPDATE freezes SET ended_at = $1, ended_by = $2, in_force = NULL WHERE in_force = 1",
        )
        .bind(at.as_millisecond())
        .bind(by)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(ended.rows_affected() > 0)
    }
}

fn read(row: &AnyRow) -> Result<Freeze, sqlx::Error> {
    let since: i64 = row.try_get("began_at")?;
    Ok(Freeze {
        since: Timestamp::from_millisecond(since)
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        by: row.try_get("began_by")?,
        reason: row.try_get("reason")?,
    })
}
