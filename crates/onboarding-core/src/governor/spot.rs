//! The Spot governor: learns each route's sliding window from the X-RateLimit-* headers and tells callers when to send.
//!
//! Spot counts requests per organization, route and method in a sliding window of 60 seconds. Every answer says how many
//! are left and in how many seconds the oldest one leaves the window. A request that is sent while blocked is refused
//! and moves the end of the block to 60 seconds after it, so retrying early never ends.
//! (Source: Spot's help, "API rate limits".)
//!
//! Guarantees, as long as nobody else uses the organization's limit: no request is ever refused. When others use it
//! too: after a refusal nothing is sent on that route before the reset, then one request alone, and the others spread.
//! The governor reads no clock: `now` is the time since any fixed moment, the same one in every call.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub mod shared;
#[cfg(test)]
mod simulation;

/// What the governor assumes about Spot's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GovernorSettings {
    /// The length of the sliding window. Spot: 60 seconds.
    pub window: Duration,
    /// Waited in addition to each reset, because the header has whole seconds and does not say how it rounds.
    pub margin: Duration,
}

impl Default for GovernorSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            margin: Duration::from_secs(1),
        }
    }
}

/// The longest reset that is believed; a larger one is a broken header.
const LONGEST_RESET: Duration = Duration::from_secs(600);

/// What an answer's X-RateLimit-* headers say; each is absent when the header is absent or not a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// Requests allowed in the window.
    pub limit: Option<u32>,
    /// Requests left in the window.
    pub remaining: Option<u32>,
    /// Time until the oldest request leaves the window, or until a block ends.
    pub reset: Option<Duration>,
}

/// How a permitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Spot answered, whatever the status, except 429.
    Answered(RateHeaders),
    /// Spot answered 429.
    Throttled(RateHeaders),
    /// No answer came: Spot may have counted the request.
    Lost,
    /// The request never left: Spot cannot have counted it.
    NotSent,
}

/// The right to send one request. It must be given back with [`SpotGovernor::finish`].
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    route: Box<str>,
    number: u64,
}

/// The governor's answer to a caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send now.
    Send(Ticket),
    /// Ask again after this time, or as soon as any call on the route has finished.
    Wait(Duration),
}

/// One route's window, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSnapshot {
    /// The method and the route's template, such as `GET /setup/account`.
    pub route: String,
    /// Requests allowed per window, once Spot has said so.
    pub limit: Option<u32>,
    /// Requests that may be sent now without waiting, as far as known.
    pub available: Option<u32>,
    /// Calls sent and not finished.
    pub in_flight: usize,
    /// How long nothing may be sent; zero when not blocked.
    pub blocked_for: Duration,
    /// Requests sent since the start.
    pub sent: u64,
    /// Answers with status 429 since the start.
    pub throttled: u64,
}

/// The windows of all routes.
#[derive(Debug, Default)]
pub struct SpotGovernor {
    settings: GovernorSettings,
    windows: BTreeMap<Box<str>, Window>,
}

impl SpotGovernor {
    /// A governor that knows no route yet.
    #[must_use]
    pub fn new(settings: GovernorSettings) -> Self {
        Self {
            settings,
            windows: BTreeMap::new(),
        }
    }

    /// Asks to send one request on a route (method and template).
    pub fn ask(&mut self, route: &str, now: Duration) -> Verdict {
        if !self.windows.contains_key(route) {
            self.windows.insert(route.into(), Window::default());
        }
        let Some(window) = self.windows.get_mut(route) else {
            return Verdict::Wait(self.settings.margin);
        };
        match window.wait(self.settings, now) {
            Some(wait) => Verdict::Wait(wait.max(Duration::from_millis(1))),
            None => Verdict::Send(Ticket {
                route: route.into(),
                number: window.send(now),
            }),
        }
    }

    /// Learns how a permitted call ended.
    pub fn finish(&mut self, ticket: Ticket, outcome: Outcome, now: Duration) {
        if let Some(window) = self.windows.get_mut(&ticket.route) {
            window.finish(ticket.number, outcome, self.settings, now);
        }
    }

    /// All windows as they are now, by route.
    #[must_use]
    pub fn snapshot(&self, now: Duration) -> Vec<WindowSnapshot> {
        self.windows
            .iter()
            .map(|(route, window)| WindowSnapshot {
                route: route.to_string(),
                limit: window.limit,
                available: window
                    .available()
                    .map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX)),
                in_flight: window.in_flight.len(),
                blocked_for: window.blocked_until(now).saturating_sub(now),
                sent: window.sent,
                throttled: window.throttled,
            })
            .collect()
    }
}

