//! The AWS governor: per-operation token buckets seeded with the published AWS Organizations rates, and additive
//! increase, multiplicative decrease (AIMD) for every operation once AWS throttles it.
//!
//! Pure: time is an argument ([`Duration`] since any fixed origin of the caller's). The client asks
//! [`AwsGovernor::try_acquire`] before each call, waits as told, and reports what came back.
//!
//! Guarantees: an operation with a published rate is never sent faster than our share of it; a burst of throttled
//! answers counts as one signal; operations without a published rate are unlimited until AWS throttles them.

pub mod bounds;
mod bucket;
pub mod published;

use std::{collections::BTreeMap, time::Duration};

pub use bounds::{Bounds, ListingShape, SnapshotStrategy};
use bucket::Bucket;
use published::PublishedRate;

/// How many calls are in flight at most when no rate limits them. Enough to hide latency, few enough to stay polite.
pub const MAX_IN_FLIGHT: usize = 32;

/// The latency that is assumed until a call was measured.
const ASSUMED_LATENCY: Duration = Duration::from_millis(50);

/// Which rates the governor starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rates {
    /// A share of the published rates and bursts: other tools of the organization use the same limits.
    Published {
        /// The share that is ours.
        share: f64,
    },
    /// No rates to start from: for systems without AWS's limits, such as a benchmark. Throttling still slows us down.
    Off,
}

impl Default for Rates {
    fn default() -> Self {
        Self::Published { share: 0.5 }
    }
}

impl Rates {
    /// What we may use of an operation (`organizations:ListAccounts`): calls a second and burst; none when unlimited.
    #[must_use]
    pub fn of(&self, operation: &str) -> Option<PublishedRate> {
        match self {
            Self::Off => None,
            Self::Published { share } => published::rate(operation).map(|rate| rate.scaled(*share)),
        }
    }
}

/// What the governor counted for one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationCounts {
    /// Calls that were sent, retries included.
    pub sent: u64,
    /// Answers that said "slow down".
    pub throttled: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub struct AwsGovernor {
    rates: Rates,
    operations: BTreeMap<&'static str, OperationState>,
    latency: Option<Duration>,
}

#[derive(Debug)]
struct OperationState {
    bucket: Bucket,
    counts: OperationCounts,
}

impl AwsGovernor {
    /// A governor that has seen nothing yet; its buckets are full.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            operations: BTreeMap::new(),
            latency: None,
        }
    }

    /// Takes a token for one call of the operation, which is then counted as sent.
    ///
    /// # Errors
    /// How long to wait before asking again, when there is no token now. Nothing is reserved by asking.
    pub fn try_acquire(&mut self, operation: &'static str, now: Duration) -> Result<(), Duration> {
        let state = self.state(operation, now);
        state.bucket.try_take(now)?;
        state.counts.sent += 1;
        Ok(())
    }

    /// Reports an answer that was not throttled, with the time that the call took.
    pub fn answered(&mut self, operation: &'static str, took: Duration, now: Duration) {
        self.latency = Some(match self.latency {
            // An exponentially weighted mean: the last ten calls or so.
            Some(mean) => (mean * 9 + took) / 10,
            None => took,
        });
        self.state(operation, now).bucket.succeeded(now);
    }

    /// Reports an answer that said "slow down".
    pub fn throttled(&mut self, operation: &'static str, now: Duration) {
        let state = self.state(operation, now);
        state.counts.throttled += 1;
        state.bucket.throttled(now);
    }

    /// How many calls of the operation are worth having in flight: what its rate lets through during one latency
    /// (Little's law) plus one, at most [`MAX_IN_FLIGHT`].
    #[must_use]
    pub fn concurrency(&self, operation: &str) -> usize {
        let Some(rate) = self.rate(operation) else {
            return MAX_IN_FLIGHT;
        };
        let useful = rate * self.latency().as_secs_f64();
        // Saturating float-to-integer conversion; `useful` is never negative.
        ((useful.ceil() as usize).saturating_add(1)).clamp(1, MAX_IN_FLIGHT)
    }

    /// The mean latency of recent calls.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency.unwrap_or(ASSUMED_LATENCY)
    }

    /// The calls a second that the operation may make now; none when nothing limits it.
    #[must_use]
    pub fn rate(&self, operation: &str) -> Option<f64> {
        match self.operations.get(operation) {
            Some(state) => state.bucket.rate(),
            None => self.rates.of(operation).map(|rate| rate.per_second),
        }
    }

    /// How long reading an organization of this shape takes from now with each strategy, at the present rates, tokens
    /// and latency. `unit_names_known`: the names of the units need no calls.
    #[must_use]
    pub fn estimate(&self, shape: &ListingShape, unit_names_known: bool, now: Duration) -> Bounds {
        bounds::with(
            shape,
            unit_names_known,
            self.latency(),
            |operation| match self.operations.get(operation) {
                Some(state) => state.bucket.allowance(now),
                None => self
                    .rates
                    .of(operation)
                    .map(|rate| (rate.per_second, rate.burst)),
            },
        )
    }

    /// What was counted, by operation.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, OperationCounts)> + '_ {
        self.operations
            .iter()
            .map(|(operation, state)| (*operation, state.counts))
    }

    fn state(&mut self, operation: &'static str, now: Duration) -> &mut OperationState {
        let rates = self.rates;
        self.operations
            .entry(operation)
            .or_insert_with(|| OperationState {
                bucket: Bucket::new(rates.of(operation), now),
                counts: OperationCounts::default(),
            })
    }
}

#[cfg(test)]
mod tests;
