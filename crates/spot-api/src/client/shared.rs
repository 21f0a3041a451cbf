//! Rate windows that several processes share. Before a request is sent, its route's shared window must have given a permit
//! for it, beside our own governor, which alone decides when the shared window cannot be had: it serves politeness, and no
//! call fails for it.
//!
//! Permits are taken a few at a time. What became of them is reported with the next taking, or at once where others may be
//! waiting for it: after a refusal, and when this process has nothing in flight and nothing left.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use onboarding_core::governor::spot::{
    GovernorSettings, Outcome,
    shared::{Allotment, Permit, SharedWindow},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// Permits that are taken at once, at most.
const BATCH: usize = 16;

/// How long permits are kept for further calls.
const KEEP: Duration = Duration::from_secs(1);

/// How long the shared window is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a wait looks whether others have given permits back.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A change of one window, at a moment of the clock that all processes share: the time since the Unix epoch. It tells
/// whether there is anything to write.
pub type WindowChange<'a> = &'a mut (dyn FnMut(&mut SharedWindow, Duration) -> bool + Send);

/// The windows of all routes, where several processes can change them.
#[async_trait]
pub trait SharedWindows: Send + Sync {
    /// Reads the window of a route (such as `GET /setup/account`; an unknown one is new), lets it be changed, and writes it
    /// back; no other process changes it meanwhile.
    ///
    /// # Errors
    /// Whatever the store says.
    async fn change(
        &self,
        route: &str,
        change: WindowChange<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// The shared window of one route, as this process uses it.
pub(crate) struct SharedLane {
    windows: Arc<dyn SharedWindows>,
    settings: GovernorSettings,
    /// After it, a request that was permitted has ended.
    lease: Duration,
    purse: Mutex<Purse>,
}

/// Permits that were taken and not used, and the ends of used ones that were not reported.
#[derive(Default)]
struct Purse {
    permits: Vec<Permit>,
    /// When the permits go back.
    until: Option<Instant>,
    /// Used permits whose requests have not ended.
    in_flight: usize,
    ended: Vec<(Permit, Outcome)>,
}

impl Purse {
    fn permit(&mut self) -> Option<Permit> {
        if self.until.is_none_or(|until| Instant::now() >= until) {
            self.give_up();
        }
        let permit = self.permits.pop()?;
        self.in_flight += 1;
        Some(permit)
    }

    fn give_up(&mut self) {
        let unused = self.permits.drain(..);
        self.ended
            .extend(unused.map(|permit| (permit, Outcome::NotSent)));
    }
}

impl SharedLane {
    pub(crate) fn new(
        windows: Arc<dyn SharedWindows>,
        settings: GovernorSettings,
        call_timeout: Duration,
    ) -> Self {
        Self {
            windows,
            settings,
            lease: KEEP + call_timeout + PATIENCE,
            purse: Mutex::default(),
        }
    }

    /// Waits for a permit; none when the shared window cannot be had. Looks again when a call of ours has `finished`.
    pub(crate) async fn permit(&self, route: &str, finished: &Notify) -> Option<Permit> {
        loop {
            let done = finished.notified();
            let ended = {
                let mut purse = self.purse.lock();
                if let Some(permit) = purse.permit() {
                    return Some(permit);
                }
                std::mem::take(&mut purse.ended)
            };
            match self.exchange(route, &ended, BATCH).await? {
                Allotment::Permits(permits) => {
                    let mut purse = self.purse.lock();
                    purse.permits = permits;
                    purse.until = Some(Instant::now() + KEEP);
                }
                Allotment::Wait(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
                        () = done => {}
                    }
                }
            }
        }
    }

    /// Notes how a permitted call ended; it is reported with a later one.
    pub(crate) fn ended(&self, permit: Permit, outcome: Outcome) {
        let mut purse = self.purse.lock();
        purse.in_flight = purse.in_flight.saturating_sub(1);
        purse.ended.push((permit, outcome));
    }

    /// Reports what ended, when others may be waiting for it.
    pub(crate) async fn report(&self, route: &str, outcome: Outcome) {
        let ended = {
            let mut purse = self.purse.lock();
            if matches!(outcome, Outcome::Throttled(_)) {
                purse.give_up();
            } else if purse.in_flight + purse.permits.len() > 0 && purse.ended.len() < BATCH {
                return;
            }
            std::mem::take(&mut purse.ended)
        };
        if !ended.is_empty() {
            self.exchange(route, &ended, 0).await;
        }
    }

    /// Reports and asks in one change. What could not be reported counts as lost when its lease ends.
    async fn exchange(
        &self,
        route: &str,
        ended: &[(Permit, Outcome)],
        wanted: usize,
    ) -> Option<Allotment> {
        let mut allotment = Allotment::Permits(Vec::new());
        let mut change = |window: &mut SharedWindow, now: Duration| {
            window.report(ended, self.settings, now);
            if wanted > 0 {
                allotment = window.take(wanted, self.lease, self.settings, now);
            }
            !ended.is_empty() || matches!(allotment, Allotment::Permits(_))
        };
        let changed = tokio::time::timeout(PATIENCE, self.windows.change(route, &mut change));
        match changed.await {
            Ok(Ok(())) => Some(allotment),
            Ok(Err(error)) => {
                tracing::warn!(route, error, "the shared rate window cannot be used");
                None
            }
            Err(_) => {
                tracing::warn!(route, "the shared rate window did not answer in time");
                None
            }
        }
    }
}