/// What is known about one route.
///
/// Sends and finishes are numbered in one sequence. An answer counts every call that finished before it was sent, and
/// perhaps calls that overlapped with it. So the answers that no later-sent call has superseded are kept, and the lowest
/// of them, less the calls in flight, never promises more than Spot has left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    limit: Option<u32>,
    /// An answer came without headers: this server does not limit, or does not say.
    silent: bool,
    sequence: u64,
    in_flight: BTreeSet<u64>,
    /// (number of the finish, remaining) of answers that are not superseded.
    answers: Vec<(u64, u32)>,
    /// Numbers of finishes without an answer that are not superseded; each may have been counted.
    lost: Vec<u64>,
    heard_at: Option<Duration>,
    /// When the oldest request leaves the window, by the last answer.
    opens_at: Duration,
    /// The end of a block after a refusal.
    refused_until: Duration,
    last_sent: Option<Duration>,
    /// Until then, callers are spread evenly instead of sent at once.
    spread_until: Duration,
    sent: u64,
    throttled: u64,
}

impl Window {
    /// How long a caller must wait; none when it may send now.
    fn wait(&mut self, settings: GovernorSettings, now: Duration) -> Option<Duration> {
        if now < self.refused_until {
            return Some(self.refused_until - now);
        }
        let stale = self
            .heard_at
            .is_some_and(|at| now >= at + settings.window + settings.margin);
        let room = match self.available() {
            None => self.silent,
            Some(_) if stale => false,
            Some(available) => available > 0,
        };
        if !room {
            if !self.in_flight.is_empty() {
                // Whatever is in flight will tell.
                return Some(settings.window);
            }
            if !stale && now < self.opens_at && self.available().is_some() {
                self.spread_until = self.opens_at + settings.window;
                return Some(self.opens_at - now);
            }
            // Nothing is known for sure: one request alone.
        }
        if now < self.spread_until
            && let Some(last) = self.last_sent
        {
            let next = last + self.interval(settings);
            if now < next {
                return Some(next - now);
            }
        }
        None
    }

    /// The even distance of requests at the limit.
    fn interval(&self, settings: GovernorSettings) -> Duration {
        settings.window / self.limit.filter(|limit| *limit > 0).unwrap_or(60)
    }

    /// Requests that Spot has left for sure; none when no answer has told yet.
    fn available(&self) -> Option<i64> {
        let remaining = self.answers.iter().map(|(_, remaining)| *remaining).min()?;
        let taken = self.in_flight.len() + self.lost.len();
        Some(i64::from(remaining) - i64::try_from(taken).unwrap_or(i64::MAX))
    }

    fn blocked_until(&self, now: Duration) -> Duration {
        if self.available().is_some_and(|available| available <= 0) && self.in_flight.is_empty() {
            self.refused_until.max(self.opens_at)
        } else {
            self.refused_until.max(now)
        }
    }

    fn send(&mut self, now: Duration) -> u64 {
        self.sequence += 1;
        self.sent += 1;
        self.in_flight.insert(self.sequence);
        self.last_sent = Some(now);
        self.sequence
    }

    fn finish(&mut self, number: u64, outcome: Outcome, settings: GovernorSettings, now: Duration) {
        if !self.in_flight.remove(&number) {
            return;
        }
        self.sequence += 1;
        let finished = self.sequence;
        match outcome {
            Outcome::NotSent => self.sent -= 1,
            Outcome::Lost => self.lost.push(finished),
            Outcome::Answered(headers) => {
                self.supersede(number);
                self.heard_at = Some(now);
                self.limit = headers.limit.or(self.limit);
                match headers.remaining {
                    Some(remaining) => {
                        self.answers.push((finished, remaining));
                        self.opens_at = now + reset(headers, settings) + settings.margin;
                    }
                    None => self.silent = true,
                }
            }
            Outcome::Throttled(headers) => {
                self.supersede(number);
                self.heard_at = Some(now);
                self.throttled += 1;
                self.limit = headers.limit.or(self.limit);
                self.answers.push((finished, 0));
                let until = now + reset(headers, settings) + settings.margin;
                self.refused_until = self.refused_until.max(until);
                self.opens_at = self.refused_until;
                self.spread_until = self.refused_until + settings.window;
            }
        }
    }

    /// Forgets what finished before this call was sent: its answer has counted all of that.
    fn supersede(&mut self, number: u64) {
        self.answers.retain(|(finished, _)| *finished > number);
        self.lost.retain(|finished| *finished > number);
    }
}

