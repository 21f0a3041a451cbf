//! Spot accounts that stay although their stack is deleted.

use jiff::Timestamp;
use onboarding_provider::Tombstone;
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError};

impl State {
    /// The Spot accounts that stay although their stack is deleted, the oldest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, StateError> {
        let rows = sqlx::query("SELECT * FROM tombstones ORDER BY left_at, spot_account")
            .fetch_all(self.pool())
            .await
            .map_err(StateError::query("reading the tombstones"))?;
        rows.iter().map(tombstone_of).collect()
    }
}

fn tombstone_of(row: &AnyRow) -> Result<Tombstone, StateError> {
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
