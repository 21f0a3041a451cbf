//! The enrollment provider's state: claims and intents, one row per AWS account.

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::ids::{AwsAccountId, SpotAccountId, StackId};
use onboarding_provider::{
    Claim, Intent, Intents, IntentsError, Owner, RememberedExternalId, ResourceResponse, SendIntent,
};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::State;

/// For `map_err` on whatever the store says.
pub(super) fn store<E>(error: E) -> IntentsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    IntentsError::Store(error.into())
}

#[async_trait]
impl Intents for State {
    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError> {
        let claimed = sqlx::query(
            "INSERT INTO intents (account, holder, held_until) VALUES ($1, $2, $3) \
             ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
             WHERE intents.holder IS NULL OR intents.holder = excluded.holder OR intents.held_until <= $4 \
             RETURNING assigned, assigned_at, sent",
        )
        .bind(account.to_string())
        .bind(holder)
        .bind(until.as_millisecond())
        .bind(Timestamp::now().as_millisecond())
        .fetch_optional(&self.pool)
        .await
        .map_err(store)?;
        if let Some(row) = claimed {
            return intent_of(&row).map(Claim::Held);
        }
        let held_until: Option<i64> =
            sqlx::query_scalar("SELECT held_until FROM intents WHERE account = $1")
                .bind(account.to_string())
                .fetch_one(&self.pool)
                .await
                .map_err(store)?;
        // Given back between the two statements: the claimant may come again at once.
        let until = held_until.map_or_else(|| Ok(Timestamp::now()), Timestamp::from_millisecond);
        Ok(Claim::Busy {
            until: until.map_err(store)?,
        })
    }

    async fn release(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        sqlx::query(
            "UPDATE intents SET holder = NULL, held_until = NULL WHERE account = $1 AND holder = $2",
        )
        .bind(account.to_string())
        .bind(holder)
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(store)
    }

    async fn intent(&self, account: AwsAccountId) -> Result<Intent, IntentsError> {
        let row = sqlx::query("SELECT assigned, assigned_at, sent FROM intents WHERE account = $1")
            .bind(account.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(store)?;
        row.as_ref()
            .map_or_else(|| Ok(Intent::default()), intent_of)
    }

    async fn write_intent(
        &self,
        account: AwsAccountId,
        holder: &str,
        intent: &SendIntent,
    ) -> Result<(), IntentsError> {
        let written = sqlx::query(
            "UPDATE intents SET sent = $3 WHERE account = $1 AND holder = $2 AND held_until > $4",
        )
        .bind(account.to_string())
        .bind(holder)
        .bind(serde_json::to_string(intent).map_err(store)?)
        .bind(Timestamp::now().as_millisecond())
        .execute(&self.pool)
        .await
        .map_err(store)?;
        match written.rows_affected() {
            0 => Err(IntentsError::ClaimLost(account)),
            _ => Ok(()),
        }
    }

    async fn clear_intent(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        sqlx::query("UPDATE intents SET sent = NULL WHERE account = $1 AND holder = $2")
            .bind(account.to_string())
            .bind(holder)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(store)
    }

    async fn assign(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        at: Timestamp,
    ) -> Result<(), IntentsError> {
        sqlx::query(
            "INSERT INTO intents (account, assigned, assigned_at) VALUES ($1, $2, $3) \
             ON CONFLICT (account) DO UPDATE SET assigned = excluded.assigned, \
             assigned_at = excluded.assigned_at, sent = NULL",
        )
        .bind(account.to_string())
        .bind(spot_account.as_str())
        .bind(at.as_millisecond())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(store)
    }

    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError> {
        self.read_owner(spot_account).await
    }

    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
    ) -> Result<(), IntentsError> {
        self.write_owner(spot_account, owner).await
    }

    async fn external_id(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<RememberedExternalId>, IntentsError> {
        self.read_external_id(spot_account).await
    }

    async fn remember_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &RememberedExternalId,
    ) -> Result<(), IntentsError> {
        self.write_external_id(spot_account, external_id).await
    }

    async fn answer(
        &self,
        stack_id: &StackId,
        request_id: &str,
    ) -> Result<Option<ResourceResponse>, IntentsError> {
        self.read_answer(stack_id, request_id).await
    }

    async fn remember_answer(
        &self,
        answer: &ResourceResponse,
    ) -> Result<ResourceResponse, IntentsError> {
        self.write_answer(answer).await
    }
}

fn intent_of(row: &SqliteRow) -> Result<Intent, IntentsError> {
    let assigned: Option<String> = row.try_get("assigned").map_err(store)?;
    let assigned_at: Option<i64> = row.try_get("assigned_at").map_err(store)?;
    let sent: Option<String> = row.try_get("sent").map_err(store)?;
    let assigned = assigned.map(|id| id.parse()).transpose();
    let assigned_at = assigned_at.map(Timestamp::from_millisecond).transpose();
    let sent = sent.map(|sent| serde_json::from_str(&sent)).transpose();
    Ok(Intent {
        assigned: assigned.map_err(store)?,
        assigned_at: assigned_at.map_err(store)?,
        sent: sent.map_err(store)?,
    })
}
