//! Makes callers wait as the Spot governor says: one line per route, the earliest deadline first, and only the head of a
//! line asks the governor, so that a thousand waiting callers cost nothing. Where windows are shared with other processes,
//! the head of the line then waits for these, too.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use onboarding_core::governor::spot::{
    GovernorSettings, Outcome, SpotGovernor, Ticket, Verdict, WindowSnapshot, shared::Permit,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    line::Line,
    route::Route,
    shared::{SharedLane, SharedWindows},
};
use crate::urgency;

/// The governor and the lines before it.
pub(crate) struct Gate {
    epoch: Instant,
    settings: GovernorSettings,
    call_timeout: Duration,
    windows: OnceLock<Arc<dyn SharedWindows>>,
    governor: Mutex<SpotGovernor>,
    lanes: Mutex<HashMap<Route, Arc<Lane>>>,
}

struct Lane {
    key: String,
    line: Arc<Line>,
    /// A call on this route has finished.
    finished: Notify,
    /// The window that is shared, where windows are.
    shared: OnceLock<SharedLane>,
}

impl Gate {
    pub(crate) fn new(settings: GovernorSettings, call_timeout: Duration) -> Self {
        Self {
            epoch: Instant::now(),
            settings,
            call_timeout,
            windows: OnceLock::new(),
            governor: Mutex::new(SpotGovernor::new(settings)),
            lanes: Mutex::new(HashMap::new()),
        }
    }

    /// From now on, windows are shared. Those that were named first stay.
    pub(crate) fn share(&self, windows: Arc<dyn SharedWindows>) {
        let _ = self.windows.set(windows);
    }

    /// Waits for the right to send one request. Tells how long it took.
    pub(crate) async fn enter(self: &Arc<Self>, route: Route) -> (Pass, Duration) {
        let lane = Arc::clone(self.lanes.lock().entry(route).or_insert_with(|| {
            Arc::new(Lane {
                key: route.to_string(),
                line: Arc::default(),
                finished: Notify::new(),
                shared: OnceLock::new(),
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
        let mut pass = Pass {
            gate: Arc::clone(self),
            lane,
            ticket: Some(ticket),
            permit: None,
            sent: false,
        };
        if let Some(shared) = self.shared(&pass.lane) {
            pass.permit = shared.permit(&pass.lane.key, &pass.lane.finished).await;
        }
        drop(head);
        (pass, arrived.elapsed())
    }

    fn shared<'a>(&self, lane: &'a Lane) -> Option<&'a SharedLane> {
        let windows = self.windows.get()?;
        Some(
            lane.shared.get_or_init(|| {
                SharedLane::new(Arc::clone(windows), self.settings, self.call_timeout)
            }),
        )
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
    /// Of the shared window.
    permit: Option<Permit>,
    sent: bool,
}

impl Pass {
    pub(crate) fn sending(&mut self) {
        self.sent = true;
    }

    pub(crate) async fn finish(mut self, outcome: Outcome) {
        let permitted = self.permit.is_some();
        self.settle(outcome);
        if permitted && let Some(shared) = self.lane.shared.get() {
            shared.report(&self.lane.key, outcome).await;
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let now = self.gate.epoch.elapsed();
            self.gate.governor.lock().finish(ticket, outcome, now);
            if let Some(permit) = self.permit.take()
                && let Some(shared) = self.lane.shared.get()
            {
                shared.ended(permit, outcome);
            }
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
