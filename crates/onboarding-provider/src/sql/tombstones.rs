//! Spot accounts that stay although their stack is deleted, and the ones that went with it.

use onboarding_core::ids::SpotAccountId;
use sqlx::{Any, Transaction};

use super::{Database, store};
use crate::intents::{IntentsError, Tombstone};

impl Database {
    pub(super) async fn write_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError> {
        sqlx::query(
            "INSERT INTO tombstones (spot_account, account, stack_id, reason, left_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (spot_account) DO UPDATE SET account = excluded.account, stack_id = excluded.stack_id, \
             reason = excluded.reason, left_at = excluded.left_at",
        )
        .bind(tombstone.spot_account.as_str())
        .bind(tombstone.account.to_string())
        .bind(tombstone.stack_id.as_str())
        .bind(tombstone.reason.as_str())
        .bind(tombstone.at.as_millisecond())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(store)
    }
}

/// Forgets all that is remembered about a Spot account that is deleted, beside its AWS account's row.
pub(super) async fn forget(
    tx: &mut Transaction<'static, Any>,
    spot_account: &SpotAccountId,
) -> Result<(), IntentsError> {
    // Tombstones before owners, as where a stack becomes the owner: so these two never wait for each other.
    for sql in [
        "DELETE FROM tombstones WHERE spot_account = $1",
        "DELETE FROM owners WHERE spot_account = $1",
        "DELETE FROM external_ids WHERE spot_account = $1",
        "DELETE FROM hosted_links WHERE spot_account = $1",
        "DELETE FROM adoptions WHERE spot_account = $1",
    ] {
        sqlx::query(sql)
            .bind(spot_account.as_str())
            .execute(&mut **tx)
            .await
            .map_err(store)?;
    }
    super::links::end(tx, spot_account).await
}
