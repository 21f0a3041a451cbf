//! When a job is due: the ticks of its schedule. One pure function, for `runner jobs next` and for whoever wakes jobs.
//!
//! A tick is a moment, not a wall-clock reading, and identifies the run that is for it. When clocks go forward, a fixed time
//! that is skipped comes at the first moment after the gap; when they go back, a fixed time that comes twice is a tick once,
//! and one with a wildcard or a step comes as often as the clock shows it (Vixie cron's rules).

mod look;
mod overdue;

pub use look::{Decision, Skipped, Standing, Timing, look};
pub use overdue::overdue_from;

use std::time::Duration;

use jiff::{Timestamp, Zoned};
use sha2::{Digest as _, Sha256};

use crate::config::{Rule, Schedule};

/// The first tick after a moment; none when there is none any more.
#[must_use]
pub fn next_tick(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    match schedule.cron.rule() {
        Rule::Every(every) => {
            let every = i64::try_from(every.as_secs()).ok()?;
            let passed = after.as_second().div_euclid(every);
            Timestamp::from_second((passed + 1).checked_mul(every)?).ok()
        }
        Rule::Clock(cron) => {
            let next = cron.find_next_occurrence(&local(schedule, after), false);
            next.ok().map(|next| next.timestamp())
        }
    }
}

/// The last tick that is not after a moment; none when there was none.
#[must_use]
pub fn last_tick(schedule: &Schedule, until: Timestamp) -> Option<Timestamp> {
    match schedule.cron.rule() {
        Rule::Every(every) => {
            let every = i64::try_from(every.as_secs()).ok()?;
            Timestamp::from_second(until.as_second().div_euclid(every) * every).ok()
        }
        Rule::Clock(cron) => {
            let last = cron.find_previous_occurrence(&local(schedule, until), true);
            last.ok().map(|last| last.timestamp())
        }
    }
}

/// A moment as the clock on the wall shows it where the schedule is.
#[must_use]
pub fn local(schedule: &Schedule, moment: Timestamp) -> Zoned {
    moment.to_zoned(schedule.timezone.zone())
}