fn reset(headers: RateHeaders, settings: GovernorSettings) -> Duration {
    headers
        .reset
        .filter(|reset| *reset <= LONGEST_RESET)
        .unwrap_or(settings.window)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "GET /setup/account";

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn headers(limit: u32, remaining: u32, reset: u64) -> RateHeaders {
        RateHeaders {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(seconds(reset)),
        }
    }

    fn sends(governor: &mut SpotGovernor, now: Duration) -> Ticket {
        match governor.ask(ROUTE, now) {
            Verdict::Send(ticket) => ticket,
            Verdict::Wait(wait) => panic!("must wait {wait:?}"),
        }
    }

    fn waits(governor: &mut SpotGovernor, now: Duration) -> Duration {
        match governor.ask(ROUTE, now) {
            Verdict::Wait(wait) => wait,
            Verdict::Send(_) => panic!("may send"),
        }
    }

    #[test]
    fn an_unknown_route_is_tried_by_one_request_alone() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        waits(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(10, 9, 60)), seconds(1));
        for _ in 0..9 {
            sends(&mut governor, seconds(1));
        }
        waits(&mut governor, seconds(1));
    }

    #[test]
    fn a_server_without_headers_is_not_held_back() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(RateHeaders::default()), seconds(1));
        for _ in 0..100 {
            sends(&mut governor, seconds(1));
        }
    }

    #[test]
    fn calls_in_flight_count_against_the_remaining_ones() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(10, 2, 30)), seconds(0));
        let second = sends(&mut governor, seconds(0));
        let _third = sends(&mut governor, seconds(0));
        waits(&mut governor, seconds(0));
        // Its answer may or may not have counted the third.
        governor.finish(second, Outcome::Answered(headers(10, 1, 30)), seconds(1));
        waits(&mut governor, seconds(1));
    }

    #[test]
    fn an_empty_window_opens_after_the_reset_and_the_margin_for_one_alone() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(60, 0, 30)), seconds(0));
        assert_eq!(waits(&mut governor, seconds(1)), seconds(30));
        let probe = sends(&mut governor, seconds(31));
        waits(&mut governor, seconds(31));
        governor.finish(probe, Outcome::Answered(headers(60, 40, 5)), seconds(32));
        // The others follow one second apart, as 60 a minute are.
        sends(&mut governor, seconds(32));
        assert_eq!(waits(&mut governor, seconds(32)), seconds(1));
        sends(&mut governor, seconds(33));
    }

    #[test]
    fn nothing_is_sent_after_a_refusal_until_its_reset() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(60, 50, 60)), seconds(0));
        let second = sends(&mut governor, seconds(1));
        let third = sends(&mut governor, seconds(1));
        governor.finish(second, Outcome::Throttled(headers(60, 0, 60)), seconds(2));
        // An overlapping call that was let through does not open the window.
        governor.finish(third, Outcome::Answered(headers(60, 5, 1)), seconds(3));
        assert_eq!(waits(&mut governor, seconds(3)), seconds(60));
        assert_eq!(governor.snapshot(seconds(3))[0].throttled, 1);
        assert_eq!(governor.snapshot(seconds(3))[0].blocked_for, seconds(60));
        sends(&mut governor, seconds(63));
        waits(&mut governor, seconds(63));
    }

    #[test]
    fn a_refusal_without_headers_blocks_for_a_window() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(
            first,
            Outcome::Throttled(RateHeaders::default()),
            seconds(5),
        );
        assert_eq!(waits(&mut governor, seconds(5)), seconds(61));
    }

    #[test]
    fn a_lost_call_counts_until_a_later_answer_tells() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(10, 2, 50)), seconds(0));
        let lost = sends(&mut governor, seconds(1));
        governor.finish(lost, Outcome::Lost, seconds(2));
        let later = sends(&mut governor, seconds(3));
        waits(&mut governor, seconds(3));
        governor.finish(later, Outcome::Answered(headers(10, 4, 50)), seconds(4));
        assert_eq!(governor.snapshot(seconds(4))[0].available, Some(4));
    }

    #[test]
    fn a_call_that_never_left_takes_nothing() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Answered(headers(10, 1, 50)), seconds(0));
        let unsent = sends(&mut governor, seconds(0));
        governor.finish(unsent, Outcome::NotSent, seconds(0));
        sends(&mut governor, seconds(0));
    }

    #[test]
    fn routes_do_not_share_their_windows() {
        let mut governor = SpotGovernor::default();
        let first = sends(&mut governor, seconds(0));
        governor.finish(first, Outcome::Throttled(headers(1, 0, 60)), seconds(0));
        assert!(matches!(
            governor.ask("POST /setup/account", seconds(0)),
            Verdict::Send(_)
        ));
    }
}
