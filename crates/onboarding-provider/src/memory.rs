//! The state in memory: for tests, and for a process that has nothing durable.
//!
//! It is lost with the process, and one process knows nothing of another's. Where it is the only state, the settings say
//! so (`shared_state`), and Spot itself is asked for what can be seen there. Answers are kept until the process ends.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{Holder, ResourceResponse},
    ids::{AwsAccountId, SpotAccountId, StackId},
};
use parking_lot::Mutex;

use crate::intents::{
    Assigned, Assignment, Claim, Departure, Freeze, Intent, Intents, IntentsError, Owner,
    RememberedExternalId, SendIntent, Tombstone, brought_near,
};

/// [`Intents`] in memory. Several providers of one process may share it, as several replicas share a database.
#[derive(Debug, Default)]
pub struct MemoryIntents(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    rows: HashMap<AwsAccountId, Row>,
    owners: HashMap<SpotAccountId, Owner>,
    external_ids: HashMap<SpotAccountId, RememberedExternalId>,
    tombstones: HashMap<SpotAccountId, Tombstone>,
    answers: HashMap<(String, String), ResourceResponse>,
    freeze: Option<Freeze>,
}

#[derive(Debug, Default)]
struct Row {
    intent: Intent,
    holder: Option<(String, Timestamp)>,
}

impl Row {
    fn is_held_by(&self, holder: &str) -> bool {
        matches!(&self.holder, Some((by, _)) if by == holder)
    }

    fn is_claimed(&self, now: Timestamp) -> bool {
        matches!(&self.holder, Some((_, until)) if *until > now)
    }
}

impl MemoryIntents {
    /// Begins a freeze, or ends it.
    pub fn freeze(&self, freeze: Option<Freeze>) {
        self.0.lock().freeze = freeze;
    }

    /// The tombstone of a Spot account.
    #[must_use]
    pub fn tombstone(&self, spot_account: &SpotAccountId) -> Option<Tombstone> {
        self.0.lock().tombstones.get(spot_account).cloned()
    }
}

#[async_trait]
impl Intents for MemoryIntents {
    async fn is_current(&self) -> Result<bool, IntentsError> {
        Ok(true)
    }

    async fn now(&self) -> Result<Timestamp, IntentsError> {
        Ok(Timestamp::now())
    }

    async fn frozen(&self) -> Result<Option<Freeze>, IntentsError> {
        Ok(self.0.lock().freeze.clone())
    }

    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        match &row.holder {
            Some((by, held_until)) if by != holder && *held_until > Timestamp::now() => {
                Ok(Claim::Busy { until: *held_until })
            }
            _ => {
                row.holder = Some((holder.to_owned(), until));
                Ok(Claim::Held(row.intent.clone()))
            }
        }
    }

    async fn bring_near(
        &self,
        account: AwsAccountId,
        longest: Duration,
    ) -> Result<(), IntentsError> {
        let (mut tables, now) = (self.0.lock(), Timestamp::now());
        let row = tables.rows.entry(account).or_default();
        let held_until = row.holder.as_mut().map(|(_, until)| until);
        let look_after = row.intent.sent.as_mut().map(|sent| &mut sent.look_after);
        for moment in held_until.into_iter().chain(look_after) {
            *moment = brought_near(*moment, now, longest).unwrap_or(*moment);
        }
        Ok(())
    }

    async fn release(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        if row.is_held_by(holder) {
            row.holder = None;
        }
        Ok(())
    }

    async fn intent(&self, account: AwsAccountId) -> Result<Intent, IntentsError> {
        let tables = self.0.lock();
        Ok(tables
            .rows
            .get(&account)
            .map(|row| row.intent.clone())
            .unwrap_or_default())
    }

    async fn write_intent(
        &self,
        account: AwsAccountId,
        holder: &str,
        intent: &SendIntent,
    ) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        if !(row.is_held_by(holder) && row.is_claimed(Timestamp::now())) {
            return Err(IntentsError::ClaimLost(account));
        }
        row.intent.sent = Some(intent.clone());
        Ok(())
    }

    async fn clear_intent(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        if row.is_held_by(holder) {
            row.intent.sent = None;
        }
        Ok(())
    }

    async fn assign(
        &self,
        account: AwsAccountId,
        holder: &str,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<Assigned, IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        let holds = row.is_held_by(holder);
        let assigned = row
            .intent
            .assign_created(holds, seen, assignment, Timestamp::now());
        Ok(assigned)
    }

    async fn note_listed(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
    ) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let intent = &mut tables.rows.entry(account).or_default().intent;
        intent.unlisted &= intent.assigned.as_ref() != Some(spot_account);
        Ok(())
    }

    async fn take_over(
        &self,
        account: AwsAccountId,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<bool, IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(account).or_default();
        let now = Timestamp::now();
        let is_free = !row.is_claimed(now) && row.intent == *seen;
        Ok(is_free && row.intent.assign(assignment, now))
    }

    async fn hold(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        holder: &Holder,
        asked: Timestamp,
    ) -> Result<bool, IntentsError> {
        let (mut tables, now) = (self.0.lock(), Timestamp::now());
        let row = tables.rows.entry(account).or_default();
        Ok(!row.is_claimed(now) && row.intent.hold(spot_account, holder, asked, now))
    }

    async fn let_go(
        &self,
        account: AwsAccountId,
        departure: &Departure,
    ) -> Result<Intent, IntentsError> {
        let mut tables = self.0.lock();
        let intent = &mut tables.rows.entry(account).or_default().intent;
        intent.let_go(departure);
        Ok(intent.clone())
    }

    async fn forget(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        departure: Option<&Departure>,
    ) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let intent = &mut tables.rows.entry(account).or_default().intent;
        intent.forget(spot_account, departure);
        tables.owners.remove(spot_account);
        tables.external_ids.remove(spot_account);
        tables.tombstones.remove(spot_account);
        Ok(())
    }

    async fn leave_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        tables
            .tombstones
            .insert(tombstone.spot_account.clone(), tombstone.clone());
        Ok(())
    }

    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError> {
        Ok(self.0.lock().owners.get(spot_account).cloned())
    }

    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
        holder: &str,
    ) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        let row = tables.rows.entry(owner.account).or_default();
        if !(row.is_held_by(holder) && row.is_claimed(Timestamp::now())) {
            return Err(IntentsError::ClaimLost(owner.account));
        }
        tables.owners.insert(spot_account.clone(), owner.clone());
        tables.tombstones.remove(spot_account);
        Ok(())
    }

    async fn external_id(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<RememberedExternalId>, IntentsError> {
        Ok(self.0.lock().external_ids.get(spot_account).cloned())
    }

    async fn remember_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &RememberedExternalId,
    ) -> Result<(), IntentsError> {
        let mut tables = self.0.lock();
        tables
            .external_ids
            .insert(spot_account.clone(), external_id.clone());
        Ok(())
    }

    async fn answer(
        &self,
        stack_id: &StackId,
        request_id: &str,
    ) -> Result<Option<ResourceResponse>, IntentsError> {
        let key = (stack_id.to_string(), request_id.to_owned());
        Ok(self.0.lock().answers.get(&key).cloned())
    }

    async fn remember_answer(
        &self,
        answer: &ResourceResponse,
    ) -> Result<ResourceResponse, IntentsError> {
        let key = (answer.stack_id.clone(), answer.request_id.clone());
        let mut tables = self.0.lock();
        let stays = tables.answers.entry(key).or_insert_with(|| answer.clone());
        Ok(stays.clone())
    }
}
