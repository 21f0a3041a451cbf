//! Answers that custom resources got, so that a request that comes again gets the same one. Those that nobody can ask for any
//! more are forgotten.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use onboarding_core::{custom_resource::ResourceResponse, desired::DirectEnrollment, ids::StackId};

use super::{Database, store};
use crate::intents::IntentsError;

/// How long an answer is kept: longer than the 14 days for which SQS keeps a message at most (SQS API reference,
/// MessageRetentionPeriod) and the hour for which CloudFormation waits.
const KEPT: SignedDuration = SignedDuration::from_hours(15 * 24);

/// How often a process that writes answers looks for old ones.
const PRUNED_EVERY: SignedDuration = SignedDuration::from_hours(1);

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
        self.prune_answers(now).await;
        Ok(stays)
    }

    /// Forgets old answers, now and then. What was written down about accounts that were enrolled without custom resources is
    /// in the same table, and stays.
    async fn prune_answers(&self, now: i64) {
        let due = |last: i64| now.saturating_sub(last) >= millis(PRUNED_EVERY);
        let claimed = |last: i64| due(last).then_some(now);
        let order = Ordering::Relaxed;
        if self.pruned.fetch_update(order, order, claimed).is_err() {
            return;
        }
        let mark = DirectEnrollment::MARK;
        let pruned = sqlx::query(
            "DELETE FROM answered_requests WHERE answered_at < $1 \
             AND substr(request_id, 1, CAST($2 AS INTEGER)) <> $3",
        )
        .bind(now.saturating_sub(millis(KEPT)))
        .bind(i64::try_from(mark.len()).unwrap_or(i64::MAX))
        .bind(mark)
        .execute(&self.pool)
        .await;
        match pruned {
            Ok(pruned) => {
                tracing::debug!(answers = pruned.rows_affected(), "old answers forgotten")
            }
            Err(error) => tracing::warn!(%error, "old answers are not forgotten"),
        }
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The AWS account and the Spot account of an answer that says: linked before us (`Adopted`).
fn adoption(answer: &ResourceResponse) -> Option<(String, &str)> {
    let adopted = answer.data.get("Adopted")?.as_str()? == "true";
    let stack: StackId = answer.stack_id.parse().ok()?;
    let spot_account = answer.data.get("AccountId")?.as_str()?;
    adopted.then_some((stack.account()?.to_string(), spot_account))
}
