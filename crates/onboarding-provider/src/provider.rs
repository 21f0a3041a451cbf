//! The provider: takes one request and its deadline, and always comes back with an answer before the deadline.
//!
//! Each attempt is idempotent: it looks at Spot and the state, and does what is missing. So whatever passes by itself
//! (Spot is down, a role is not visible yet, somebody else works on the same account) is simply attempted again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{RequestType, ResourceRequest, ResourceResponse, ServedStacks, Status},
    template::Deletion,
};
use parking_lot::Mutex;
use spot_api::SpotClient;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, field::Empty};

use crate::{
    directory::AccountDirectory,
    events::{Event, EventSink, Phase},
    intents::{Intents, IntentsError},
    lifecycle::{Patience, Trouble, access::AccessQueue, unsettled::Unsettled},
    listings::Listings,
    refusal::Refusal,
};

/// Rules and times of the provider. The times' defaults are for the real Spot.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// What deleting a stack does to its Spot account. Without a durable state only [`Deletion::Reconcile`] is right.
    pub deletion: Deletion,
    /// The stacks that may ask. What others ask for is not done.
    pub stacks: ServedStacks,
    /// Whether the state outlives this process and is shared with all others that serve. Without that, Spot is asked
    /// which accounts are ours as far as it can be seen there, and a creation is confirmed by one more listing.
    pub shared_state: bool,
    /// How old a listing of all Spot accounts may be to look things up.
    pub listing_age: Duration,
    /// How long after the intent was written an account may still be created or deleted.
    pub send_window: Duration,
    /// How long Spot may take to list an account after a creation whose answer was lost. Never less than `listing_lag`.
    pub settle: Duration,
    /// How long an account that was created may be missing from listings before it counts as deleted.
    pub listing_lag: Duration,
    /// How long a call is repeated that Spot refuses as not permitted, or whose account it says it does not know.
    pub refusal_patience: Duration,
    /// How long a failing Cost Intelligence validation is repeated: a new role's policies spread slowly.
    pub validation_patience: Duration,
    /// How long granting user groups access to an account may take; a link is answered without it then.
    pub access_patience: Duration,
    /// The pause before the second attempt; it doubles, with jitter.
    pub retry_initial: Duration,
    /// The longest pause between attempts, in the first minutes; later four times as long at most.
    pub retry_max: Duration,
    /// How old a request may be before its stack is asked whether it still waits for the answer. A stack hardly rolls back
    /// sooner, and a queue delivers a second time only later.
    pub fresh: Duration,
    /// Time kept for delivering an answer before the deadline; at most a tenth of what is left.
    pub answer_margin: Duration,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            deletion: Deletion::Reconcile,
            stacks: ServedStacks::default(),
            shared_state: true,
            listing_age: Duration::from_secs(30),
            send_window: Duration::from_secs(10),
            settle: Duration::from_secs(120),
            listing_lag: Duration::from_secs(120),
            refusal_patience: Duration::from_secs(120),
            validation_patience: Duration::from_secs(120),
            access_patience: Duration::from_secs(60),
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            fresh: Duration::from_secs(60),
            answer_margin: Duration::from_secs(30),
        }
    }
}

/// Serves requests. One per process: it shares its listing of Spot accounts among all of them.
pub struct Provider {
    pub(crate) spot: SpotClient,
    pub(crate) intents: Arc<dyn Intents>,
    pub(crate) directory: Arc<dyn AccountDirectory>,
    pub(crate) settings: ProviderSettings,
    pub(crate) listings: Listings,
    pub(crate) access: AccessQueue,
    pub(crate) unsettled: Unsettled,
    /// Whether Spot refuses names without a letter, once a creation has shown it.
    pub(crate) names_need_letters: Mutex<Option<bool>>,
    /// Held by the creation that finds out.
    pub(crate) first_name: tokio::sync::Mutex<()>,
    events: EventSink,
}

impl Provider {
    /// A provider over these parts.
    #[must_use]
    pub fn new(
        spot: SpotClient,
        intents: Arc<dyn Intents>,
        directory: Arc<dyn AccountDirectory>,
        settings: ProviderSettings,
        events: EventSink,
    ) -> Self {
        let settings = ProviderSettings {
            settle: settings.settle.max(settings.listing_lag),
            ..settings
        };
        Self {
            listings: Listings::new(spot.clone(), settings.listing_age),
            access: AccessQueue::default(),
            unsettled: Unsettled::default(),
            names_need_letters: Mutex::new(None),
            first_name: tokio::sync::Mutex::default(),
            spot,
            intents,
            directory,
            settings,
            events,
        }
    }

    /// Whether its state can be used, see [`Intents::is_current`].
    ///
    /// # Errors
    /// It does not answer.
    pub async fn state_is_current(&self) -> Result<bool, IntentsError> {
        self.intents.is_current().await
    }

