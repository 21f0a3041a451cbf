//! Makes callers wait as the Spot governor says: one line per route, the earliest deadline first, and only the head of a
//! line asks the governor, so that a thousand waiting callers cost nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use onboarding_core::governor::spot::{
    GovernorSettings, Outcome, SpotGovernor, Ticket, Verdict, WindowSnapshot,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{line::Line, route::Route};
use crate::urgency;

/// The governor and the lines before it.
pub(crate) struct Gate {
    epoch: Instant,
    governor: Mutex<SpotGovernor>,
    lanes: Mutex<HashMap<Route, Arc<Lane>>>,
}

struct Lane {
    key: String,
    line: Arc<Line>,
    /// A call on this route has finished.
    finished: Notify,
}

impl Gate {
    pub(crate) fn new(settings: GovernorSettings) -> Self {
        Self {
            epoch: Instant::now(),
            governor: Mutex::new(SpotGovernor::new(settings)),
            lanes: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for the right to send one request. Tells how long it took.
    pub(crate) async fn enter(self: &Arc<Self>, route: Route) -> (Pass, Duration) {
        let lane = Arc::clone(self.lanes.lock().entry(route).or_insert_with(|| {
            Arc::new(Lane {
                key: route.to_string(),
                line: Arc::default(),
                finished: Notify::new(),
            })
        }));
        let arrived = Instant::now();
        let head = lane.line.head(urgency::deadline()).await;
        let ticket = loop {
            let finished = lane.finished.notified();
            let verdict = self.governor.lock().ask(&lane.key, self.epoch.elapsed());
            match verdict {
                Verdict::Send(ticket) => break ticket,
                Verdict::Wait(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = finished => {}
                    }
                }
            }
        };
        drop(head);
        let pass = Pass {
            gate: Arc::clone(self),
            lane,
            ticket: Some(ticket),
            sent: false,
        };
        (pass, arrived.elapsed())
    }

    pub(crate) fn snapshot(&self) -> Vec<WindowSnapshot> {
        self.governor.lock().snapshot(self.epoch.elapsed())
    }
}

/// The right to send one request. Dropped before sending, it is given back; dropped later, the call counts as lost.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    lane: Arc<Lane>,
    ticket: Option<Ticket>,
    sent: bool,
}

impl Pass {
    pub(crate) fn sending(&mut self) {
        self.sent = true;
    }

    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let now = self.gate.epoch.elapsed();
            self.gate.governor.lock().finish(ticket, outcome, now);
            // At most one caller waits here: the head of the line. A stored notification is not lost.
            self.lane.finished.notify_one();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.settle(if self.sent {
            Outcome::Lost
        } else {
            Outcome::NotSent
        });
    }
}
