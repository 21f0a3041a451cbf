//! The retry clock of an account that fails: after the first failure it waits as configured, then twice as long each
//! time, up to a day. After how many failures it is quarantined is the configuration's to say.

use crate::stackset_sync::RetryState;

/// The longest wait, in seconds, unless the first one is configured to be longer.
pub const LONGEST_WAIT: i64 = 24 * 60 * 60;

/// How long to wait after so many failures in a row, in seconds, when the first wait is `first`.
#[must_use]
pub fn wait(first: i64, failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(16);
    first
        .saturating_mul(1 << doublings)
        .min(LONGEST_WAIT.max(first))
}

/// The clock after one more failure, which this run counts at `now` (Unix seconds). Why it failed is the caller's to add.
#[must_use]
pub fn after_failure(earlier: Option<&RetryState>, first: i64, now: i64) -> RetryState {
    let failures = earlier.map_or(0, |clock| clock.failures).saturating_add(1);
    RetryState {
        failures,
        next_due: now.saturating_add(wait(first, failures)),
        of_this_run: true,
        reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: i64 = 15 * 60;

    #[test]
    fn waits_double_from_a_quarter_of_an_hour_to_a_day() {
        let minutes: Vec<_> = (1..=9)
            .map(|failures| wait(QUARTER, failures) / 60)
            .collect();
        assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(wait(QUARTER, u32::MAX), LONGEST_WAIT);
        assert_eq!(wait(2 * LONGEST_WAIT, 3), 2 * LONGEST_WAIT);
    }

    #[test]
    fn each_failure_counts_from_its_own_time() {
        let first = after_failure(None, QUARTER, 1_000);
        assert_eq!((first.failures, first.next_due), (1, 1_000 + QUARTER));
        let second = after_failure(Some(&first), QUARTER, 5_000);
        assert_eq!((second.failures, second.next_due), (2, 5_000 + 2 * QUARTER));
    }
}
