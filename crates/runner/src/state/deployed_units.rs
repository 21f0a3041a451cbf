//! Organizational units that our operations deployed stack sets to. AWS need not list one without accounts, and without
//! this it would be deployed to in every run.

use std::collections::BTreeSet;

use onboarding_core::ids::{OuId, StackSetName};

use super::{State, StateError};

impl State {
    /// The units that a stack set was deployed to.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deployed_units(
        &self,
        stack_set: &StackSetName,
    ) -> Result<BTreeSet<OuId>, StateError> {
        let units: Option<String> = sqlx::query_scalar("SELECT value FROM kv WHERE name = $1")
            .bind(name(stack_set))
            .fetch_optional(self.pool())
            .await
            .map_err(StateError::query("reading deployed units"))?;
        units.map_or_else(|| Ok(BTreeSet::new()), |units| parse(&units))
    }

    /// Adds units that a stack set was deployed to. `now` is in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_deployed_units(
        &self,
        stack_set: &StackSetName,
        units: &[OuId],
        now: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query("writing deployed units");
        // Several steps of one run may add theirs at the same time: the row is locked first.
        let mut tx = self.write().await.map_err(&failed)?;
        let known: String = sqlx::query_scalar(
            "INSERT INTO kv (name, value, written_at) VALUES ($1, '[]', $2) \
             ON CONFLICT (name) DO UPDATE SET written_at = excluded.written_at RETURNING value",
        )
        .bind(name(stack_set))
        .bind(now)
        .fetch_one(&mut *tx)
        .await
        .map_err(&failed)?;
        let mut all = parse(&known)?;
        all.extend(units.iter().cloned());
        let all = serde_json::to_string(&all).map_err(StateError::value("deployed units"))?;
        sqlx::query("UPDATE kv SET value = $2 WHERE name = $1")
            .bind(name(stack_set))
            .bind(all)
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }

    /// Forgets them: the stack set is about to be made anew.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_deployed_units(&self, stack_set: &StackSetName) -> Result<(), StateError> {
        let failed = StateError::query("forgetting deployed units");
        let mut tx = self.write().await.map_err(&failed)?;
        sqlx::query("DELETE FROM kv WHERE name = $1")
            .bind(name(stack_set))
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        tx.commit().await.map_err(failed)
    }
}

fn parse(units: &str) -> Result<BTreeSet<OuId>, StateError> {
    serde_json::from_str(units).map_err(StateError::value("deployed units"))
}

/// The name of a stack set's units in `kv`.
fn name(stack_set: &StackSetName) -> String {
    format!("deployed-units:{stack_set}")
}
