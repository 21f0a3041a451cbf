//! The tags of accounts as they were last read: AWS tells those of one account per call, so they are kept for a while.

use onboarding_core::{
    ids::AwsAccountId,
    inventory::{AccountTags, Tags},
};
use sqlx::Row as _;

use super::{State, StateError};

impl State {
    /// The tags that were read after `since`, in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn account_tags(&self, since: i64) -> Result<AccountTags, StateError> {
        let failed = StateError::query("reading the accounts' tags");
        let rows = sqlx::query("SELECT account, tags FROM account_tags WHERE read_at > $1")
            .bind(since)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut known = AccountTags::new();
        for row in rows {
            let account: String = row.try_get("account").map_err(&failed)?;
            let tags: String = row.try_get("tags").map_err(&failed)?;
            known.insert(
                account
                    .parse()
                    .map_err(StateError::value("an account with tags"))?,
                serde_json::from_str(&tags).map_err(StateError::value("an account's tags"))?,
            );
        }
        Ok(known)
    }

    /// Remembers tags that were read at `now`, in Unix seconds. An account without any left the organization: what is
    /// known of it is forgotten.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_tags(
        &self,
        read: &[(AwsAccountId, Option<Tags>)],
        now: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query("writing the accounts' tags");
        let mut tx = self.write().await.map_err(&failed)?;
        for (account, tags) in read {
            let query = match tags {
                None => sqlx::query("DELETE FROM account_tags WHERE account = $1")
                    .bind(account.to_string()),
                Some(tags) => sqlx::query(
                    "INSERT INTO account_tags (account, tags, read_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (account) DO UPDATE SET tags = excluded.tags, read_at = excluded.read_at",
                )
                .bind(account.to_string())
                .bind(
                    serde_json::to_string(tags)
                        .map_err(StateError::value("an account's tags"))?,
                )
                .bind(now),
            };
            query.execute(&mut *tx).await.map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }
}
