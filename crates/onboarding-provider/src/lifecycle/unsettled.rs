//! Calls of Spot whose outcome nobody knows yet: from when on a listing tells.
//!
//! That goes by the clock of the state, which is one for all who share it. A clock that jumps ahead must not settle what was sent a
//! moment ago: what this process has sent itself goes by its steady clock, too, and so does for how long it has missed an account that
//! Spot said it created and nobody has seen listed.

use std::{collections::HashMap, time::Duration};

use onboarding_core::ids::{AwsAccountId, SpotAccountId};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Trouble;
use crate::{
    intents::{Intent, IntentsError},
    provider::Provider,
};

/// How long an account is remembered as missed that nobody asks about any more.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The AWS accounts for which this process has sent a creation or deletion of late, and the Spot accounts that were created and that it
/// misses in listings, since when.
#[derive(Default)]
pub(crate) struct Unsettled {
    sent: Mutex<HashMap<AwsAccountId, Instant>>,
    missed: Mutex<HashMap<SpotAccountId, Instant>>,
}

impl Unsettled {
    /// Notes that the outcome is not known for so long.
    pub(super) fn note(&self, account: AwsAccountId, doubt: Duration) {
        let (mut unsettled, now) = (self.sent.lock(), Instant::now());
        unsettled.retain(|_, until| *until > now);
        unsettled.insert(account, now + doubt);
    }

    /// Notes that it is known.
    pub(super) fn settle(&self, account: AwsAccountId) {
        self.sent.lock().remove(&account);
    }

    /// For how long it misses a Spot account.
    fn missed_for(&self, id: &SpotAccountId) -> Duration {
        let mut missed = self.missed.lock();
        missed.retain(|_, since| since.elapsed() < REMEMBERED);
        missed
            .entry(id.clone())
            .or_insert_with(Instant::now)
            .elapsed()
    }

    /// Notes that it misses one no more.
    fn found(&self, id: &SpotAccountId) {
        self.missed.lock().remove(id);
    }

    fn has(&self, account: AwsAccountId) -> bool {
        let unsettled = self.sent.lock();
        unsettled
            .get(&account)
            .is_some_and(|until| *until > Instant::now())
    }
}

impl Provider {
    /// How long the outcome of a call may not be known that is about to be sent.
    pub(super) fn doubt(&self) -> Duration {
        self.settings.send_window + self.spot.call_timeout() + self.settings.settle
    }

    /// Whether a listing that is asked for now tells what became of the call that was sent for an AWS account.
    pub(super) async fn is_settled(
        &self,
        account: AwsAccountId,
        intent: &Intent,
    ) -> Result<bool, IntentsError> {
        let Some(sent) = &intent.sent else {
            return Ok(true);
        };
        Ok(!self.unsettled.has(account) && sent.look_after <= self.intents.now().await?)
    }

    /// Whether a Spot account that a listing lacks was assigned so recently that Spot may not list it yet. One that nobody has ever seen
    /// listed is new until Spot does not know it by its id either, and this process has missed it for as long as Spot may take: no clock
    /// that somebody sets says that it is gone.
    pub(super) async fn is_new(
        &self,
        intent: &Intent,
        id: &SpotAccountId,
    ) -> Result<bool, Trouble> {
        let assigned = intent.assigned.as_ref() == Some(id);
        let Some(at) = intent.assigned_at.filter(|_| assigned) else {
            return Ok(false);
        };
        let missed_for = self.unsettled.missed_for(id);
        let age = self.intents.now().await?.duration_since(at);
        let lag = self.settings.listing_lag;
        if age.unsigned_abs() < lag {
            return Ok(true);
        }
        Ok(intent.unlisted && (missed_for < lag || self.spot.account(id).await?.is_some()))
    }

    /// Notes that a listing has a Spot account: should one lack it from now on, it was deleted.
    pub(super) async fn note_listed(
        &self,
        account: AwsAccountId,
        intent: &Intent,
        id: &SpotAccountId,
    ) -> Result<(), IntentsError> {
        self.unsettled.found(id);
        if intent.unlisted && intent.assigned.as_ref() == Some(id) {
            self.intents.note_listed(account, id).await?;
        }
        Ok(())
    }

    /// Who waits looks whether it is for a moment that only a clock which has been set back since can have written.
    pub(crate) async fn bring_near(&self, account: AwsAccountId) {
        if let Err(error) = self.intents.bring_near(account, self.doubt()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "provider state");
        }
    }
}