/// How much later than its tick a run of the job starts: the same in every process, and spread over the jitter.
#[must_use]
pub fn delay(schedule: &Schedule, job: &str, tick: Timestamp) -> Duration {
    let jitter = schedule.jitter.get();
    let millis = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return Duration::ZERO;
    }
    let digest = Sha256::digest(format!("{job} {}", tick.as_second()));
    let spread = digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    Duration::from_millis(spread % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, timezone: &str) -> Schedule {
        let text = format!("cron = {cron:?}\ntimezone = {timezone:?}\njitter = \"10m\"");
        toml::from_str(&text).unwrap()
    }

    fn at(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    /// The ticks after a moment, as the clock shows them there.
    fn ticks(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<String> {
        let next = |last: &Timestamp| next_tick(schedule, *last);
        let ticks = std::iter::successors(next(&after), next).take(count);
        ticks
            .map(|tick| local(schedule, tick).strftime("%m-%dT%H:%M%:z").to_string())
            .collect()
    }

    /// Both clock changes of 2027 in New York (an hour at 2:00), London (an hour at 1:00 and 2:00) and on Lord Howe Island (half
    /// an hour at 2:00), from the IANA database.
    #[test]
    fn no_tick_is_skipped_or_doubled_when_clocks_change() {
        for (zone, cron, after, expected) in [
            // Forward: what is skipped comes right after the gap.
            (
                "America/New_York",
                "0 30 2 * * *",
                "2027-03-13T12:00:00Z",
                ["03-14T03:00-04:00", "03-15T02:30-04:00"],
            ),
            (
                "Europe/London",
                "0 30 1 * * *",
                "2027-03-27T12:00:00Z",
                ["03-28T02:00+01:00", "03-29T01:30+01:00"],
            ),
            (
                "Australia/Lord_Howe",
                "0 15 2 * * *",
                "2027-10-02T00:00:00Z",
                ["10-03T02:30+11:00", "10-04T02:15+11:00"],
            ),
            // Back: what comes twice is one tick.
            (
                "America/New_York",
                "0 30 1 * * *",
                "2027-11-06T12:00:00Z",
                ["11-07T01:30-04:00", "11-08T01:30-05:00"],
            ),
            (
                "Europe/London",
                "0 30 1 * * *",
                "2027-10-30T12:00:00Z",
                ["10-31T01:30+01:00", "11-01T01:30+00:00"],
            ),
            (
                "Australia/Lord_Howe",
                "0 45 1 * * *",
                "2027-04-03T00:00:00Z",
                ["04-04T01:45+11:00", "04-05T01:45+10:30"],
            ),
            // The clock on the wall decides, not the offset of yesterday.
            (
                "America/New_York",
                "0 0 9 * * *",
                "2027-03-13T15:00:00Z",
                ["03-14T09:00-04:00", "03-15T09:00-04:00"],
            ),
        ] {
            assert_eq!(
                ticks(&schedule(cron, zone), at(after), 2),
                expected,
                "{zone} {cron}"
            );
        }
    }

    /// Whatever the clocks do, a step of the minute comes that often in real time, and a fixed time once a day.
    #[test]
    fn a_year_has_all_its_ticks() {
        for zone in [
            "UTC",
            "America/New_York",
            "Europe/London",
            "Australia/Lord_Howe",
        ] {
            let (begin, end) = (at("2026-12-31T12:00:00Z"), at("2027-12-31T12:00:00Z"));
            let within = |cron: &str| {
                let schedule = schedule(cron, zone);
                let next = |last: &Timestamp| next_tick(&schedule, *last);
                let ticks = std::iter::successors(next(&begin), next);
                ticks.take_while(|tick| *tick <= end).collect::<Vec<_>>()
            };
            let daily = within("0 30 2 * * *");
            assert_eq!(daily.len(), 365, "{zone}");
            let days: std::collections::BTreeSet<_> = daily
                .iter()
                .map(|tick| local(&schedule("0 0 0 * * *", zone), *tick).date())
                .collect();
            assert_eq!(days.len(), 365, "{zone}");
            let quarters = within("0 */15 * * * *");
            assert_eq!(quarters.len(), 365 * 24 * 4, "{zone}");
            assert!(
                quarters
                    .windows(2)
                    .all(|pair| (pair[1] - pair[0]).get_seconds() == 900)
            );
        }
    }

    #[test]
    fn the_last_tick_is_the_one_before_the_next() {
        for zone in [
            "UTC",
            "America/New_York",
            "Europe/London",
            "Australia/Lord_Howe",
        ] {
            for cron in [
                "0 30 2 * * *",
                "0 30 1 * * *",
                "0 */20 * * * *",
                "@every 7h",
            ] {
                let schedule = schedule(cron, zone);
                let mut tick = next_tick(&schedule, at("2027-03-01T00:00:00Z")).unwrap();
                while tick < at("2027-12-01T00:00:00Z") {
                    let next = next_tick(&schedule, tick).unwrap();
                    assert!(next > tick);
                    assert_eq!(last_tick(&schedule, tick), Some(tick), "{zone} {cron}");
                    let just_before = next - Duration::from_secs(1);
                    assert_eq!(
                        last_tick(&schedule, just_before),
                        Some(tick),
                        "{zone} {cron} {next}"
                    );
                    tick = next;
                }
            }
        }
    }

    #[test]
    fn every_counts_from_the_epoch_and_ends_with_its_line() {
        let schedule_of = |cron: &str| schedule(cron, "Europe/London");
        let every = schedule_of("@every 90m");
        let after = at("2027-03-28T00:00:00Z");
        let next = next_tick(&every, after).unwrap();
        assert_eq!(next, at("2027-03-28T01:30:00Z"));
        assert_eq!(next_tick(&every, next), Some(at("2027-03-28T03:00:00Z")));
        let once = schedule_of("0 0 12 1 1 * 2026");
        assert_eq!(next_tick(&once, after), None);
        assert_eq!(last_tick(&once, after), Some(at("2026-01-01T12:00:00Z")));
    }

    #[test]
    fn jitter_is_spread_and_the_same_everywhere() {
        let schedule = schedule("@every 1h", "UTC");
        let tick = at("2027-01-01T00:00:00Z");
        let delays: Vec<Duration> = (0..200)
            .map(|job| delay(&schedule, &format!("job-{job}"), tick))
            .collect();
        let limit = Duration::from_secs(600);
        assert!(delays.iter().all(|delay| *delay <= limit));
        assert!(delays.iter().any(|delay| *delay > limit / 2));
        assert!(delays.iter().any(|delay| *delay < limit / 2));
        assert_eq!(delay(&schedule, "job-0", tick), delays[0]);
        let none: Schedule = toml::from_str("cron = \"@every 1h\"").unwrap();
        assert_eq!(delay(&none, "job-0", tick), Duration::ZERO);
    }
}
