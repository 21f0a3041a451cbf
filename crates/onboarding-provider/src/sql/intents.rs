//! Claims and intents: one row for each AWS account, which is the lock between all who work on it. Claims are held for a while by the
//! database's clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use onboarding_core::{
    custom_resource::{Holder, ResourceResponse},
    ids::{AwsAccountId, SpotAccountId, StackId},
};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{
    Database, PATIENCE, VERSION,
    clock::{Timed, timed},
    store, unsettled,
};
use crate::intents::{
    Assigned, Assignment, Claim, Departed, Departure, Freeze, Intent, Intents, IntentsError, Owner,
    RememberedExternalId, SendIntent, Tombstone, brought_near,
};

/// Makes, takes over or prolongs a claim, unless somebody else holds it.
const CLAIM: Timed = timed!(
    "INSERT INTO intents (account, holder, held_until) VALUES ($1, $2, ",
    " + $3) ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
     WHERE intents.holder IS NULL OR intents.holder = excluded.holder OR intents.held_until <= ",
    " RETURNING *",
);

/// How much longer a claim is held.
const LEFT: Timed = timed!("SELECT held_until - ", " FROM intents WHERE account = $1");

const WRITE_INTENT: Timed = timed!(
    "UPDATE intents SET sent = $3 WHERE account = $1 AND holder = $2 AND held_until > ",
    "",
);

const NOW: Timed = timed!("SELECT ", "");

/// Reads the row of an account, with the time.
const READ: Timed = timed!("SELECT *, ", " AS now FROM intents WHERE account = $1");

/// Locks the row of an account, makes it when it is missing, and reads it.
const LOCK: Timed = timed!(
    "INSERT INTO intents (account) VALUES ($1) \
     ON CONFLICT (account) DO UPDATE SET account = excluded.account RETURNING *, ",
    " AS now",
);

#[async_trait]
impl Intents for Database {
    async fn is_current(&self) -> Result<bool, IntentsError> {
        let version = tokio::time::timeout(PATIENCE, self.version()).await;
        let version = version.map_err(store)?.map_err(store)?;
        Ok(version == Some(VERSION))
    }

    async fn now(&self) -> Result<Timestamp, IntentsError> {
        let now: i64 = sqlx::query_scalar(self.text(&NOW))
            .fetch_one(&self.pool)
            .await
            .map_err(store)?;
        Timestamp::from_millisecond(now).map_err(store)
    }

    async fn frozen(&self) -> Result<Option<Freeze>, IntentsError> {
        self.freeze().await.map_err(store)
    }

    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError> {
        let claimed = sqlx::query(self.text(&CLAIM))
            .bind(account.to_string())
            .bind(holder)
            .bind(until.as_millisecond() - Timestamp::now().as_millisecond())
            .fetch_optional(&self.pool)
            .await
            .map_err(store)?;
        if let Some(row) = claimed {
            return intent_of(&row).map(Claim::Held);
        }
        let left: Option<i64> = sqlx::query_scalar(self.text(&LEFT))
            .bind(account.to_string())
            .fetch_one(&self.pool)
            .await
            .map_err(store)?;
        // Given back between the two statements: the claimant may come again at once.
        let left = left.unwrap_or_default().max(0);
        let until = Timestamp::now().checked_add(SignedDuration::from_millis(left));
        Ok(Claim::Busy {
            until: until.unwrap_or(Timestamp::MAX),
        })
    }

