//! Delivers what waits: to each target one after the other, to all targets side by side, so that one that never answers delays no other.
//!
//! Whoever is alive delivers: a daemon all the time, a run that was begun by hand for a moment at its end. A target that it does not know
//! is another process's, whose configuration may have it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    busy::Busy,
    drain::{Drain, NOTING},
    send::Sender,
};
use crate::{
    config::Loaded,
    home::Home,
    state::{State, StateError},
};

/// The time between two looks of a daemon.
const LOOK: Duration = Duration::from_secs(2);

/// The time between two looks of who has only a moment.
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// What delivering needs.
struct Delivery {
    config: Arc<Loaded>,
    state: State,
    sender: Arc<Sender>,
    /// When it must be over.
    deadline: Option<Instant>,
    /// Says that nothing more is to be begun.
    ending: CancellationToken,
}

/// Delivers all the time, until it is ended or dropped.
pub(crate) struct Delivering {
    home: Home,
    ending: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Delivering {
    /// Begins.
    pub(crate) fn begin(home: Home) -> Self {
        let delivery = Delivery::of(&home, None);
        let ending = delivery.ending.clone();
        Self {
            home,
            ending,
            task: AbortOnDropHandle::new(tokio::spawn(delivery.keep())),
        }
    }

    /// Takes up nothing new, lets what is under way come to its end, and delivers what is due then; for so long at most.
    pub(crate) async fn end(self, limit: Duration) {
        if self.home.config.runner.notify.is_empty() {
            return;
        }
        let deadline = Instant::now() + limit;
        tracing::info!("what people are being told and what is due comes to its end first");
        self.ending.cancel();
        match timeout_at(deadline, self.task).await {
            Ok(_) => deliver_until(&self.home, deadline).await,
            Err(_) => tracing::warn!(
                "what was being told did not get through within {} s and was cut; it is told once more",
                limit.as_secs()
            ),
        }
    }
}

/// Delivers what is due for so long at most. What did not get through waits for the next who delivers.
pub(crate) async fn within(home: &Home, limit: Duration) {
    deliver_until(home, Instant::now() + limit).await;
}

async fn deliver_until(home: &Home, deadline: Instant) {
    let delivery = Delivery::of(home, Some(deadline));
    if delivery.config.runner.notify.is_empty() {
        return;
    }
    match timeout_at(deadline, delivery.deliver(deadline)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => tracing::warn!(
            "not everybody could be told in time; what is left waits for the next run or a daemon (`runner notify list`)"
        ),
        Ok(Err(error)) => {
            tracing::error!(%error, "what is to be told could not be looked at; the next run tells it");
        }
        Err(_) => tracing::warn!("telling people took too long and was cut; it is told once more"),
    }
}

impl Delivery {
    fn of(home: &Home, deadline: Option<Instant>) -> Self {
        Self {
            config: Arc::clone(&home.config),
            state: home.state.clone(),
            sender: Arc::new(Sender::new(home.aws.clone())),
            deadline,
            ending: CancellationToken::new(),
        }
    }

    /// Delivers until it is to end and what is under way has ended.
    async fn keep(self) {
        if self.config.runner.notify.is_empty() {
            return;
        }
        let mut busy = Busy::default();
        while !self.ending.is_cancelled() {
            if let Err(error) = self.state.in_time(self.begin(&mut busy)).await {
                tracing::error!(%error, "what is to be told could not be looked at; it is tried again");
            }
            tokio::select! {
                () = self.ending.cancelled() => {}
                () = busy.wait(LOOK) => {}
            }
        }
        busy.join().await;
    }

    /// Delivers until nothing is due before the deadline, and tells whether it came to that.
    async fn deliver(&self, deadline: Instant) -> Result<bool, StateError> {
        let mut busy = Busy::default();
        loop {
            // What fails now is due again in a moment, and there may be time for that.
            let left = deadline.saturating_duration_since(Instant::now());
            let until = self.state.now().await?.saturating_add(milliseconds(left));
            let is_done = self.due(until).await?.is_empty();
            if busy.is_idle() && (is_done || left <= 2 * NOTING) {
                return Ok(is_done);
            }
            self.begin(&mut busy).await?;
            busy.wait(SHORT_LOOK).await;
        }
    }

    /// The targets that have something due at a moment in Unix milliseconds, and that we know.
    async fn due(&self, at: i64) -> Result<Vec<String>, StateError> {
        let mut due = self.state.targets_due(at).await?;
        let ours = &self.config.runner.notify;
        due.retain(|name| ours.iter().any(|target| target.name == *name));
        Ok(due)
    }

    /// Begins to deliver to each target that has something due and is free.
    async fn begin(&self, busy: &mut Busy) -> Result<(), StateError> {
        let due = self.due(self.state.now().await?).await?;
        let targets = self.config.runner.notify.iter();
        for target in targets.filter(|target| due.contains(&target.name)) {
            if !busy.is_free(&target.name) {
                continue;
            }
            let drain = Drain {
                target: target.clone(),
                state: self.state.clone(),
                sender: Arc::clone(&self.sender),
                deadline: self.deadline,
                ending: self.ending.clone(),
            };
            // A task of its own: what it holds of the state must go on while others are waited for.
            busy.begin(target.name.clone(), async move {
                drain.run().await.unwrap_or_else(|error| {
                    let name = &drain.target.name;
                    tracing::error!(%error, notify.target = name, "what became of a notification could not be noted");
                    false
                })
            });
        }
        Ok(())
    }
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
