//! The rate windows of Spot that all processes on one state share: one row for each route.

use std::time::Duration;

use async_trait::async_trait;
use onboarding_core::governor::spot::shared::SharedWindow;
use spot_api::{SharedWindows, WindowChange};
use sqlx::Row as _;

use super::{
    Database,
    clock::{Timed, timed},
};

/// Locks the row of a route, makes it when it is missing, and reads it with the database's clock in milliseconds.
const LOCK: Timed = timed!(
    "INSERT INTO spot_windows (route, value) VALUES ($1, '') \
     ON CONFLICT (route) DO UPDATE SET route = excluded.route RETURNING value, ",
    " AS now",
);

#[async_trait]
impl SharedWindows for Database {
    async fn change(
        &self,
        route: &str,
        change: WindowChange<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut tx = self.write().await?;
        let lock = sqlx::query(self.text(&LOCK));
        let row = lock.bind(route).fetch_one(&mut *tx).await?;
        let (value, now): (String, i64) = (row.try_get("value")?, row.try_get("now")?);
        // A new one, or of another version: it costs nothing but politeness.
        let mut window: SharedWindow = serde_json::from_str(&value).unwrap_or_default();
        let now = Duration::from_millis(u64::try_from(now).unwrap_or_default());
        if !change(&mut window, now) {
            tx.rollback().await?;
            return Ok(());
        }
        sqlx::query("UPDATE spot_windows SET value = $2 WHERE route = $1")
            .bind(route)
            .bind(serde_json::to_string(&window)?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}
