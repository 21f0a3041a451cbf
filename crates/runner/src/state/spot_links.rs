//! Which AWS accounts are linked by whom, as far as our own state knows.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    drift_audit::OwnedLink,
    ids::{AwsAccountId, SpotAccountId},
    stackset_sync::spot_links::HostedLink,
};
use sqlx::Row as _;

use super::{State, StateError};

/// Which AWS accounts are linked to Spot by whom, as far as our own state knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpotLinks {
    /// Linked before us, and left so by the adopt rule.
    pub kept: BTreeSet<AwsAccountId>,
    /// Linked by us, or with a Spot account that we created for them: which one.
    pub owned: BTreeMap<AwsAccountId, SpotAccountId>,
}

impl State {
    /// Which AWS accounts are linked by us, and whose earlier link was kept.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn spot_links(&self) -> Result<SpotLinks, StateError> {
        // The link that was made last wins over the account that was created first.
        let owned = "SELECT account, assigned AS spot_account, 0 AS linked_at FROM intents WHERE assigned IS NOT NULL \
                     UNION ALL SELECT account, spot_account, 1 FROM hosted_links \
                     UNION ALL SELECT account, spot_account, linked_at FROM owners ORDER BY linked_at";
        let kept = "SELECT account FROM adoptions \
                    WHERE account NOT IN (SELECT account FROM owners)";
        Ok(SpotLinks {
            kept: self.accounts(kept).await?,
            owned: self.owned(owned).await?,
        })
    }

    /// The links that we made, by account.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn owned_links(&self) -> Result<BTreeMap<AwsAccountId, OwnedLink>, StateError> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT account, stack_id, role, adopted FROM owners ORDER BY linked_at",
        )
        .fetch_all(self.pool())
        .await
        .map_err(StateError::query("reading who linked which account"))?;
        rows.into_iter()
            .map(|(account, stack, role, adopted)| {
                let account = account.parse().map_err(StateError::value("an account"))?;
                let stack = stack.parse().map_err(StateError::value("a stack"))?;
                let role = role.parse().map_err(StateError::value("a role"))?;
                let link = OwnedLink {
                    role,
                    stack,
                    adopted: adopted != 0,
                };
                Ok((account, link))
            })
            .collect()
    }

    /// Remembers links that Spot's own Lambda functions made for our stacks.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_hosted_links(
        &self,
        links: &BTreeMap<AwsAccountId, HostedLink>,
    ) -> Result<(), StateError> {
        let failed = StateError::query("remembering who linked which account");
        let mut transaction = self.write().await.map_err(&failed)?;
        for (account, link) in links {
            sqlx::query(
                "INSERT INTO hosted_links (account, spot_account, operation) VALUES ($1, $2, $3) \
                 ON CONFLICT (account) DO UPDATE SET spot_account = excluded.spot_account, \
                 operation = excluded.operation",
            )
            .bind(account.to_string())
            .bind(link.spot_account.as_str())
            .bind(&*link.operation)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// The links that [`State::remember_hosted_links`] remembered last.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn hosted_links(&self) -> Result<BTreeMap<AwsAccountId, HostedLink>, StateError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT account, spot_account, operation FROM hosted_links")
                .fetch_all(self.pool())
                .await
                .map_err(StateError::query("reading who linked which account"))?;
        rows.into_iter()
            .map(|(account, spot_account, operation)| {
                let account = account.parse().map_err(StateError::value("an account"))?;
                let spot_account = spot_account
                    .parse()
                    .map_err(StateError::value("a Spot account"))?;
                let operation = operation.into_boxed_str();
                Ok((
                    account,
                    HostedLink {
                        spot_account,
                        operation,
                    },
                ))
            })
            .collect()
    }

    async fn owned(
        &self,
        sql: &'static str,
    ) -> Result<BTreeMap<AwsAccountId, SpotAccountId>, StateError> {
        let failed = StateError::query("reading who linked which account");
        let rows = sqlx::query(sql)
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut owned = BTreeMap::new();
        for row in &rows {
            let account: String = row.try_get("account").map_err(&failed)?;
            let spot_account: String = row.try_get("spot_account").map_err(&failed)?;
            owned.insert(
                account.parse().map_err(StateError::value("an account"))?,
                spot_account
                    .parse()
                    .map_err(StateError::value("a Spot account"))?,
            );
        }
        Ok(owned)
    }

    async fn accounts(&self, sql: &'static str) -> Result<BTreeSet<AwsAccountId>, StateError> {
        let accounts: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(self.pool())
            .await
            .map_err(StateError::query("reading who linked which account"))?;
        let parse = |account: &String| account.parse().map_err(StateError::value("an account"));
        accounts.iter().map(parse).collect()
    }
}
