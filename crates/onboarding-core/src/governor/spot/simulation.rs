//! The governor against a simulated Spot: random arrivals and delays, answers out of order, a limit that pushes back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::{GovernorSettings, Outcome, RateHeaders, SpotGovernor, Ticket, Verdict};

const ROUTE: &str = "POST /setup/account";
const WINDOW: u64 = 60_000;

/// Spot's side: counts what it lets through; a refusal blocks for a whole window after it. Times in milliseconds.
pub(super) struct Server {
    limit: u32,
    counted: VecDeque<u64>,
    blocked_until: u64,
    pub(super) refusals: u32,
}

impl Server {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            counted: VecDeque::new(),
            blocked_until: 0,
            refusals: 0,
        }
    }

    pub(super) fn arrive(&mut self, now: u64) -> (bool, RateHeaders) {
        while self.counted.front().is_some_and(|at| at + WINDOW <= now) {
            self.counted.pop_front();
        }
        let used = u32::try_from(self.counted.len()).unwrap();
        if now < self.blocked_until || used >= self.limit {
            self.blocked_until = now + WINDOW;
            self.refusals += 1;
            return (false, self.headers(0, WINDOW));
        }
        self.counted.push_back(now);
        let oldest = self.counted.front().copied().unwrap();
        (
            true,
            self.headers(self.limit - used - 1, oldest + WINDOW - now),
        )
    }

    fn headers(&self, remaining: u32, reset: u64) -> RateHeaders {
        RateHeaders {
            limit: Some(self.limit),
            remaining: Some(remaining),
            // Whole seconds, rounded down: the unkindest reading of the header.
            reset: Some(Duration::from_secs(reset / 1000)),
        }
    }
}

/// One call of ours, times in milliseconds.
#[derive(Debug, Clone)]
struct Call {
    wanted_at: u64,
    there: u64,
    back: u64,
    /// The answer gets lost on its way back.
    lost: bool,
}

enum Event {
    Want(usize),
    Arrive(usize),
    Finish(usize, Outcome),
    Foreign,
    Wake,
}

#[derive(Default)]
struct Run {
    /// When the last call ended, in milliseconds.
    ended_at: u64,
    refusals: u32,
    /// Requests that we sent while a block was known to us.
    sent_while_blocked: u32,
}

/// Plays all calls (each until it gets through or is lost) among requests of others.
fn play(limit: u32, calls: &[Call], foreign: &[u64]) -> Run {
    let mut governor = SpotGovernor::new(GovernorSettings::default());
    let mut server = Server::new(limit);
    let mut events: BTreeMap<(u64, usize), Event> = BTreeMap::new();
    let mut tickets: BTreeMap<usize, Ticket> = BTreeMap::new();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    let mut run = Run::default();
    let mut known_block = 0;
    let mut wake = None;
    let mut order = 0..;
    for (i, call) in calls.iter().enumerate() {
        events.insert((call.wanted_at, order.next().unwrap()), Event::Want(i));
    }
    for at in foreign {
        events.insert((*at, order.next().unwrap()), Event::Foreign);
    }
    while let Some(((at, _), event)) = events.pop_first() {
        assert!(at < 100 * 3_600_000, "the calls never end");
        let now = Duration::from_millis(at);
        match event {
            Event::Want(i) => waiting.push_back(i),
            Event::Arrive(i) => {
                let (through, headers) = server.arrive(at);
                let outcome = match (calls[i].lost, through) {
                    (true, _) => Outcome::Lost,
                    (false, true) => Outcome::Answered(headers),
                    (false, false) => Outcome::Throttled(headers),
                };
                let key = (at + calls[i].back, order.next().unwrap());
                events.insert(key, Event::Finish(i, outcome));
            }
            Event::Finish(i, outcome) => {
                governor.finish(tickets.remove(&i).unwrap(), outcome, now);
                run.ended_at = at;
                if let Outcome::Throttled(headers) = outcome {
                    known_block = at + u64::try_from(headers.reset.unwrap().as_millis()).unwrap();
                    waiting.push_back(i);
                }
            }
            Event::Foreign => {
                server.arrive(at);
            }
            Event::Wake => {}
        }
        while let Some(i) = waiting.front().copied() {
            match governor.ask(ROUTE, now) {
                Verdict::Send(ticket) => {
                    run.sent_while_blocked += u32::from(at < known_block);
                    waiting.pop_front();
                    tickets.insert(i, ticket);
                    let key = (at + calls[i].there, order.next().unwrap());
                    events.insert(key, Event::Arrive(i));
                }
                Verdict::Wait(wait) => {
                    let again = at + u64::try_from(wait.as_millis()).unwrap().max(1);
                    if let Some(old) = wake.replace((again, order.next().unwrap())) {
                        events.remove(&old);
                    }
                    events.extend(wake.map(|key| (key, Event::Wake)));
                    break;
                }
            }
        }
    }
    run.refusals = server.refusals;
    run
}

fn calls(lost: bool) -> impl Strategy<Value = Vec<Call>> {
    let call = (0..180_000_u64, 1..900_u64, 1..900_u64, 0..10_u32).prop_map(
        move |(wanted_at, there, back, luck)| Call {
            wanted_at,
            there,
            back,
            lost: lost && luck == 0,
        },
    );
    prop::collection::vec(call, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn alone_we_are_never_refused(limit in 1..100_u32, calls in calls(false)) {
        prop_assert_eq!(play(limit, &calls, &[]).refusals, 0);
    }

    #[test]
    fn with_others_and_lost_answers_we_never_send_while_we_know_of_a_block(
        limit in 2..60_u32,
        calls in calls(true),
        foreign in prop::collection::vec(0..300_000_u64, 0..40),
    ) {
        prop_assert_eq!(play(limit, &calls, &foreign).sent_while_blocked, 0);
    }
}

#[test]
fn a_thousand_callers_at_once_use_the_limit_and_are_not_refused() {
    let calls: Vec<Call> = (0..1000)
        .map(|i| Call {
            wanted_at: 0,
            there: 20 + i % 7,
            back: 30 + i % 11,
            lost: false,
        })
        .collect();
    let run = play(60, &calls, &[]);
    assert_eq!(run.refusals, 0);
    // 1,000 at 60 a minute are 15.7 minutes for the last one to start; a tenth more is tolerated.
    assert!(run.ended_at < 1_040_000, "{} ms", run.ended_at);
}
