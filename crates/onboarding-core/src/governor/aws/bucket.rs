//! One operation's token bucket, whose rate falls on throttling and climbs back while calls succeed.

use std::time::Duration;

use super::published::PublishedRate;

/// What a throttled answer leaves of the rate.
const DECREASE: f64 = 0.5;
/// Throttled answers within this time of a decrease belong to the same burst and change nothing.
const DECREASE_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// The rate never falls below this (calls a second): one call in twenty seconds still finds out when AWS recovered.
const SLOWEST: f64 = 0.05;
/// A published rate that was halved is whole again after about this many seconds of success.
const RECOVERY_SECONDS: f64 = 15.0;
/// What an operation without a published rate regains each second of success (calls a second).
const UNPUBLISHED_INCREASE: f64 = 1.0;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Tokens a second; none while nothing limits the operation.
    rate: Option<f64>,
    burst: f64,
    /// Our share of the published rate, which the rate never exceeds.
    ceiling: Option<f64>,
    tokens: f64,
    refilled_at: Duration,
    decreased_at: Option<Duration>,
    increased_at: Duration,
    recent: RecentCalls,
}

impl Bucket {
    pub(super) fn new(published: Option<PublishedRate>, now: Duration) -> Self {
        let burst = published.map_or(1.0, |rate| rate.burst);
        Self {
            rate: published.map(|rate| rate.per_second),
            burst,
            ceiling: published.map(|rate| rate.per_second),
            tokens: burst,
            refilled_at: now,
            decreased_at: None,
            increased_at: now,
            recent: RecentCalls::new(now),
        }
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// The rate and the tokens at hand, when the operation is limited.
    pub(super) fn allowance(&self, now: Duration) -> Option<(f64, f64)> {
        self.rate.map(|rate| (rate, self.tokens_at(rate, now)))
    }

    pub(super) fn try_take(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(rate) = self.rate else {
            self.recent.count(now);
            return Ok(());
        };
        self.tokens = self.tokens_at(rate, now);
        self.refilled_at = self.refilled_at.max(now);
        // A token that misses a millionth is whole: repeated waits must not be defeated by rounding.
        if self.tokens >= 1.0 - 1e-6 {
            self.tokens -= 1.0;
            self.recent.count(now);
            Ok(())
        } else {
            let seconds = ((1.0 - self.tokens) / rate).clamp(0.000_001, 3_600.0);
            Err(Duration::from_secs_f64(seconds))
        }
    }

    pub(super) fn throttled(&mut self, now: Duration) {
        if self
            .decreased_at
            .is_some_and(|at| now.saturating_sub(at) < DECREASE_AT_MOST_EVERY)
        {
            return;
        }
        let current = self.rate.unwrap_or_else(|| self.recent.per_second(now));
        self.tokens = self.tokens_at(current, now).min(0.0);
        self.refilled_at = self.refilled_at.max(now);
        self.rate = Some((current * DECREASE).max(SLOWEST));
        self.decreased_at = Some(now);
        self.increased_at = now;
    }

    pub(super) fn succeeded(&mut self, now: Duration) {
        let Some(rate) = self.rate else { return };
        if self.ceiling.is_some_and(|ceiling| rate >= ceiling) {
            return;
        }
        let elapsed = now.saturating_sub(self.increased_at).as_secs_f64().min(1.0);
        let increase = self.ceiling.map_or(UNPUBLISHED_INCREASE, |ceiling| {
            ceiling * (1.0 - DECREASE) / RECOVERY_SECONDS
        });
        self.tokens = self.tokens_at(rate, now);
        self.refilled_at = self.refilled_at.max(now);
        self.increased_at = self.increased_at.max(now);
        let raised = rate + increase * elapsed;
        self.rate = Some(self.ceiling.map_or(raised, |ceiling| raised.min(ceiling)));
    }

    fn tokens_at(&self, rate: f64, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.refilled_at).as_secs_f64();
        (self.tokens + elapsed * rate).min(self.burst)
    }
}

/// How many calls a second were sent lately: from this rate an operation without a published one starts to slow down.
#[derive(Debug)]
struct RecentCalls {
    since: Duration,
    calls: f64,
    previous: f64,
}

impl RecentCalls {
    fn new(now: Duration) -> Self {
        Self {
            since: now,
            calls: 0.0,
            previous: 0.0,
        }
    }

    fn count(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= Duration::from_secs(1) {
            // After a pause of two seconds the previous second had no calls.
            self.previous = if elapsed < Duration::from_secs(2) {
                self.calls
            } else {
                0.0
            };
            self.calls = 0.0;
            self.since = now;
        }
        self.calls += 1.0;
    }

    fn per_second(&self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.since).as_secs_f64();
        let rate = if elapsed < 1.0 {
            self.calls.max(self.previous)
        } else {
            self.calls / elapsed
        };
        rate.max(1.0)
    }
}
