//! What the last complete listing of the organization told: names that need not be read again, the number of accounts
//! that the shrink guard compares with, and since when closed accounts have been seen closed.

use std::collections::BTreeMap;

use onboarding_core::{
    governor::aws::ListingShape,
    ids::{AwsAccountId, OuId},
};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::{State, StateError};

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrganizationCache {
    /// Names of organizational units, by id.
    pub unit_names: BTreeMap<OuId, Box<str>>,
    /// How many pages its listings had.
    pub shape: Option<ListingShape>,
    /// When each closed account was first seen closed, in Unix seconds.
    pub closed_since: BTreeMap<AwsAccountId, i64>,
    /// How many accounts it had.
    pub account_count: Option<usize>,
}

/// The part of it that is one value of `kv`.
#[derive(Serialize, Deserialize)]
struct Counts {
    shape: Option<ListingShape>,
    account_count: Option<usize>,
}

/// Its name in `kv`.
const COUNTS: &str = "organization";

impl State {
    /// What the last listing told; empty before the first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn organization_cache(&self) -> Result<OrganizationCache, StateError> {
        let failed = StateError::query("reading the organization's cache");
        let mut cache = OrganizationCache::default();
        let units = sqlx::query("SELECT id, name FROM organization_units")
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        for row in units {
            let id: String = row.try_get("id").map_err(&failed)?;
            let name: String = row.try_get("name").map_err(&failed)?;
            let id = id.parse().map_err(StateError::value("a unit's id"))?;
            cache.unit_names.insert(id, name.into());
        }
        let closed = sqlx::query("SELECT account, closed_since FROM closed_accounts")
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        for row in closed {
            let account: String = row.try_get("account").map_err(&failed)?;
            let account = account
                .parse()
                .map_err(StateError::value("a closed account"))?;
            let since = row.try_get("closed_since").map_err(&failed)?;
            cache.closed_since.insert(account, since);
        }
        let counts: Option<String> = sqlx::query_scalar("SELECT value FROM kv WHERE name = $1")
            .bind(COUNTS)
            .fetch_optional(self.pool())
            .await
            .map_err(&failed)?;
        if let Some(counts) = counts {
            let counts: Counts = serde_json::from_str(&counts)
                .map_err(StateError::value("the organization's counts"))?;
            cache.shape = counts.shape;
            cache.account_count = counts.account_count;
        }
        Ok(cache)
    }

    /// Remembers a listing. Only what differs from the last one is written. `now` is in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_organization(
        &self,
        newer: &OrganizationCache,
        now: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query("writing the organization's cache");
        let older = self.organization_cache().await?;
        if older == *newer {
            return Ok(());
        }
        let mut tx = self.write().await.map_err(&failed)?;
        for id in older
            .unit_names
            .keys()
            .filter(|id| !newer.unit_names.contains_key(id))
        {
            sqlx::query("DELETE FROM organization_units WHERE id = $1")
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        for (id, name) in &newer.unit_names {
            if older.unit_names.get(id) == Some(name) {
                continue;
            }
            sqlx::query(
                "INSERT INTO organization_units (id, name) VALUES ($1, $2) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            )
            .bind(id.as_str())
            .bind(&**name)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        for id in older
            .closed_since
            .keys()
            .filter(|id| !newer.closed_since.contains_key(id))
        {
            sqlx::query("DELETE FROM closed_accounts WHERE account = $1")
                .bind(id.to_string())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        for (id, since) in &newer.closed_since {
            if older.closed_since.get(id) == Some(since) {
                continue;
            }
            sqlx::query(
                "INSERT INTO closed_accounts (account, closed_since) VALUES ($1, $2) \
                 ON CONFLICT (account) DO UPDATE SET closed_since = excluded.closed_since",
            )
            .bind(id.to_string())
            .bind(since)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        let counts = Counts {
            shape: newer.shape,
            account_count: newer.account_count,
        };
        let counts = serde_json::to_string(&counts)
            .map_err(StateError::value("the organization's counts"))?;
        sqlx::query(
            "INSERT INTO kv (name, value, written_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, written_at = excluded.written_at",
        )
        .bind(COUNTS)
        .bind(counts)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}
