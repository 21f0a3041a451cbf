//! One listing of all Spot accounts answers every request that waits at that moment.
//!
//! A listing counts from the moment it was asked for: what was created later may be missing from it. How old it is counts
//! from its answer: Spot's rate limit may have held it back for longer than a listing is good for.

use std::{sync::Arc, time::Duration};

use onboarding_core::custom_resource::KnownAccounts;
use parking_lot::Mutex;
use spot_api::{SpotClient, SpotError};
use tokio::{sync::Semaphore, time::Instant};

/// A listing and its moments.
#[derive(Clone)]
pub(crate) struct Listing {
    pub(crate) known: Arc<KnownAccounts>,
    pub(crate) asked_at: Instant,
    answered_at: Instant,
}

pub(crate) struct Listings {
    spot: SpotClient,
    longest_age: Duration,
    last: Mutex<Option<Listing>>,
    /// One permit: the caller that asks Spot. The others wait for its listing.
    asking: Semaphore,
}

impl Listings {
    pub(crate) fn new(spot: SpotClient, longest_age: Duration) -> Self {
        Self {
            spot,
            longest_age,
            last: Mutex::new(None),
            asking: Semaphore::new(1),
        }
    }

    /// A listing that is recent enough for looking things up.
    pub(crate) async fn recent(&self) -> Result<Listing, SpotError> {
        self.asked_after(None).await
    }

    /// The last listing, however old.
    pub(crate) fn last(&self) -> Option<Listing> {
        self.last.lock().clone()
    }

    /// A listing that was asked for at this moment or later.
    pub(crate) async fn since(&self, moment: Instant) -> Result<Listing, SpotError> {
        self.asked_after(Some(moment)).await
    }

    /// Drops the last listing, because Spot contradicts it.
    pub(crate) fn forget(&self) {
        *self.last.lock() = None;
    }

    async fn asked_after(&self, moment: Option<Instant>) -> Result<Listing, SpotError> {
        if let Some(listing) = self.good(moment) {
            return Ok(listing);
        }
        // Never closed; were it, callers would only ask Spot more often.
        let _asking = self.asking.acquire().await;
        if let Some(listing) = self.good(moment) {
            return Ok(listing);
        }
        // The governor may hold the call back; what counts is that it is sent later than this.
        let asked_at = Instant::now();
        // Many wait for it, some of them perhaps longer than who asks: it goes before every call for one request.
        let listed = spot_api::urgency::before(asked_at, self.spot.list_accounts()).await?;
        let listing = Listing {
            known: Arc::new(KnownAccounts::new(listed)),
            asked_at,
            answered_at: Instant::now(),
        };
        *self.last.lock() = Some(listing.clone());
        Ok(listing)
    }

    fn good(&self, moment: Option<Instant>) -> Option<Listing> {
        let last = self.last.lock();
        let listing = last.as_ref()?;
        let good = match moment {
            Some(moment) => listing.asked_at >= moment,
            None => listing.answered_at.elapsed() <= self.longest_age,
        };
        good.then(|| listing.clone())
    }
}
