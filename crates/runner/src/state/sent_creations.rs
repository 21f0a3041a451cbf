//! Creations of Spot accounts whose outcome nobody has seen, less those that made what was deleted since or came late.

use onboarding_core::{
    custom_resource::TombstoneReason,
    orphan_cleanup::{SentCreation, undo::DeletionRecord},
};
use sqlx::Row as _;

use super::{State, StateError};

impl State {
    /// The creations that may have made a Spot account which our state does not have. One accounts for one Spot account: when such a
    /// one was deleted, another of its name is somebody else's.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn sent_creations(&self) -> Result<Vec<SentCreation>, StateError> {
        let sent = self.database().unsettled_creations().await;
        let sent = sent.map_err(StateError::value("a creation that was sent"))?;
        let sent = sent.into_iter().map(|sent| SentCreation {
            account: sent.account,
            name: sent.name,
            at: sent.at.as_second(),
        });
        let mut sent: Vec<SentCreation> = sent.collect();
        if sent.is_empty() {
            return Ok(sent);
        }
        sent.sort_by_key(|sent| sent.at);
        let mut settle = |made_it: &dyn Fn(&SentCreation) -> bool| {
            if let Some(index) = sent.iter().position(made_it) {
                sent.remove(index);
            }
        };
        for (record, deleted_at) in self.deleted_unlinked().await? {
            let (account, name) = (record.account, &record.name);
            settle(&|sent| sent.account == account && sent.name == *name && sent.at <= deleted_at);
        }
        // What its sender was told of after all is known by its tombstone.
        for late in self.tombstones().await? {
            let (account, left_at) = (late.account, late.at.as_second());
            if late.reason == TombstoneReason::Late {
                settle(&|sent| sent.account == account && sent.at <= left_at);
            }
        }
        Ok(sent)
    }

    /// What was deleted without ever having been linked, and when (Unix seconds).
    async fn deleted_unlinked(&self) -> Result<Vec<(DeletionRecord, i64)>, StateError> {
        let failed = || StateError::query("reading what was deleted");
        let rows = sqlx::query(
            "SELECT record, deleted_at FROM deletions WHERE deleted_at IS NOT NULL ORDER BY deleted_at, spot_account",
        )
        .fetch_all(self.pool())
        .await
        .map_err(failed())?;
        let mut deleted = Vec::new();
        for row in &rows {
            let text: String = row.try_get("record").map_err(failed())?;
            let record: DeletionRecord =
                serde_json::from_str(&text).map_err(StateError::value("a deletion"))?;
            if record.role.is_none() {
                deleted.push((record, row.try_get("deleted_at").map_err(failed())?));
            }
        }
        Ok(deleted)
    }
}
