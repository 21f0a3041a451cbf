//! Creations of Spot accounts whose outcome nobody has seen when something else took their place in an AWS account's row: Spot may
//! have taken such a call, or take it yet, and what it makes is ours.

use jiff::Timestamp;
use onboarding_core::ids::AwsAccountId;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{Database, store};
use crate::intents::{IntentsError, SendIntent, SentCall};

/// What their names in `kv` begin with; the AWS account and the moment follow.
const PREFIX: &str = "unsettled-creation:";

/// For how long one is remembered, in seconds: what it made is found within days, and waits for its grace period.
const KEPT: i64 = 180 * 86_400;

/// A creation that was sent and that nobody knows the outcome of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsettledCreation {
    /// The AWS account.
    pub account: AwsAccountId,
    /// The name that the Spot account was to get.
    pub name: String,
    /// When something else took its place; while nothing has, when it was sent at the latest.
    pub at: Timestamp,
}

impl Database {
    /// The creations whose outcome nobody has seen: those that were given up, and those that somebody still looks for.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn unsettled_creations(&self) -> Result<Vec<UnsettledCreation>, IntentsError> {
        let open = sqlx::query(
            "SELECT account, sent, CAST(0 AS BIGINT) AS moment FROM intents WHERE sent IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(store)?;
        let given_up = sqlx::query(
            "SELECT SUBSTR(name, 20, 12) AS account, value AS sent, written_at AS moment FROM kv \
             WHERE name LIKE 'unsettled-creation:%' ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(store)?;
        let rows = open.iter().chain(&given_up);
        rows.filter_map(|row| creation_of(row).transpose())
            .collect()
    }
}

fn creation_of(row: &AnyRow) -> Result<Option<UnsettledCreation>, IntentsError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(store);
    let sent: SendIntent = serde_json::from_str(&text("sent")?).map_err(store)?;
    let SentCall::Create { name, .. } = sent.call else {
        return Ok(None);
    };
    let at: i64 = row.try_get("moment").map_err(store)?;
    let at = match at {
        0 => sent.send_by,
        at => Timestamp::from_second(at).map_err(store)?,
    };
    let account = text("account")?.parse().map_err(store)?;
    Ok(Some(UnsettledCreation { account, name, at }))
}

/// Notes what takes a place: a creation whose outcome nobody has seen is remembered. One that is only waited for longer is the same.
pub(super) async fn note(
    tx: &mut Transaction<'static, Any>,
    account: AwsAccountId,
    before: Option<&SendIntent>,
    now: Option<&SendIntent>,
) -> Result<(), IntentsError> {
    let Some(before) = before.filter(|sent| matches!(sent.call, SentCall::Create { .. })) else {
        return Ok(());
    };
    let is_same = |now: &SendIntent| (&now.call, now.send_by) == (&before.call, before.send_by);
    if now.is_some_and(is_same) {
        return Ok(());
    }
    let now = Timestamp::now().as_second();
    sqlx::query("DELETE FROM kv WHERE name LIKE 'unsettled-creation:%' AND written_at < $1")
        .bind(now - KEPT)
        .execute(&mut **tx)
        .await
        .map_err(store)?;
    sqlx::query(
        "INSERT INTO kv (name, value, written_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(format!("{PREFIX}{account}:{}", before.send_by.as_millisecond()))
    .bind(serde_json::to_string(before).map_err(store)?)
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store)
}
