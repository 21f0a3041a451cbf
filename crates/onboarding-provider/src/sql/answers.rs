//! Answers that custom resources got, so that a request that comes again gets the same one.

use jiff::Timestamp;
use onboarding_core::{custom_resource::ResourceResponse, ids::StackId};

use super::{Database, store};
use crate::intents::IntentsError;

impl Database {
    pub(super) async fn read_answer(
        &self,
        stack_id: &StackId,
        request_id: &str,
    ) -> Result<Option<ResourceResponse>, IntentsError> {
        let answer: Option<String> = sqlx::query_scalar(
            "SELECT answer FROM answered_requests WHERE stack_id = $1 AND request_id = $2",
        )
        .bind(stack_id.as_str())
        .bind(request_id)
        .fetch_optional(&self.pool)
        .await
        .map_err(store)?;
        let answer = answer.map(|answer| serde_json::from_str(&answer));
        answer.transpose().map_err(store)
    }

    /// Remembers an answer unless there is one; the one that stays is returned.
    pub(super) async fn write_answer(
        &self,
        answer: &ResourceResponse,
    ) -> Result<ResourceResponse, IntentsError> {
        let now = Timestamp::now().as_millisecond();
        let mut tx = self.write().await.map_err(store)?;
        let stays: String = sqlx::query_scalar(
            "INSERT INTO answered_requests (stack_id, request_id, answer, answered_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (stack_id, request_id) DO UPDATE SET answer = answered_requests.answer RETURNING answer",
        )
        .bind(&answer.stack_id)
        .bind(&answer.request_id)
        .bind(serde_json::to_string(answer).map_err(store)?)
        .bind(now)
        .fetch_one(&mut *tx)
        .await
        .map_err(store)?;
        let stays: ResourceResponse = serde_json::from_str(&stays).map_err(store)?;
        if let Some((account, spot_account)) = adoption(&stays) {
            sqlx::query(
                "INSERT INTO adoptions (account, spot_account, answered_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (account) DO UPDATE SET spot_account = excluded.spot_account, \
                 answered_at = excluded.answered_at",
            )
            .bind(account)
            .bind(spot_account)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        }
        tx.commit().await.map_err(store)?;
        Ok(stays)
    }
}

/// The AWS account and the Spot account of an answer that says: linked before us (`Adopted`).
fn adoption(answer: &ResourceResponse) -> Option<(String, &str)> {
    let adopted = answer.data.get("Adopted")?.as_str()? == "true";
    let stack: StackId = answer.stack_id.parse().ok()?;
    let spot_account = answer.data.get("AccountId")?.as_str()?;
    adopted.then_some((stack.account()?.to_string(), spot_account))
}
