//! Gives back what is free in the state's file. What is forgotten leaves pages that are used again; only after a lot was forgotten there are
//! more of them than are needed.

use std::path::Path;

use super::{Place, State, StateError};

/// Pages that are given back in one transaction.
const BATCH: i64 = 1_000;

/// What `PRAGMA auto_vacuum` says of a file whose free pages can be given back a few at a time: one of this version, or that was written anew.
const INCREMENTAL: i64 = 2;

impl State {
    /// Gives free pages of a file back, a few at a time so that nobody waits for it. A file of an earlier version keeps them, until
    /// [`State::write_anew`]. A database looks after itself.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn compact(&self) -> Result<(), StateError> {
        let failed = StateError::query("giving back what is free");
        if self.file().is_none() || self.pragma("PRAGMA auto_vacuum").await? != INCREMENTAL {
            return Ok(());
        }
        let batch = format!("PRAGMA incremental_vacuum({BATCH})");
        let mut free = self.pragma("PRAGMA freelist_count").await?;
        while free > 0 {
            let given_back = sqlx::raw_sql(sqlx::AssertSqlSafe(batch.clone()));
            given_back.execute(self.pool()).await.map_err(&failed)?;
            let left = self.pragma("PRAGMA freelist_count").await?;
            if left >= free {
                break;
            }
            free = left;
        }
        Ok(())
    }

    /// Writes a file anew without what is free in it, unless another process may want to write meanwhile: a daemon, or a provider that
    /// serves. For as long as it takes, nobody else can; a run by hand is not looked for, and ends when its journal cannot be written for so
    /// long. False when it was left as it is; a database looks after itself.
    ///
    /// # Errors
    /// When the file cannot be written, such as on a disk without room for a second one.
    pub async fn write_anew(&self) -> Result<bool, StateError> {
        if self.file().is_none() || self.has_daemon()? || self.is_served().await? {
            return Ok(false);
        }
        let written = sqlx::raw_sql("VACUUM").execute(self.pool()).await;
        written.map_err(StateError::query("writing the file anew"))?;
        Ok(true)
    }

    fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    async fn pragma(&self, pragma: &'static str) -> Result<i64, StateError> {
        sqlx::query_scalar(pragma)
            .fetch_one(self.pool())
            .await
            .map_err(StateError::query("looking at what is free"))
    }
}