    async fn bring_near(
        &self,
        account: AwsAccountId,
        longest: Duration,
    ) -> Result<(), IntentsError> {
        let row = sqlx::query(self.text(&READ))
            .bind(account.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(store)?;
        match row {
            Some(row) if Moments::of(&row)?.bring_near(longest) => {}
            _ => return Ok(()),
        }
        let mut tx = self.write().await.map_err(store)?;
        let mut moments = Moments::of(&self.locked(&mut tx, account).await?)?;
        if !moments.bring_near(longest) {
            return Ok(());
        }
        tracing::warn!(%account, "a claim or an intent was written by a clock that was ahead; it is in force for no longer than others");
        let sent = moments.sent.as_ref().map(serde_json::to_string).transpose();
        sqlx::query("UPDATE intents SET held_until = $2, sent = $3 WHERE account = $1")
            .bind(account.to_string())
            .bind(moments.held_until.map(Timestamp::as_millisecond))
            .bind(sent.map_err(store)?)
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        tx.commit().await.map_err(store)
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
        let row = sqlx::query("SELECT * FROM intents WHERE account = $1")
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
        let mut tx = self.write().await.map_err(store)?;
        let before = intent_of(&self.locked(&mut tx, account).await?)?;
        let written = sqlx::query(self.text(&WRITE_INTENT))
            .bind(account.to_string())
            .bind(holder)
            .bind(serde_json::to_string(intent).map_err(store)?)
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        if written.rows_affected() == 0 {
            return Err(IntentsError::ClaimLost(account));
        }
        unsettled::note(&mut tx, account, before.sent.as_ref(), Some(intent)).await?;
        tx.commit().await.map_err(store)
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
        holder: &str,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<Assigned, IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        let row = self.locked(&mut tx, account).await?;
        let held_by: Option<String> = row.try_get("holder").map_err(store)?;
        let mut intent = intent_of(&row)?;
        let holds = held_by.as_deref() == Some(holder);
        let assigned = intent.assign_created(holds, seen, assignment, now_of(&row)?);
        if let Assigned::Late(_) = assigned {
            return Ok(assigned);
        }
        write(&mut tx, account, &intent).await?;
        tx.commit().await.map_err(store)?;
        Ok(assigned)
    }

    async fn note_listed(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
    ) -> Result<(), IntentsError> {
        sqlx::query("UPDATE intents SET unlisted = 0 WHERE account = $1 AND assigned = $2")
            .bind(account.to_string())
            .bind(spot_account.as_str())
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(store)
    }

    async fn take_over(
        &self,
        account: AwsAccountId,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<bool, IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        let row = self.locked(&mut tx, account).await?;
        let mut intent = intent_of(&row)?;
        if is_claimed(&row)? || intent != *seen || !intent.assign(assignment, now_of(&row)?) {
            return Ok(false);
        }
        // What was found is not what was sent.
        if assignment.created_by.is_none() {
            unsettled::note(&mut tx, account, seen.sent.as_ref(), None).await?;
        }
        write(&mut tx, account, &intent).await?;
        tx.commit().await.map_err(store)?;
        Ok(true)
    }

    async fn hold(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        holder: &Holder,
        asked: Timestamp,
    ) -> Result<bool, IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        let row = self.locked(&mut tx, account).await?;
        let mut intent = intent_of(&row)?;
        let before = intent.clone();
        if is_claimed(&row)? || !intent.hold(spot_account, holder, asked, now_of(&row)?) {
            return Ok(false);
        }
        if intent != before {
            write(&mut tx, account, &intent).await?;
        }
        tx.commit().await.map_err(store)?;
        Ok(true)
    }

