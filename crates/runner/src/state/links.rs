//! The history of links, which the provider writes, and what was read of the stacks that made them.

use std::collections::BTreeMap;

use onboarding_core::{
    ids::{AwsAccountId, StackId},
    stackset_sync::past_links::{LinkRecord, LinkRecords, StackNow},
};
use sqlx::{Row as _, any::AnyRow};

use super::{State, StateError};

impl State {
    /// Every link that we made and remember, oldest first. Of a stack that was never seen gone, nothing is known.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn link_records(&self) -> Result<LinkRecords, StateError> {
        let rows = sqlx::query("SELECT * FROM links ORDER BY linked_at")
            .fetch_all(self.pool())
            .await
            .map_err(StateError::query("reading the history of links"))?;
        let mut records = LinkRecords::new();
        for row in &rows {
            let (account, record) = record(row)?;
            records.entry(account).or_default().push(record);
        }
        Ok(records)
    }

    /// Remembers that stacks are deleted, with when (Unix milliseconds) where AWS told.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_gone_stacks(
        &self,
        stacks: &BTreeMap<String, Option<i64>>,
    ) -> Result<(), StateError> {
        if stacks.is_empty() {
            return Ok(());
        }
        let error = StateError::query("writing the history of links");
        let mut tx = self.write().await.map_err(&error)?;
        for (stack, at) in stacks {
            sqlx::query("UPDATE links SET stack_gone = 1, stack_ended_at = $2 WHERE stack_id = $1")
                .bind(stack)
                .bind(*at)
                .execute(&mut *tx)
                .await
                .map_err(&error)?;
        }
        tx.commit().await.map_err(error)
    }

    /// Notes that Spot has no way in by the link of a stack any more, seen at a moment (Unix milliseconds). The first time counts.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn note_broken_link(&self, stack: &StackId, at: i64) -> Result<(), StateError> {
        sqlx::query("UPDATE links SET broken_at = $2 WHERE stack_id = $1 AND broken_at IS NULL")
            .bind(stack.as_str())
            .bind(at)
            .execute(self.pool())
            .await
            .map(drop)
            .map_err(StateError::query("writing the history of links"))
    }
}

fn record(row: &AnyRow) -> Result<(AwsAccountId, LinkRecord), StateError> {
    let error = StateError::query("reading the history of links");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(&error);
    let number = |column: &str| row.try_get::<Option<i64>, _>(column).map_err(&error);
    let external_id: Option<String> = row.try_get("external_id").map_err(&error)?;
    let external_id = external_id.map(|id| id.parse()).transpose();
    let is_gone = number("stack_gone")?.is_some();
    let record = LinkRecord {
        spot_account: text("spot_account")?
            .parse()
            .map_err(StateError::value("a Spot account"))?,
        stack: text("stack_id")?
            .parse()
            .map_err(StateError::value("a stack"))?,
        role: text("role")?.parse().map_err(StateError::value("a role"))?,
        external_id: external_id.map_err(StateError::value("an external ID"))?,
        linked_at: row.try_get("linked_at").map_err(&error)?,
        ended_at: number("ended_at")?,
        broken_at: number("broken_at")?,
        now: match is_gone {
            true => StackNow::Gone {
                at: number("stack_ended_at")?,
            },
            false => StackNow::Unknown("nobody looked".into()),
        },
    };
    let account = text("account")?;
    let account = account.parse().map_err(StateError::value("an account"))?;
    Ok((account, record))
}
