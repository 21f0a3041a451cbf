//! When a notification that did not get through is tried again, and when a target that was asked often enough is asked again.

/// The wait after a first attempt, in milliseconds. It doubles with each further one.
const FIRST: i64 = 1_000;

/// The longest wait, in milliseconds.
const LONGEST: i64 = 15 * 60 * 1_000;

/// The hour that a target's limit is for, in milliseconds.
const HOUR: i64 = 60 * 60 * 1_000;

/// How long to wait after so many attempts, in milliseconds: half of it for certain, the other half by `jitter`, from 0 to 1.
#[must_use]
pub fn retry_after(attempts: u32, jitter: f64) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "at most a quarter of an hour"
    )]
    let by_chance = (wait as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as i64;
    wait / 2 + by_chance
}

/// When a target may be sent the next notification, in Unix milliseconds, when that is not now: it was tried at these moments, the
/// oldest first, and may be so many times within an hour, whatever became of it.
#[must_use]
pub fn next_slot(tried: &[i64], per_hour: u32, now: i64) -> Option<i64> {
    let recent: Vec<i64> = tried.iter().copied().filter(|at| at + HOUR > now).collect();
    let most = usize::try_from(per_hour).unwrap_or(usize::MAX).max(1);
    // The one whose hour must be over first.
    let blocking = recent.len().checked_sub(most)?;
    recent.get(blocking).map(|at| at + HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let longest: Vec<i64> = (1..=12)
            .map(|attempts| retry_after(attempts, 1.0))
            .collect();
        assert_eq!(longest[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(longest[11], LONGEST);
        assert_eq!(retry_after(u32::MAX, 1.0), LONGEST);
        assert_eq!(retry_after(3, 0.0), 2_000);
        assert_eq!(retry_after(3, 0.5), 3_000);
        assert_eq!(retry_after(0, 9.0), 1_000);
    }

    #[test]
    fn a_target_that_was_asked_enough_waits_until_the_oldest_is_an_hour_old() {
        let now = 10 * HOUR;
        let ago = |minutes: i64| now - minutes * 60_000;
        let tried = [ago(90), ago(50), ago(20), ago(5)];
        for (per_hour, wanted) in [
            (4, None),
            (3, Some(ago(50) + HOUR)),
            (2, Some(ago(20) + HOUR)),
            (1, Some(ago(5) + HOUR)),
            (0, Some(ago(5) + HOUR)),
        ] {
            assert_eq!(next_slot(&tried, per_hour, now), wanted, "{per_hour}");
        }
        assert_eq!(next_slot(&[], 1, now), None);
        assert_eq!(next_slot(&[now - HOUR], 1, now), None);
    }
}
