//! The one retry policy: exponential with full jitter, capped, for retryable classes only.

use std::time::Duration;

use super::error::JobError;

/// How often and how fast something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all; 1 means no retry.
    pub attempts: u32,
    /// Upper bound of the first wait; doubles with each further one.
    pub initial: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after this failed attempt (counted from 1); none when it must not be tried again.
    /// `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn wait_after(&self, attempt: u32, error: &JobError, jitter: f64) -> Option<Duration> {
        if attempt >= self.attempts || !error.class().is_retryable() {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.initial.saturating_mul(1 << doublings).min(self.max);
        let wait = ceiling.mul_f64(jitter.clamp(0.0, 1.0));
        Some(wait.max(error.retry_after().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ErrorClass;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 5,
        initial: Duration::from_millis(500),
        max: Duration::from_secs(3),
    };

    #[test]
    fn waits_double_up_to_the_cap_and_end_with_the_attempts() {
        let error = JobError::new(ErrorClass::Transient, "reset");
        let waits: Vec<_> = (1..=5)
            .map(|attempt| POLICY.wait_after(attempt, &error, 1.0))
            .collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(500), ms(1000), ms(2000), ms(3000), None]);
    }

    #[test]
    fn jitter_is_full_and_the_other_side_may_ask_for_more() {
        let error = JobError::new(ErrorClass::Throttled, "slow down");
        assert_eq!(POLICY.wait_after(1, &error, 0.0), Some(Duration::ZERO));
        let error = error.with_retry_after(Duration::from_secs(60));
        assert_eq!(
            POLICY.wait_after(1, &error, 0.5),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn other_classes_are_not_retried() {
        for class in ErrorClass::ALL.into_iter().filter(|c| !c.is_retryable()) {
            assert_eq!(
                POLICY.wait_after(1, &JobError::new(class, "no"), 1.0),
                None,
                "{class}"
            );
        }
    }
}
