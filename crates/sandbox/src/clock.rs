//! Simulated time: starts at the real time and runs `speed` times as fast.
//!
//! Everything that "takes time" in the simulated services is measured in [`SimTime`]. Per-call
//! latency, Spot's rate window and the lifetime of issued credentials are real time, because the
//! clients under test measure those with their own clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of simulated time, in milliseconds since the Unix epoch. Displays as RFC 3339 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SimTime(pub(crate) u64);

impl SimTime {
    /// The moment a real clock shows as `time`.
    pub(crate) fn from_system(time: SystemTime) -> Self {
        Self(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// Seconds since the epoch with a fraction, as JSON protocols write timestamps.
    pub(crate) fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Time since `earlier`; zero when that lies in the future.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl Sub<Duration> for SimTime {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years beyond 9999 cannot be written as RFC 3339: stop there.
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_000));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whoever waits for a simulated moment looks again after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Tells simulated time.
#[derive(Debug)]
pub(crate) enum Clock {
    /// Follows the real clock.
    Running {
        /// Real instant at which the simulation started.
        started: Instant,
        /// Simulated time at that instant.
        origin: SimTime,
        /// Simulated seconds per real second.
        speed: f64,
    },
    /// Stands still until moved: for unit tests.
    #[cfg(test)]
    Manual(SimTime),
}

impl Clock {
    /// A clock that starts now and runs `speed` times as fast as the real one.
    pub(crate) fn running(speed: f64) -> Self {
        Self::Running {
            started: Instant::now(),
            origin: SimTime::from_system(SystemTime::now()),
            speed,
        }
    }

    /// Simulated seconds per real second; 0 while the clock stands still.
    pub(crate) fn speed(&self) -> f64 {
        match self {
            Self::Running { speed, .. } => *speed,
            #[cfg(test)]
            Self::Manual(_) => 0.0,
        }
    }

    /// Goes on from the present moment at another speed; 0 stops the clock.
    pub(crate) fn set_speed(&mut self, speed: f64) {
        *self = Self::Running {
            started: Instant::now(),
            origin: self.now(),
            speed,
        };
    }

    /// The current simulated time.
    pub(crate) fn now(&self) -> SimTime {
        match self {
            Self::Running {
                started,
                origin,
                speed,
            } => *origin + started.elapsed().mul_f64(*speed),
            #[cfg(test)]
            Self::Manual(now) => *now,
        }
    }

    /// How long, on the real clock, until the simulated time `at`.
    pub(crate) fn real_until(&self, at: SimTime) -> Duration {
        match self {
            Self::Running { speed, .. } => {
                let seconds = at.since(self.now()).as_secs_f64() / speed;
                // Bounded: a clock that stands still is set going again by someone else.
                let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT);
                // One millisecond more, so that the wake-up is never before the simulated moment.
                wait.min(LONGEST_WAIT) + Duration::from_millis(1)
            }
            #[cfg(test)]
            Self::Manual(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_time_is_written_as_rfc_3339_with_milliseconds() {
        assert_eq!(
            SimTime(1_763_719_200_123).to_string(),
            "2025-11-21T10:00:00.123Z"
        );
    }

    #[test]
    fn a_fast_clock_waits_less_than_the_simulated_span() {
        let clock = Clock::running(60.0);
        let wait = clock.real_until(clock.now() + Duration::from_secs(60));
        assert!(wait <= Duration::from_millis(1_002), "{wait:?}");
    }

    #[test]
    fn a_stopped_clock_stands_still_and_goes_on_from_there() {
        let mut clock = Clock::running(1e9);
        clock.set_speed(0.0);
        let stopped = clock.now();
        assert_eq!(clock.now(), stopped);
        assert!(clock.real_until(stopped + Duration::from_secs(1)) >= LONGEST_WAIT);
        assert!(clock.real_until(stopped) <= LONGEST_WAIT + Duration::from_millis(1));
        clock.set_speed(1.0);
        let wait = clock.real_until(stopped + Duration::from_secs(60));
        assert!(wait <= Duration::from_secs(61), "{wait:?}");
    }
}
