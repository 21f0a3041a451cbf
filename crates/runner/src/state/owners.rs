//! Whose a Spot account is: the stack that linked it last, and the external ID that was made for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId},
    stackset_sync::spot_links::HostedLink,
};
use onboarding_provider::{IntentsError, Owner, RememberedExternalId};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{State, StateError, intents::store};

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
                .fetch_all(&self.pool)
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
            .fetch_all(&self.pool)
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
            .fetch_all(&self.pool)
            .await
            .map_err(StateError::query("reading who linked which account"))?;
        let parse = |account: &String| account.parse().map_err(StateError::value("an account"));
        accounts.iter().map(parse).collect()
    }

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
    ) -> Result<(), IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
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

fn owner_of(row: &SqliteRow) -> Result<Owner, IntentsError> {
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
