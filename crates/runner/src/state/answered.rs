//! Which requests of a kind were answered: what enrolling without custom resources has finished.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::ids::{AwsAccountId, StackId};

use super::{State, StateError};

impl State {
    /// For which AWS accounts a request of this kind of id was answered, with the ids: those that begin with `prefix`.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn answered(
        &self,
        prefix: &str,
    ) -> Result<BTreeMap<AwsAccountId, BTreeSet<String>>, StateError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT stack_id, request_id FROM answered_requests \
             WHERE substr(request_id, 1, CAST($1 AS INTEGER)) = $2",
        )
        .bind(i64::try_from(prefix.len()).unwrap_or(i64::MAX))
        .bind(prefix)
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query("reading which requests were answered"))?;
        let mut answered: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (stack_id, request_id) in rows {
            let stack_id: StackId = stack_id.parse().map_err(StateError::value("a stack"))?;
            if let Some(account) = stack_id.account() {
                answered.entry(account).or_default().insert(request_id);
            }
        }
        Ok(answered)
    }
}
