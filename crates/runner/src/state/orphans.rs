//! What `orphan-cleanup` knows of the Spot accounts that are ours: who made and linked them, since when nobody needs them,
//! where their AWS accounts were, and how many accounts Spot listed last.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    custom_resource::TombstoneReason,
    ids::{AwsAccountId, OrganizationId, SpotAccountId, StackId},
    inventory::{AccountState, OrganizationSnapshot},
    orphan_cleanup::{Known, KnownOwner, KnownTombstone, OrphanClock, Place, Why},
};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};

/// The name in `kv` of what is remembered of Spot's listing.
const SPOT_LISTING: &str = "spot-accounts";

const LISTING: &str = "what Spot listed last";

/// What is remembered of Spot's listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpotListing {
    /// How many accounts it had.
    pub count: usize,
    /// The AWS organization that was looked at beside it.
    #[serde(default)]
    pub organization: Option<OrganizationId>,
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
            // Its creation was sent, and answered when somebody else had worked on the AWS account.
            entry.is_created |= tombstone.reason == TombstoneReason::Late;
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

    /// The grace period of each Spot account that was an orphan by the rules of a job when that looked last.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn orphan_clocks(
        &self,
        job: &str,
    ) -> Result<BTreeMap<SpotAccountId, OrphanClock>, StateError> {
        let rows = sqlx::query("SELECT * FROM orphans WHERE job = $1")
            .bind(job)
            .fetch_all(self.pool())
            .await
            .map_err(failed())?;
        rows.iter()
            .map(|row| Ok((spot_account(row)?, clock(row)?)))
            .collect()
    }

    /// Remembers these orphans of a job, and forgets all others of it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_orphans(
        &self,
        job: &str,
        orphans: &BTreeMap<SpotAccountId, OrphanClock>,
    ) -> Result<(), StateError> {
        let before = self.orphan_clocks(job).await?;
        let gone = before.keys().filter(|id| !orphans.contains_key(id));
        self.forget_orphans(gone.map(|id| (job, id))).await?;
        let failed = StateError::query("remembering since when Spot accounts are orphans");
        let mut tx = self.write().await.map_err(&failed)?;
        for (id, clock) in orphans {
            sqlx::query(
                "INSERT INTO orphans (job, spot_account, account, why, owner, first_seen, last_seen) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (job, spot_account) DO UPDATE SET account = excluded.account, why = excluded.why, \
                 owner = excluded.owner, first_seen = excluded.first_seen, last_seen = excluded.last_seen",
            )
            .bind(job)
            .bind(id.as_str())
            .bind(clock.account.to_string())
            .bind(clock.why.code())
            .bind(clock.owner.as_ref().map(StackId::as_str))
            .bind(clock.first_seen)
            .bind(clock.last_seen)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// Forgets the orphans whose AWS accounts had left or were closed, and are in the organization again: whoever looks sees it,
    /// also when no run of a job that deletes does.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn forget_returned(
        &self,
        organization: &OrganizationSnapshot,
    ) -> Result<(), StateError> {
        let mut back = Vec::new();
        for row in &self.all("SELECT * FROM orphans").await? {
            let clock = clock(row)?;
            let member = organization.account(clock.account);
            if matches!(clock.why, Why::Departed | Why::Closed)
                && member.is_some_and(|member| member.state != AccountState::Closed)
            {
                let job: String = row.try_get("job").map_err(failed())?;
                back.push((job, spot_account(row)?));
            }
        }
        let back = back.iter().map(|(job, id)| (job.as_str(), id));
        self.forget_orphans(back).await
    }

    async fn forget_orphans<'a>(
        &self,
        orphans: impl Iterator<Item = (&'a str, &'a SpotAccountId)> + Send,
    ) -> Result<(), StateError> {
        for (job, id) in orphans {
            sqlx::query("DELETE FROM orphans WHERE job = $1 AND spot_account = $2")
                .bind(job)
                .bind(id.as_str())
                .execute(self.pool())
                .await
                .map_err(StateError::query("forgetting what is no orphan any more"))?;
        }
        Ok(())
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

    /// Spot's last listing, less what we deleted since; none before the first look.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn spot_listing(&self) -> Result<Option<SpotListing>, StateError> {
        let text: Option<String> = sqlx::query_scalar("SELECT value FROM kv WHERE name = $1")
            .bind(SPOT_LISTING)
            .fetch_optional(self.pool())
            .await
            .map_err(failed())?;
        text.map(|text| listing(&text)).transpose()
    }

    /// Remembers a listing of Spot's at a moment (Unix seconds).
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_spot_listing(
        &self,
        listing: &SpotListing,
        now: i64,
    ) -> Result<(), StateError> {
        let mut tx = self.write().await.map_err(listing_failed())?;
        write_listing(&mut tx, listing, now).await?;
        tx.commit().await.map_err(listing_failed())
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
    let Some(last) = lock_listing(tx).await? else {
        return Ok(());
    };
    let count = last.count.saturating_sub(1);
    write_listing(tx, &SpotListing { count, ..last }, now).await
}

/// Locks the row of the last listing, which whoever deletes a Spot account begins with.
pub(super) async fn lock_listing(
    tx: &mut Transaction<'static, Any>,
) -> Result<Option<SpotListing>, StateError> {
    let text: Option<String> =
        sqlx::query_scalar("UPDATE kv SET written_at = written_at WHERE name = $1 RETURNING value")
            .bind(SPOT_LISTING)
            .fetch_optional(&mut **tx)
            .await
            .map_err(listing_failed())?;
    text.map(|text| listing(&text)).transpose()
}

async fn write_listing(
    tx: &mut Transaction<'static, Any>,
    listing: &SpotListing,
    now: i64,
) -> Result<(), StateError> {
    let text = serde_json::to_string(listing).map_err(StateError::value(LISTING))?;
    sqlx::query(
        "INSERT INTO kv (name, value, written_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, written_at = excluded.written_at",
    )
    .bind(SPOT_LISTING)
    .bind(text)
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(listing_failed())
}

fn listing_failed() -> impl Fn(sqlx::Error) -> StateError {
    StateError::query("remembering how many accounts Spot lists")
}

fn listing(text: &str) -> Result<SpotListing, StateError> {
    serde_json::from_str(text).map_err(StateError::value(LISTING))
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

fn clock(row: &AnyRow) -> Result<OrphanClock, StateError> {
    let owner = optional(row, "owner")?.map(|owner| owner.parse());
    let why: String = row.try_get("why").map_err(failed())?;
    Ok(OrphanClock {
        first_seen: row.try_get("first_seen").map_err(failed())?,
        last_seen: row.try_get("last_seen").map_err(failed())?,
        why: serde_json::from_value(why.into()).map_err(StateError::value("an orphan"))?,
        account: account(row)?,
        owner: owner.transpose().map_err(StateError::value("a stack"))?,
    })
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
