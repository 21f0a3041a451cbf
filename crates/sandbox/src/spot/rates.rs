//! Spot's rate limit: per organization, route and method, over a sliding window.
//!
//! A request that is sent while blocked is blocked as well, and moves the reset to a whole window
//! after it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::scenario::{RouteLimits, SpotScenario};

/// The windows of all routes.
#[derive(Debug)]
pub(crate) struct RateLimits {
    limits: RouteLimits,
    default: u32,
    window: Duration,
    routes: HashMap<String, Window>,
}

#[derive(Debug, Default)]
struct Window {
    sent: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

/// What the headers of an answer say, and whether the call may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateState {
    /// False: answer 429.
    pub(crate) allowed: bool,
    /// `X-RateLimit-Limit`.
    pub(crate) limit: u32,
    /// `X-RateLimit-Remaining`.
    pub(crate) remaining: u32,
    /// `X-RateLimit-Reset`, in whole seconds, rounded up.
    pub(crate) reset: u64,
}

impl RateLimits {
    /// The limits of a scenario, all windows empty.
    pub(crate) fn new(scenario: &SpotScenario) -> Self {
        Self {
            limits: scenario.rate_limits.clone(),
            default: scenario.rate_limit,
            window: scenario.window,
            routes: HashMap::new(),
        }
    }

    /// Counts a call of a route (`POST /setup/account`); `None` when it is unlimited.
    pub(crate) fn take(&mut self, route: &str, now: Instant) -> Option<RateState> {
        let limit = self.limits.get(route).copied().unwrap_or(self.default);
        if limit == 0 {
            return None;
        }
        let window = self.routes.entry(route.to_owned()).or_default();
        while window
            .sent
            .front()
            .is_some_and(|sent| now.duration_since(*sent) >= self.window)
        {
            window.sent.pop_front();
        }
        let blocked = window.blocked_until.is_some_and(|until| now < until);
        if blocked || window.sent.len() >= limit as usize {
            window.blocked_until = Some(now + self.window);
            let reset = seconds(self.window);
            return Some(RateState {
                allowed: false,
                limit,
                remaining: 0,
                reset,
            });
        }
        window.blocked_until = None;
        window.sent.push_back(now);
        let oldest = window.sent.front().copied().unwrap_or(now);
        Some(RateState {
            allowed: true,
            limit,
            remaining: limit - window.sent.len() as u32,
            reset: seconds((oldest + self.window).saturating_duration_since(now)),
        })
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_while_blocked_pushes_the_reset_back() {
        let scenario = SpotScenario {
            rate_limit: 2,
            ..SpotScenario::default()
        };
        let (mut rates, start) = (RateLimits::new(&scenario), Instant::now());
        let mut take = |at: u64| {
            rates
                .take("GET /x", start + Duration::from_secs(at))
                .unwrap()
        };
        assert_eq!(
            take(0),
            RateState {
                allowed: true,
                limit: 2,
                remaining: 1,
                reset: 60
            }
        );
        assert_eq!(
            take(20),
            RateState {
                allowed: true,
                limit: 2,
                remaining: 0,
                reset: 40
            }
        );
        assert!(!take(30).allowed);
        // The first call left the window at 60, but the block lasts until 90.
        assert!(!take(70).allowed);
        assert!(!take(129).allowed);
        assert!(take(189).allowed);
    }

    #[test]
    fn routes_have_their_own_windows_and_zero_is_unlimited() {
        let mut scenario = SpotScenario {
            rate_limit: 0,
            ..SpotScenario::default()
        };
        scenario.rate_limits.insert("POST /setup/account".into(), 1);
        let (mut rates, now) = (RateLimits::new(&scenario), Instant::now());
        assert_eq!(rates.take("GET /setup/account", now), None);
        assert!(rates.take("POST /setup/account", now).unwrap().allowed);
        assert!(!rates.take("POST /setup/account", now).unwrap().allowed);
    }
}
