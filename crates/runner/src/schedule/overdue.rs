//! From when on a job is overdue. Pure.

use jiff::Timestamp;

use super::next_tick;
use crate::config::Schedule;

/// When a job is overdue that was as it should be at a moment: its second tick after that, as one run may fail, with the jitter. However
/// far its ticks are from each other, nights and weekends without any are no delay. None when there are not two ticks any more.
#[must_use]
pub fn overdue_from(schedule: &Schedule, was_fine_at: Timestamp) -> Option<Timestamp> {
    let first = next_tick(schedule, was_fine_at)?;
    let second = next_tick(schedule, first)?;
    second.checked_add(schedule.jitter.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_due_at_night_or_on_weekends_is_not_overdue_then() {
        for (cron, was_fine_at, expected) in [
            // Each quarter of an hour: the second one, at night as in the day.
            (
                "0 */15 * * * *",
                "2027-01-01T10:00:20Z",
                Some("2027-01-01T10:30:00Z"),
            ),
            // Working days: Friday's success lasts until Tuesday.
            (
                "0 0 9 * * MON-FRI",
                "2027-01-01T09:03:00Z",
                Some("2027-01-05T09:00:00Z"),
            ),
            // Working hours: the evening's lasts until the second tick of the morning.
            (
                "0 */15 8-18 * * *",
                "2027-01-01T18:45:30Z",
                Some("2027-01-02T08:15:00Z"),
            ),
            (
                "@every 1h",
                "2027-01-01T10:20:00Z",
                Some("2027-01-01T12:00:00Z"),
            ),
            ("0 0 9 * * MON-FRI 2027", "2027-12-31T08:00:00Z", None),
        ] {
            let schedule: Schedule = toml::from_str(&format!("cron = {cron:?}")).unwrap();
            let from = overdue_from(&schedule, was_fine_at.parse().unwrap());
            assert_eq!(from, expected.map(|at| at.parse().unwrap()), "{cron}");
        }
    }

    #[test]
    fn a_run_starts_as_late_as_the_jitter_lets_it() {
        let schedule = "cron = \"0 0 9 * * *\"\njitter = \"10m\"";
        let schedule: Schedule = toml::from_str(schedule).unwrap();
        let from = overdue_from(&schedule, "2027-01-01T09:05:00Z".parse().unwrap());
        assert_eq!(from, Some("2027-01-03T09:10:00Z".parse().unwrap()));
    }
}
