//! Several processes with one window against a simulated Spot: random arrivals and delays, late reports, unused permits.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    super::{GovernorSettings, Outcome, simulation::Server},
    Allotment, Permit, SharedWindow,
};

/// How long a process keeps permits that it does not use, and how long leases are; in milliseconds.
const KEEP: u64 = 1_000;
const LEASE: Duration = Duration::from_secs(40);
const BATCH: usize = 16;

/// One call of a process; times in milliseconds.
#[derive(Debug, Clone)]
struct Call {
    process: usize,
    wanted_at: u64,
    there: u64,
    back: u64,
    /// From its end until the window is told of it.
    reported: u64,
}

enum Event {
    Want(usize),
    Arrive(usize, Permit),
    Report(Permit, Outcome),
    GiveBack(usize),
    Wake(usize),
}

#[derive(Default)]
struct Process {
    waiting: VecDeque<usize>,
    permits: Vec<Permit>,
}

/// Plays all calls, and returns how many were refused and when the last one was sent.
fn play(limit: u32, processes: usize, calls: &[Call]) -> (u32, u64) {
    let settings = GovernorSettings::default();
    let (mut window, mut server) = (SharedWindow::default(), Server::new(limit));
    let mut processes: Vec<Process> = (0..processes).map(|_| Process::default()).collect();
    let mut events: BTreeMap<(u64, usize), Event> = BTreeMap::new();
    let (mut order, mut last_sent) = (0.., 0);
    for (i, call) in calls.iter().enumerate() {
        events.insert((call.wanted_at, order.next().unwrap()), Event::Want(i));
    }
    while let Some(((at, _), event)) = events.pop_first() {
        assert!(at < 100 * 3_600_000, "the calls never end");
        let now = Duration::from_millis(at);
        let process = match event {
            Event::Want(i) => {
                processes[calls[i].process].waiting.push_back(i);
                calls[i].process
            }
            Event::Arrive(i, permit) => {
                let (through, headers) = server.arrive(at);
                let outcome = match through {
                    true => Outcome::Answered(headers),
                    false => Outcome::Throttled(headers),
                };
                let key = at + calls[i].back + calls[i].reported;
                events.insert((key, order.next().unwrap()), Event::Report(permit, outcome));
                continue;
            }
            Event::Report(permit, outcome) => {
                window.report(&[(permit, outcome)], settings, now);
                continue;
            }
            Event::GiveBack(process) => {
                let unused = processes[process].permits.drain(..);
                let ended: Vec<_> = unused.map(|permit| (permit, Outcome::NotSent)).collect();
                window.report(&ended, settings, now);
                process
            }
            Event::Wake(process) => process,
        };
        let Process { waiting, permits } = &mut processes[process];
        while let Some(i) = waiting.front().copied() {
            if let Some(permit) = permits.pop() {
                waiting.pop_front();
                last_sent = at;
                let key = (at + calls[i].there, order.next().unwrap());
                events.insert(key, Event::Arrive(i, permit));
                continue;
            }
            match window.take(BATCH, LEASE, settings, now) {
                Allotment::Permits(taken) => {
                    *permits = taken;
                    let key = (at + KEEP, order.next().unwrap());
                    events.insert(key, Event::GiveBack(process));
                }
                Allotment::Wait(wait) => {
                    let again = at + u64::try_from(wait.as_millis()).unwrap().max(1);
                    events.insert((again, order.next().unwrap()), Event::Wake(process));
                    break;
                }
            }
        }
    }
    (server.refusals, last_sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn together_we_are_never_refused(
        limit in 1..100_u32,
        calls in prop::collection::vec(
            (0..4_usize, 0..180_000_u64, 1..900_u64, 1..900_u64, 0..3_000_u64),
            1..200,
        ),
    ) {
        let calls: Vec<Call> = calls
            .into_iter()
            .map(|(process, wanted_at, there, back, reported)| Call {
                process, wanted_at, there, back, reported,
            })
            .collect();
        prop_assert_eq!(play(limit, 4, &calls).0, 0);
    }
}

#[test]
fn a_thousand_callers_of_two_processes_use_the_limit() {
    let calls: Vec<Call> = (0..1000)
        .map(|i| Call {
            process: usize::from(i % 2 == 0),
            wanted_at: 0,
            there: 20 + i % 7,
            back: 30 + i % 11,
            reported: 5,
        })
        .collect();
    let (refusals, last_sent) = play(60, 2, &calls);
    assert_eq!(refusals, 0);
    // 1,000 at 60 a minute are 15.7 minutes for the last one to start.
    assert!(last_sent < 1_100_000, "{last_sent} ms");
}
