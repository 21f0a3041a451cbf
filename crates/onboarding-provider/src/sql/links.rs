//! The history of links: which stack linked an AWS account with which role, from when to when.

use jiff::Timestamp;
use onboarding_core::ids::SpotAccountId;
use sqlx::{Any, Transaction};

use super::store;
use crate::intents::{IntentsError, Owner};

/// Notes that a stack linked a Spot account, which ends every other link of the AWS account.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    spot_account: &SpotAccountId,
    owner: &Owner,
) -> Result<(), IntentsError> {
    sqlx::query(
        "UPDATE links SET ended_at = $4 WHERE account = $1 AND ended_at IS NULL \
         AND (spot_account <> $2 OR stack_id <> $3)",
    )
    .bind(owner.account.to_string())
    .bind(spot_account.as_str())
    .bind(owner.stack_id.as_str())
    .bind(owner.linked_at.as_millisecond())
    .execute(&mut **tx)
    .await
    .map_err(store)?;
    // One that links again what it has linked already begins nothing new.
    sqlx::query(
        "INSERT INTO links (account, spot_account, stack_id, role, external_id, linked_at) \
         VALUES ($1, $2, $3, $4, (SELECT e.external_id FROM external_ids e WHERE e.spot_account = $2), $5) \
         ON CONFLICT (account, spot_account, stack_id) DO UPDATE SET external_id = excluded.external_id, \
         linked_at = CASE WHEN links.ended_at IS NULL AND links.role = excluded.role THEN links.linked_at \
         ELSE excluded.linked_at END, role = excluded.role, ended_at = NULL, broken_at = NULL",
    )
    .bind(owner.account.to_string())
    .bind(spot_account.as_str())
    .bind(owner.stack_id.as_str())
    .bind(owner.role.as_str())
    .bind(owner.linked_at.as_millisecond())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store)
}

/// Notes that a Spot account is deleted, which ends its links.
pub(super) async fn end(
    tx: &mut Transaction<'static, Any>,
    spot_account: &SpotAccountId,
) -> Result<(), IntentsError> {
    sqlx::query("UPDATE links SET ended_at = $2 WHERE spot_account = $1 AND ended_at IS NULL")
        .bind(spot_account.as_str())
        .bind(Timestamp::now().as_millisecond())
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store)
}
