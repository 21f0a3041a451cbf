//! Spot accounts that stay although their stack is deleted, and the ones that went with it.

use jiff::Timestamp;
use onboarding_core::ids::SpotAccountId;
use onboarding_provider::{IntentsError, Tombstone};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};

use super::{State, StateError, intents::store};

impl State {
    /// The Spot accounts that stay although their stack is deleted, the oldest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, StateError> {
        let rows = sqlx::query("SELECT * FROM tombstones ORDER BY left_at, spot_account")
            .fetch_all(&self.pool)
            .await
            .map_err(StateError::query("reading the tombstones"))?;
        rows.iter().map(tombstone_of).collect()
    }

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
    tx: &mut Transaction<'static, Sqlite>,
    spot_account: &SpotAccountId,
) -> Result<(), IntentsError> {
    for sql in [
        "DELETE FROM owners WHERE spot_account = $1",
        "DELETE FROM external_ids WHERE spot_account = $1",
        "DELETE FROM hosted_links WHERE spot_account = $1",
        "DELETE FROM adoptions WHERE spot_account = $1",
        "DELETE FROM tombstones WHERE spot_account = $1",
    ] {
        sqlx::query(sql)
            .bind(spot_account.as_str())
            .execute(&mut **tx)
            .await
            .map_err(store)?;
    }
    Ok(())
}

fn tombstone_of(row: &SqliteRow) -> Result<Tombstone, StateError> {
    let failed = StateError::query("reading the tombstones");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
    let at: i64 = row.try_get("left_at").map_err(&failed)?;
    Ok(Tombstone {
        spot_account: text("spot_account")?
            .parse()
            .map_err(StateError::value("a Spot account"))?,
        account: text("account")?
            .parse()
            .map_err(StateError::value("an account"))?,
        stack_id: text("stack_id")?
            .parse()
            .map_err(StateError::value("a stack"))?,
        at: Timestamp::from_millisecond(at).map_err(StateError::value("a time"))?,
        reason: text("reason")?
            .parse()
            .map_err(StateError::value("a reason"))?,
    })
}