    /// Serves one request. It comes back before the deadline, with a failure if it must; a request whose deadline has
    /// passed changes nothing. A Delete never fails: what it cannot delete stays, with a tombstone.
    pub async fn handle(&self, request: &ResourceRequest, deadline: Timestamp) -> ResourceResponse {
        let span = tracing::info_span!(
            "provider.request",
            cloudformation.request_id = request.request_id,
            cloudformation.request_type = %request.request_type,
            cloudformation.resource_type = request.resource_type,
            cloudformation.stack_id = %request.stack_id,
            cloud.account.id = %request.account,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        self.told(request, deadline).instrument(span).await
    }

    async fn told(&self, request: &ResourceRequest, deadline: Timestamp) -> ResourceResponse {
        self.emit(Event::of(request, Phase::Received));
        let response = self.answer(request, deadline).await;
        let (status, reason) = (response.status, response.reason.clone());
        match status {
            Status::Success => tracing::info!(reason, "request served"),
            Status::Failed => {
                let span = tracing::Span::current();
                span.record("otel.status_code", "ERROR");
                span.record("otel.status_description", &reason);
                tracing::warn!(reason, "request failed");
            }
        }
        let phase = Phase::Answered { status, reason };
        self.emit(Event::of(request, phase));
        response
    }

    pub(crate) fn emit(&self, event: Event) {
        (self.events)(event);
    }

    pub(crate) fn refused(&self, request: &ResourceRequest, refusal: Refusal) {
        self.emit(Event::of(request, Phase::Refused(refusal)));
    }

    async fn answer(&self, request: &ResourceRequest, deadline: Timestamp) -> ResourceResponse {
        let mut response = self.served(request, deadline).await;
        if request.request_type == RequestType::Delete && response.status == Status::Failed {
            let left = Box::pin(self.not_deleted(request, &response.reason));
            let left = timeout(last_word(deadline), left).await;
            response = left.unwrap_or_else(|_| {
                tracing::error!("no tombstone could be left: the state does not answer");
                let reason = format!("nothing was deleted at Spot: {}", response.reason);
                ResourceResponse::unchanged(request, reason)
            });
        }
        let remembered = self.intents.remember_answer(&response);
        // The answer is right all the same; a repeated request is evaluated again.
        match timeout(last_word(deadline), remembered).await {
            Ok(Ok(stays)) => stays,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the answer is not remembered");
                response
            }
            Err(_) => {
                tracing::warn!("the answer is not remembered: the state does not answer");
                response
            }
        }
    }

    async fn served(&self, request: &ResourceRequest, deadline: Timestamp) -> ResourceResponse {
        let left = time_until(deadline);
        if left.is_zero() {
            return ResourceResponse::failure(
                request,
                "the request's deadline had passed when it was taken up; nothing was changed at Spot",
            );
        }
        let left = left - self.settings.answer_margin.min(left / 10);
        let waiting_for = Mutex::new(String::new());
        // What must be answered first goes first when Spot's rate limit makes requests wait.
        let attempts = spot_api::urgency::before(
            Instant::now() + left,
            self.attempts(request, deadline, &waiting_for),
        );
        let served = timeout(left, attempts).await;
        served.unwrap_or_else(|_| {
            let last = waiting_for.into_inner();
            let last = if last.is_empty() {
                "Spot did not answer"
            } else {
                &last
            };
            ResourceResponse::failure(request, format!("not done in time: {last}"))
        })
    }

    fn limit(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Refusal => self.settings.refusal_patience,
            Patience::Validation => self.settings.validation_patience,
        }
    }

    /// The longest pause for a request that has been attempted for so long. What has not passed for minutes may not pass at all
    /// (a policy that denies the role), and must not take Spot's rate limit from the others.
    fn longest_pause(&self, attempted_for: Duration) -> Duration {
        let shortest = self.settings.retry_max;
        (attempted_for / 5).clamp(shortest, 4 * shortest)
    }

    /// Attempts until done or refused. `waiting_for` always has the last reason to wait.
    async fn attempts(
        &self,
        request: &ResourceRequest,
        deadline: Timestamp,
        waiting_for: &Mutex<String>,
    ) -> ResourceResponse {
        let mut first_met: HashMap<Patience, Instant> = HashMap::new();
        let begun = Instant::now();
        let mut pause = self.settings.retry_initial;
        let mut looked = None;
        loop {
            if let Some(reason) = self
                .no_longer_waited_for(request, deadline, &mut looked)
                .await
            {
                self.refused(request, Refusal::StackEnded);
                return ResourceResponse::failure(request, reason);
            }
            // On the heap: it is large, and whoever serves many has one for each.
            let (reason, wait) = match Box::pin(self.attempt(request)).await {
                Ok(response) => return response,
                Err(Trouble::Refused(reason)) => return ResourceResponse::failure(request, reason),
                Err(Trouble::PassingFor(reason, patience))
                    if first_met
                        .entry(patience)
                        .or_insert_with(Instant::now)
                        .elapsed()
                        > self.limit(patience) =>
                {
                    return ResourceResponse::failure(request, reason);
                }
                Err(Trouble::Passing(reason) | Trouble::PassingFor(reason, _)) => {
                    let wait = pause.mul_f64(rand::random_range(0.5..1.0));
                    pause = (pause * 2).min(self.longest_pause(begun.elapsed()));
                    (reason, wait)
                }
            };
            tracing::debug!(request_id = request.request_id, reason, "attempted again");
            self.bring_near(request.account).await;
            if *waiting_for.lock() != reason {
                reason.clone_into(&mut waiting_for.lock());
                self.emit(Event::of(request, Phase::Waiting { reason }));
            }
            // Never without a pause: another holder or a clock may be slightly off.
            tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
        }
    }
}

/// How long the state may take with what comes after a request was worked on: half of what is left until its deadline. After that it
/// keeps nobody waiting who listens.
fn last_word(deadline: Timestamp) -> Duration {
    match time_until(deadline) {
        Duration::ZERO => Duration::from_secs(10),
        left => left / 2,
    }
}

/// The time until a moment; zero when it has passed.
pub(crate) fn time_until(moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default()
}

/// A moment this far ahead.
pub(crate) fn from_now(ahead: Duration) -> Timestamp {
    after(Timestamp::now(), ahead)
}

/// A moment this far after another one.
pub(crate) fn after(moment: Timestamp, ahead: Duration) -> Timestamp {
    moment.checked_add(ahead).unwrap_or(Timestamp::MAX)
}
