//! One route's window as several processes share it: as a document that is read, changed and written back by one of them
//! at a time. Spot counts the requests of a whole organization, whoever sends them.
//!
//! Permits are given out a few at a time, so that a run with generous limits does not write for every call, and reported
//! back later, also a few at a time. Both only make the window more careful than it need be: a permit counts as a request in
//! flight until its report, and an answer that is reported late supersedes less. A permit whose process went away counts as
//! lost when its lease has ended. `now` is the time since one fixed moment by one clock, the same one for all processes.
//!
//! The document may be lost at any time: then the next request finds out alone, as at the start.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{GovernorSettings, LONGEST_RESET, Outcome, Window};

#[cfg(test)]
mod simulation;

/// When to look again while others' calls are in flight: they end without telling us.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// One of so many requests that are left is given out at once: the others are for other processes.
const SHARE: i64 = 4;

/// See the module documentation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedWindow {
    window: Window,
    /// The ends of the leases of permits that were not reported.
    leases: BTreeMap<u64, Duration>,
}

/// The right to send one request before its lease ends. To be reported, whatever becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit(u64);

/// The answer to who asks for permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allotment {
    /// At least one.
    Permits(Vec<Permit>),
    /// Ask again after this time.
    Wait(Duration),
}

impl SharedWindow {
    /// Learns how requests ended. A permit that was not used ended as [`Outcome::NotSent`].
    pub fn report(
        &mut self,
        ended: &[(Permit, Outcome)],
        settings: GovernorSettings,
        now: Duration,
    ) {
        self.distrust(settings, now);
        for (Permit(number), outcome) in ended {
            if self.leases.remove(number).is_some() {
                self.window.finish(*number, *outcome, settings, now);
            }
        }
    }

    /// Gives out up to `wanted` permits, for as long as `lease`.
    pub fn take(
        &mut self,
        wanted: usize,
        lease: Duration,
        settings: GovernorSettings,
        now: Duration,
    ) -> Allotment {
        self.distrust(settings, now);
        let ended = self.leases.extract_if(.., |_, end| *end <= now);
        for (number, _) in ended {
            self.window.finish(number, Outcome::Lost, settings, now);
        }
        let share = match self.window.available() {
            None => wanted,
            Some(available) => usize::try_from(available / SHARE).unwrap_or(0),
        };
        let mut permits = Vec::new();
        loop {
            match self.window.wait(settings, now) {
                None => {
                    let number = self.window.send(now);
                    self.leases.insert(number, now + lease);
                    permits.push(Permit(number));
                    if permits.len() >= wanted.min(share) {
                        return Allotment::Permits(permits);
                    }
                }
                Some(_) if !permits.is_empty() => return Allotment::Permits(permits),
                Some(wait) if self.leases.is_empty() || now < self.window.refused_until => {
                    return Allotment::Wait(wait.max(Duration::from_millis(1)));
                }
                Some(wait) => return Allotment::Wait(wait.min(LOOK_AGAIN)),
            }
        }
    }

    /// Forgets a window from the future: a clock was set back, and what it says would block for as long.
    fn distrust(&mut self, settings: GovernorSettings, now: Duration) {
        let window = &self.window;
        let latest = now + LONGEST_RESET + settings.window + settings.margin;
        let heard = window.heard_at.max(window.last_sent).unwrap_or_default();
        if heard > now + settings.window || window.refused_until.max(window.opens_at) > latest {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::RateHeaders, *};

    const SETTINGS: GovernorSettings = GovernorSettings {
        window: Duration::from_secs(60),
        margin: Duration::from_secs(1),
    };
    const LEASE: Duration = Duration::from_secs(30);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn answered(remaining: u32) -> Outcome {
        Outcome::Answered(RateHeaders {
            limit: Some(100),
            remaining: Some(remaining),
            reset: Some(seconds(60)),
        })
    }

    fn permits(window: &mut SharedWindow, wanted: usize, now: u64) -> Vec<Permit> {
        match window.take(wanted, LEASE, SETTINGS, seconds(now)) {
            Allotment::Permits(permits) => permits,
            Allotment::Wait(wait) => panic!("must wait {wait:?}"),
        }
    }

    fn waits(window: &mut SharedWindow, now: u64) -> Duration {
        match window.take(1, LEASE, SETTINGS, seconds(now)) {
            Allotment::Wait(wait) => wait,
            Allotment::Permits(permits) => panic!("may send {permits:?}"),
        }
    }

    /// A window in which one answer has told how many are left.
    fn known(remaining: u32) -> SharedWindow {
        let mut window = SharedWindow::default();
        let first = permits(&mut window, 16, 0);
        assert_eq!(first.len(), 1, "an unknown route is tried by one alone");
        assert_eq!(waits(&mut window, 0), LOOK_AGAIN);
        window.report(&[(first[0], answered(remaining))], SETTINGS, seconds(1));
        window
    }

    #[test]
    fn a_generous_limit_is_given_out_in_batches_and_a_small_one_singly() {
        let mut window = known(99);
        assert_eq!(permits(&mut window, 16, 1).len(), 16);
        assert_eq!(permits(&mut window, 64, 1).len(), 20);
        let mut window = known(3);
        for _ in 0..3 {
            assert_eq!(permits(&mut window, 16, 1).len(), 1);
        }
        assert_eq!(waits(&mut window, 1), LOOK_AGAIN);
    }

    #[test]
    fn what_was_not_used_is_there_again_and_counts_once() {
        let mut window = known(1);
        let unused = permits(&mut window, 16, 1);
        let report = [(unused[0], Outcome::NotSent)];
        for _ in 0..2 {
            window.report(&report, SETTINGS, seconds(2));
        }
        assert_eq!(permits(&mut window, 16, 2).len(), 1);
        waits(&mut window, 2);
    }

    #[test]
    fn the_permits_of_a_process_that_went_away_are_lost_with_their_lease() {
        let mut window = known(1);
        let gone = permits(&mut window, 1, 1);
        assert_eq!(waits(&mut window, 30), LOOK_AGAIN);
        // It may have been counted, so the window opens when Spot said, and for one alone.
        assert_eq!(waits(&mut window, 31), seconds(31));
        assert_eq!(permits(&mut window, 16, 62).len(), 1);
        // A report that comes after all changes nothing.
        window.report(&[(gone[0], answered(90))], SETTINGS, seconds(62));
        assert_eq!(waits(&mut window, 62), LOOK_AGAIN);
    }

    #[test]
    fn a_refusal_is_everybodys() {
        let mut window = known(99);
        let sent = permits(&mut window, 2, 1);
        let refused = Outcome::Throttled(RateHeaders::default());
        window.report(&[(sent[0], refused)], SETTINGS, seconds(2));
        assert_eq!(waits(&mut window, 2), seconds(61));
    }

    #[test]
    fn a_window_from_the_future_is_forgotten() {
        let mut window = known(0);
        waits(&mut window, 1);
        let text = serde_json::to_string(&window).unwrap();
        let mut set_back: SharedWindow = serde_json::from_str(&text).unwrap();
        assert_eq!(set_back, window);
        for (at, field) in [(2_000, "refused_until"), (2_000, "heard_at")] {
            let mut value = serde_json::to_value(&window).unwrap();
            value["window"][field] = serde_json::to_value(seconds(at)).unwrap();
            let mut future: SharedWindow = serde_json::from_value(value).unwrap();
            assert_eq!(permits(&mut future, 1, 2).len(), 1, "{field}");
        }
        assert_eq!(waits(&mut set_back, 2), seconds(60));
    }
}
