//! Calls of Spot whose outcome nobody knows yet: from when on a listing tells.
//!
//! That goes by the clock of the state, which is one for all who share it. A clock that jumps ahead must not settle what was sent a
//! moment ago: what this process has sent itself goes by its steady clock, too.

use std::{collections::HashMap, time::Duration};

use onboarding_core::ids::{AwsAccountId, SpotAccountId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    intents::{Intent, IntentsError},
    provider::Provider,
};

/// The AWS accounts for which this process has sent a creation or deletion of late.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<HashMap<AwsAccountId, Instant>>);

impl Unsettled {
    /// Notes that the outcome is not known for so long.
    pub(super) fn note(&self, account: AwsAccountId, doubt: Duration) {
        let (mut unsettled, now) = (self.0.lock(), Instant::now());
        unsettled.retain(|_, until| *until > now);
        unsettled.insert(account, now + doubt);
    }

    /// Notes that it is known.
    pub(super) fn settle(&self, account: AwsAccountId) {
        self.0.lock().remove(&account);
    }

    fn has(&self, account: AwsAccountId) -> bool {
        let unsettled = self.0.lock();
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

    /// Whether a Spot account was assigned so recently that Spot may not list it yet.
    pub(super) async fn is_new(
        &self,
        intent: &Intent,
        id: &SpotAccountId,
    ) -> Result<bool, IntentsError> {
        let assigned = intent.assigned.as_ref() == Some(id);
        let Some(at) = intent.assigned_at.filter(|_| assigned) else {
            return Ok(false);
        };
        let age = self.intents.now().await?.duration_since(at);
        Ok(age.unsigned_abs() < self.settings.listing_lag)
    }

    /// Who waits looks whether it is for a moment that only a clock which has been set back since can have written.
    pub(crate) async fn bring_near(&self, account: AwsAccountId) {
        if let Err(error) = self.intents.bring_near(account, self.doubt()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "provider state");
        }
    }
}
