//! The stack that linked a Spot account last, and the external ID that it has.

use jiff::Timestamp;
use onboarding_core::ids::{ExternalId, SpotAccountId};
use sqlx::{Row as _, any::AnyRow};

use super::{Database, intents::is_claimed, store};
use crate::intents::{IntentsError, Owner, RememberedExternalId};

impl Database {
    pub(super) async fn read_owner(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<Owner>, IntentsError> {
        let row = sqlx::query("SELECT * FROM owners WHERE spot_account = $1")
            .bind(spot_account.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(store)?;
        row.as_ref().map(owner_of).transpose()
    }

    pub(super) async fn write_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
        holder: &str,
    ) -> Result<(), IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        // The account's row before all others, as where a Spot account is forgotten: so these two never wait for each other.
        let row = self.locked(&mut tx, owner.account).await?;
        let holds: Option<String> = row.try_get("holder").map_err(store)?;
        if holds.as_deref() != Some(holder) || !is_claimed(&row)? {
            return Err(IntentsError::ClaimLost(owner.account));
        }
        sqlx::query("DELETE FROM tombstones WHERE spot_account = $1")
            .bind(spot_account.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        sqlx::query(
            "INSERT INTO owners (spot_account, account, stack_id, role, adopted, linked_at) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (spot_account) DO UPDATE SET account = excluded.account, stack_id = excluded.stack_id, \
             role = excluded.role, adopted = excluded.adopted, linked_at = excluded.linked_at",
        )
        .bind(spot_account.as_str())
        .bind(owner.account.to_string())
        .bind(owner.stack_id.as_str())
        .bind(owner.role.as_str())
        .bind(i64::from(owner.adopted))
        .bind(owner.linked_at.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(store)?;
        super::links::note(&mut tx, spot_account, owner).await?;
        tx.commit().await.map_err(store)
    }

    pub(super) async fn read_external_id(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<RememberedExternalId>, IntentsError> {
        let row = sqlx::query(
            "SELECT external_id, valid_until FROM external_ids WHERE spot_account = $1",
        )
        .bind(spot_account.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(store)?;
        let Some(row) = row else { return Ok(None) };
        let external_id: String = row.try_get("external_id").map_err(store)?;
        let valid_until: Option<i64> = row.try_get("valid_until").map_err(store)?;
        let valid_until = valid_until.map(Timestamp::from_millisecond).transpose();
        Ok(Some(RememberedExternalId {
            external_id: external_id.parse().map_err(store)?,
            valid_until: valid_until.map_err(store)?,
        }))
    }

    /// Remembers the external ID that Spot says is in use, where none is known: one that was made meanwhile stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &ExternalId,
    ) -> Result<(), IntentsError> {
        sqlx::query(
            "INSERT INTO external_ids (spot_account, external_id) VALUES ($1, $2) \
             ON CONFLICT (spot_account) DO NOTHING",
        )
        .bind(spot_account.as_str())
        .bind(external_id.as_str())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(store)
    }

    pub(super) async fn write_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &RememberedExternalId,
    ) -> Result<(), IntentsError> {
        sqlx::query(
            "INSERT INTO external_ids (spot_account, external_id, valid_until) VALUES ($1, $2, $3) \
             ON CONFLICT (spot_account) DO UPDATE SET external_id = excluded.external_id, \
             valid_until = excluded.valid_until",
        )
        .bind(spot_account.as_str())
        .bind(external_id.external_id.as_str())
        .bind(external_id.valid_until.map(Timestamp::as_millisecond))
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(store)
    }
}

fn owner_of(row: &AnyRow) -> Result<Owner, IntentsError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(store);
    let number = |column: &str| row.try_get::<i64, _>(column).map_err(store);
    Ok(Owner {
        stack_id: text("stack_id")?.parse().map_err(store)?,
        account: text("account")?.parse().map_err(store)?,
        role: text("role")?.parse().map_err(store)?,
        adopted: number("adopted")? != 0,
        linked_at: Timestamp::from_millisecond(number("linked_at")?).map_err(store)?,
    })
}
