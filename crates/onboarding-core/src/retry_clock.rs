//! The retry clock of an account that fails: first tried again after 15 minutes, then after twice as long each time, up
//! to a day. After how many failures it is quarantined is the configuration's to say.

use crate::stackset_sync::RetryState;

/// The wait after the first failure, in seconds.
pub const FIRST_WAIT: i64 = 15 * 60;

/// The longest wait, in seconds.
pub const LONGEST_WAIT: i64 = 24 * 60 * 60;

/// How long to wait after so many failures in a row, in seconds.
#[must_use]
pub fn wait(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_WAIT << doublings).min(LONGEST_WAIT)
}

/// The clock after one more failure at `now` (Unix seconds).
#[must_use]
pub fn after_failure(earlier: Option<&RetryState>, now: i64) -> RetryState {
    let failures = earlier.map_or(0, |clock| clock.failures).saturating_add(1);
    RetryState {
        failures,
        last_failed_at: now,
        next_due: now.saturating_add(wait(failures)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_quarter_of_an_hour_to_a_day() {
        let minutes: Vec<_> = (1..=9).map(|failures| wait(failures) / 60).collect();
        assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn each_failure_counts_from_its_own_time() {
        let first = after_failure(None, 1_000);
        assert_eq!((first.failures, first.next_due), (1, 1_000 + FIRST_WAIT));
        let second = after_failure(Some(&first), 5_000);
        assert_eq!((second.failures, second.last_failed_at), (2, 5_000));
        assert_eq!(second.next_due, 5_000 + 2 * FIRST_WAIT);
    }
}