    async fn let_go(
        &self,
        account: AwsAccountId,
        departure: &Departure,
    ) -> Result<Intent, IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        let mut intent = intent_of(&self.locked(&mut tx, account).await?)?;
        intent.let_go(departure);
        write(&mut tx, account, &intent).await?;
        tx.commit().await.map_err(store)?;
        Ok(intent)
    }

    async fn forget(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        departure: Option<&Departure>,
    ) -> Result<(), IntentsError> {
        let mut tx = self.write().await.map_err(store)?;
        let mut intent = intent_of(&self.locked(&mut tx, account).await?)?;
        intent.forget(spot_account, departure);
        write(&mut tx, account, &intent).await?;
        super::tombstones::forget(&mut tx, spot_account).await?;
        tx.commit().await.map_err(store)
    }

    async fn leave_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError> {
        self.write_tombstone(tombstone).await
    }

    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError> {
        self.read_owner(spot_account).await
    }

    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
        holder: &str,
    ) -> Result<(), IntentsError> {
        self.write_owner(spot_account, owner, holder).await
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

impl Database {
    /// The row of an AWS account, made when it is missing, and locked until the transaction ends.
    pub(super) async fn locked(
        &self,
        tx: &mut Transaction<'static, Any>,
        account: AwsAccountId,
    ) -> Result<AnyRow, IntentsError> {
        sqlx::query(self.text(&LOCK))
            .bind(account.to_string())
            .fetch_one(&mut **tx)
            .await
            .map_err(store)
    }
}

/// Whether somebody holds the claim of a locked row.
pub(super) fn is_claimed(row: &AnyRow) -> Result<bool, IntentsError> {
    let held_until: Option<i64> = row.try_get("held_until").map_err(store)?;
    let now: i64 = row.try_get("now").map_err(store)?;
    Ok(held_until.is_some_and(|until| until > now))
}

/// The moments of a row that others wait for, and what time it is.
struct Moments {
    now: Timestamp,
    held_until: Option<Timestamp>,
    sent: Option<SendIntent>,
}

impl Moments {
    fn of(row: &AnyRow) -> Result<Self, IntentsError> {
        let held_until: Option<i64> = row.try_get("held_until").map_err(store)?;
        // What is later than any moment is the last one.
        let moment = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        Ok(Self {
            now: now_of(row)?,
            held_until: held_until.map(moment),
            sent: intent_of(row)?.sent,
        })
    }

    /// See [`Intents::bring_near`]. Whether anything was far away.
    fn bring_near(&mut self, longest: Duration) -> bool {
        let now = self.now;
        let waited_for = self.held_until.iter_mut();
        let waited_for = waited_for.chain(self.sent.as_mut().map(|sent| &mut sent.look_after));
        let mut any = false;
        for moment in waited_for {
            if let Some(near) = brought_near(*moment, now, longest) {
                (*moment, any) = (near, true);
            }
        }
        any
    }
}

/// The time by the database's clock, when this row was read with it.
fn now_of(row: &AnyRow) -> Result<Timestamp, IntentsError> {
    let now: i64 = row.try_get("now").map_err(store)?;
    Timestamp::from_millisecond(now).map_err(store)
}

/// One who has been deleted, as it is written.
#[derive(Serialize, Deserialize)]
struct Ended {
    holder: Holder,
    departed: Departed,
}

/// Writes a locked row, all but who holds the claim. What an earlier version wrote about stacks is in the newer columns then.
async fn write(
    tx: &mut Transaction<'static, Any>,
    account: AwsAccountId,
    intent: &Intent,
) -> Result<(), IntentsError> {
    let departed = intent.departed.iter().map(|(holder, departed)| Ended {
        holder: holder.clone(),
        departed: *departed,
    });
    let departed: Vec<Ended> = departed.collect();
    let sent = intent.sent.as_ref().map(serde_json::to_string).transpose();
    sqlx::query(
        "UPDATE intents SET assigned = $2, assigned_at = $3, created_by = $4, holders = $5, departures = $6, sent = $7, \
         removed = $8, unlisted = $9, stacks = NULL, departed = NULL WHERE account = $1",
    )
    .bind(account.to_string())
    .bind(intent.assigned.as_ref().map(SpotAccountId::as_str))
    .bind(intent.assigned_at.map(Timestamp::as_millisecond))
    .bind(intent.created_by.as_ref().map(StackId::as_str))
    .bind(serde_json::to_string(&intent.holders).map_err(store)?)
    .bind(serde_json::to_string(&departed).map_err(store)?)
    .bind(sent.map_err(store)?)
    .bind(intent.removed.as_ref().map(SpotAccountId::as_str))
    .bind(i64::from(intent.unlisted))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store)
}

fn intent_of(row: &AnyRow) -> Result<Intent, IntentsError> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column).map_err(store);
    let assigned_at: Option<i64> = row.try_get("assigned_at").map_err(store)?;
    let unlisted: i64 = row.try_get("unlisted").map_err(store)?;
    let sent = text("sent")?.map(|sent| serde_json::from_str(&sent));
    let assigned = text("assigned")?.map(|id| id.parse());
    let created_by = text("created_by")?.map(|stack| stack.parse());
    let removed = text("removed")?.map(|id| id.parse());
    // An earlier version knew stacks only.
    let stacks = |column: &str| -> Result<Vec<Holder>, IntentsError> {
        let stacks: Vec<StackId> = list(text(column)?)?;
        Ok(stacks.iter().map(Holder::stack).collect())
    };
    let mut holders: BTreeSet<Holder> = list(text("holders")?)?.into_iter().collect();
    holders.extend(stacks("stacks")?);
    let known: Vec<Ended> = list(text("departures")?)?;
    let known = known.into_iter().map(|one| (one.holder, one.departed));
    let stacks = stacks("departed")?.into_iter();
    let stacks = stacks.map(|stack| (stack, Departed::by_an_earlier_version()));
    let departed: BTreeMap<_, _> = known.chain(stacks).collect();
    Ok(Intent {
        assigned: assigned.transpose().map_err(store)?,
        assigned_at: assigned_at
            .map(Timestamp::from_millisecond)
            .transpose()
            .map_err(store)?,
        unlisted: unlisted != 0,
        created_by: created_by.transpose().map_err(store)?,
        holders,
        departed,
        sent: sent.transpose().map_err(store)?,
        removed: removed.transpose().map_err(store)?,
    })
}

/// A JSON array; one that is not there is empty.
fn list<T: serde::de::DeserializeOwned>(text: Option<String>) -> Result<Vec<T>, IntentsError> {
    text.map_or_else(
        || Ok(Vec::new()),
        |text| serde_json::from_str(&text).map_err(store),
    )
}
