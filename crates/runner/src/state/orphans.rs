//! What `orphan-cleanup` knows of the Spot accounts that are ours: who made and linked them, since when nobody needs them,
//! where their AWS accounts were, and how many accounts Spot listed last.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId, StackId},
    orphan_cleanup::{Known, KnownOwner, KnownTombstone, Place},
};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};

/// The name in `kv` of what is remembered of Spot's listing.
const SPOT_LISTING: &str = "spot-accounts";

#[derive(Serialize, Deserialize)]
struct SpotListing {
    count: usize,
}

impl State {
    /// What the state has of each Spot account that we made or linked.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn known_spot_accounts(&self) -> Result<BTreeMap<SpotAccountId, Known>, StateError> {
        let mut known: BTreeMap<SpotAccountId, Known> = BTreeMap::new();
        let assigned = "SELECT assigned AS spot_account, account, created_by FROM intents WHERE assigned IS NOT NULL";
        for row in self.all(assigned).await? {
            let entry = known.entry(spot_account(&row)?).or_default();
            entry.account = Some(account(&row)?);
            entry.is_created = optional(&row, "created_by")?.is_some();
        }
        for row in self
            .all("SELECT spot_account, account FROM hosted_links")
            .await?
        {
            let entry = known.entry(spot_account(&row)?).or_default();
            entry.account = Some(account(&row)?);
        }
        for tombstone in self.tombstones().await? {
            let entry = known.entry(tombstone.spot_account).or_default();
            entry.account = Some(tombstone.account);
            entry.tombstone = Some(KnownTombstone {
                stack: tombstone.stack_id,
                at: tombstone.at.as_second(),
                reason: tombstone.reason,
            });
        }
        // Who linked it last knows best whose it is.
        for row in self.all("SELECT * FROM owners").await? {
            let entry = known.entry(spot_account(&row)?).or_default();
            entry.account = Some(account(&row)?);
            let adopted: i64 = row.try_get("adopted").map_err(failed())?;
            let stack: StackId = value(&row, "stack_id", "a stack")?;
            entry.owner = Some(KnownOwner {
                stack,
                role: value(&row, "role", "a role")?,
                is_adopted: adopted != 0,
            });
        }
        Ok(known)
    }

    /// Since when (Unix seconds) nobody needs each Spot account that was an orphan when the last run looked.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn orphans_since(&self) -> Result<BTreeMap<SpotAccountId, i64>, StateError> {
        let rows = self
            .all("SELECT spot_account, first_seen FROM orphans")
            .await?;
        let since = |row: &AnyRow| {
            let first_seen = row.try_get("first_seen").map_err(failed())?;
            Ok((spot_account(row)?, first_seen))
        };
        rows.iter().map(since).collect()
    }

    /// Remembers since when these are orphans, and forgets all others.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_orphans(
        &self,
        orphans: &BTreeMap<SpotAccountId, i64>,
    ) -> Result<(), StateError> {
        let before = self.orphans_since().await?;
        if before == *orphans {
            return Ok(());
        }
        let failed = StateError::query("remembering since when Spot accounts are orphans");
        let mut tx = self.write().await.map_err(&failed)?;
        for gone in before.keys().filter(|id| !orphans.contains_key(id)) {
            sqlx::query("DELETE FROM orphans WHERE spot_account = $1")
                .bind(gone.as_str())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        for (id, since) in orphans {
            sqlx::query(
                "INSERT INTO orphans (spot_account, first_seen) VALUES ($1, $2) ON CONFLICT (spot_account) DO NOTHING",
            )
            .bind(id.as_str())
            .bind(since)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// Where AWS accounts were when they were last in the organization.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn places(&self) -> Result<BTreeMap<AwsAccountId, Place>, StateError> {
        let rows = self
            .all("SELECT account, place FROM account_places")
            .await?;
        let place = |row: &AnyRow| {
            let text: String = row.try_get("place").map_err(failed())?;
            let place = serde_json::from_str(&text).map_err(StateError::value("a place"))?;
            Ok((account(row)?, place))
        };
        rows.iter().map(place).collect()
    }

    /// Remembers where these AWS accounts are; what is remembered of others stays. `before` is what is remembered already.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_places(
        &self,
        before: &BTreeMap<AwsAccountId, Place>,
        places: &BTreeMap<AwsAccountId, Place>,
    ) -> Result<(), StateError> {
        let differs =
            |(account, place): &(&AwsAccountId, &Place)| before.get(account) != Some(*place);
        let changed: Vec<_> = places.iter().filter(differs).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let failed = StateError::query("remembering where accounts are");
        let mut tx = self.write().await.map_err(&failed)?;
        for (account, place) in changed {
            let text = serde_json::to_string(place).map_err(StateError::value("a place"))?;
            sqlx::query(
                "INSERT INTO account_places (account, place) VALUES ($1, $2) \
                 ON CONFLICT (account) DO UPDATE SET place = excluded.place",
            )
            .bind(account.to_string())
            .bind(text)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// How many accounts Spot listed last, less those that we deleted since; none before the first look.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn spot_count(&self) -> Result<Option<usize>, StateError> {
        let text: Option<String> = sqlx::query_scalar("SELECT value FROM kv WHERE name = $1")
            .bind(SPOT_LISTING)
            .fetch_optional(self.pool())
            .await
            .map_err(failed())?;
        text.map(|text| listing(&text).map(|listing| listing.count))
            .transpose()
    }

    /// Remembers how many accounts Spot listed at a moment (Unix seconds).
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_spot_count(&self, count: usize, now: i64) -> Result<(), StateError> {
        let failed = StateError::query("remembering how many accounts Spot lists");
        let mut tx = self.write().await.map_err(&failed)?;
        write_count(&mut tx, count, now).await.map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    async fn all(&self, sql: &'static str) -> Result<Vec<AnyRow>, StateError> {
        let rows = sqlx::query(sql).fetch_all(self.pool()).await;
        rows.map_err(failed())
    }
}

/// One Spot account less, which we have deleted: that does not make the listing shrink.
pub(super) async fn count_deletion(
    tx: &mut Transaction<'static, Any>,
    now: i64,
) -> Result<(), StateError> {
    let failed = StateError::query("remembering how many accounts Spot lists");
    // Locks the row.
    let text: Option<String> =
        sqlx::query_scalar("UPDATE kv SET written_at = $2 WHERE name = $1 RETURNING value")
            .bind(SPOT_LISTING)
            .bind(now)
            .fetch_optional(&mut **tx)
            .await
            .map_err(&failed)?;
    let Some(text) = text else { return Ok(()) };
    let count = listing(&text)?.count.saturating_sub(1);
    write_count(tx, count, now).await.map_err(failed)
}

async fn write_count(
    tx: &mut Transaction<'static, Any>,
    count: usize,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO kv (name, value, written_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, written_at = excluded.written_at",
    )
    .bind(SPOT_LISTING)
    .bind(format!("{{\"count\":{count}}}"))
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(drop)
}

fn listing(text: &str) -> Result<SpotListing, StateError> {
    serde_json::from_str(text).map_err(StateError::value("the count of Spot's accounts"))
}

fn failed() -> impl Fn(sqlx::Error) -> StateError {
    StateError::query("reading which Spot accounts are ours")
}

fn optional(row: &AnyRow, column: &str) -> Result<Option<String>, StateError> {
    row.try_get(column).map_err(failed())
}

fn value<T>(row: &AnyRow, column: &str, what: &'static str) -> Result<T, StateError>
where
    T: std::str::FromStr,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let text: String = row.try_get(column).map_err(failed())?;
    text.parse().map_err(StateError::value(what))
}

fn spot_account(row: &AnyRow) -> Result<SpotAccountId, StateError> {
    value(row, "spot_account", "a Spot account")
}

fn account(row: &AnyRow) -> Result<AwsAccountId, StateError> {
    value(row, "account", "an account")
}

/// The AWS accounts of Spot accounts that are known.
#[must_use]
pub fn accounts_of(known: &BTreeMap<SpotAccountId, Known>) -> BTreeSet<AwsAccountId> {
    known.values().filter_map(|known| known.account).collect()
}
