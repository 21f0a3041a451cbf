//! Delivers what waits: to each target one after the other, to all targets side by side, so that one that never answers delays no other.
//!
//! Whoever is alive delivers: a daemon all the time, a run that was begun by hand for a moment at its end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use onboarding_core::notify::{next_slot, retry_after};
use tokio::{task::JoinSet, time::Instant};

use super::send::{ATTEMPT, Message, Sender};
use crate::{
    config::{Loaded, NotifyConfig},
    home::Home,
    state::{State, StateError, TakenNotification},
};

/// The time between two looks of a daemon.
const LOOK: Duration = Duration::from_secs(2);

/// The time between two looks of who has only a moment.
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// How long one that was taken stays out of others' hands: longer than an attempt, and than noting what became of it.
const HOLD: Duration = Duration::from_secs(60);

/// How long noting what became of an attempt takes at most, usually.
const NOTING: Duration = Duration::from_millis(500);

/// The hour that a target's limit is for.
const HOUR: Duration = Duration::from_secs(3600);

/// What delivering needs. Cheap to clone.
#[derive(Clone)]
struct Delivery {
    config: Arc<Loaded>,
    state: State,
    sender: Arc<Sender>,
    /// When it must be over.
    deadline: Option<Instant>,
}

/// Delivers for as long as it is polled. Never ends.
pub(crate) async fn keep_delivering(home: Home) {
    let delivery = Delivery::of(&home, None);
    if delivery.targets().is_empty() {
        return std::future::pending().await;
    }
    let mut busy = Busy::default();
    loop {
        if let Err(error) = delivery.begin(&mut busy).await {
            tracing::error!(%error, "what is to be told could not be looked at; it is tried again");
        }
        busy.wait(LOOK).await;
    }
}

/// Delivers what is due for so long at most. What did not get through waits for the next who delivers.
pub(crate) async fn within(home: &Home, limit: Duration) {
    let deadline = Instant::now() + limit;
    let delivery = Delivery::of(home, Some(deadline));
    if delivery.targets().is_empty() {
        return;
    }
    let mut busy = Busy::default();
    let work = async {
        loop {
            // What fails now is due again in a moment, and there may be time for that.
            let until = now().saturating_add(milliseconds(limit));
            match delivery.state.targets_due(until).await {
                Ok(due) if due.is_empty() && busy.tasks.is_empty() => return,
                Ok(_) if delivery.patience() <= NOTING && busy.tasks.is_empty() => {
                    tracing::warn!(
                        "not everybody could be told within {} s; what is left waits for the next run or a daemon (`runner notify list`)",
                        limit.as_secs()
                    );
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "what is to be told could not be looked at; the next run tells it");
                    return;
                }
            }
            if let Err(error) = delivery.begin(&mut busy).await {
                tracing::error!(%error, "what is to be told could not be looked at; the next run tells it");
                return;
            }
            busy.wait(SHORT_LOOK).await;
        }
    };
    if tokio::time::timeout_at(deadline, work).await.is_err() {
        tracing::warn!(
            "telling people took longer than {} s and was cut; it is told once more",
            limit.as_secs()
        );
    }
}

/// The targets that something is being sent to.
#[derive(Default)]
struct Busy {
    tasks: JoinSet<String>,
    targets: BTreeSet<String>,
}

impl Busy {
    /// Waits so long, or until a target is done.
    async fn wait(&mut self, at_most: Duration) {
        tokio::select! {
            () = tokio::time::sleep(at_most) => {}
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(target) => {
                    self.targets.remove(&target);
                }
                Err(error) => {
                    tracing::error!(%error, "delivering ended badly; please report this with the log");
                    // Which one it was is not told: the others are taken for free, too, and nothing is taken twice.
                    self.targets.clear();
                }
            },
        }
    }
}

impl Delivery {
    fn of(home: &Home, deadline: Option<Instant>) -> Self {
        Self {
            config: Arc::clone(&home.config),
            state: home.state.clone(),
            sender: Arc::new(Sender::new(home.aws.clone())),
            deadline,
        }
    }

    /// How long an attempt may take that begins now, so that what became of it can still be noted.
    fn patience(&self) -> Duration {
        self.deadline.map_or(ATTEMPT, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.saturating_sub(NOTING).min(ATTEMPT)
        })
    }

    fn targets(&self) -> &[NotifyConfig] {
        &self.config.runner.notify
    }

    /// Begins to deliver to each target that has something due and is not busy.
    async fn begin(&self, busy: &mut Busy) -> Result<(), StateError> {
        for name in self.state.targets_due(now()).await? {
            if !busy.targets.insert(name.clone()) {
                continue;
            }
            // A task of its own: what it holds of the state must go on while others are waited for.
            let delivery = self.clone();
            busy.tasks.spawn(async move {
                if let Err(error) = delivery.drain(&name).await {
                    tracing::error!(%error, notify.target = name, "what became of a notification could not be noted");
                }
                name
            });
        }
        Ok(())
    }

    /// Sends what is due to a target, until one does not get through.
    async fn drain(&self, name: &str) -> Result<(), StateError> {
        let Some(target) = self.targets().iter().find(|target| target.name == name) else {
            return self.forget(name).await;
        };
        while self.patience() > NOTING {
            let now = now();
            let told = self
                .state
                .told_since(name, now - milliseconds(HOUR))
                .await?;
            if let Some(slot) = next_slot(&told, target.per_hour, now) {
                return self.put_off(target, slot, now).await;
            }
            let held_until = now.saturating_add(milliseconds(HOLD));
            let taken = self.state.take_notification(name, now, held_until).await?;
            let Some(taken) = taken else { return Ok(()) };
            if !self.send(target, taken).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends one, and notes what became of it. Tells whether it got through.
    async fn send(
        &self,
        target: &NotifyConfig,
        taken: TakenNotification,
    ) -> Result<bool, StateError> {
        let message = Message {
            id: taken.id.clone(),
            notice: taken.notice,
            count: taken.occurrences,
        };
        let (name, event) = (&target.name, message.notice.event);
        let sent = self.sender.send(target, &message, self.patience()).await;
        let now = now();
        let Err(error) = sent else {
            self.state.notification_sent(&taken.id, now).await?;
            tracing::info!(notify.target = name, %event, job.name = message.notice.job, "somebody was told");
            return Ok(true);
        };
        let why = error.to_string();
        let is_over =
            now.saturating_sub(taken.created_at) >= milliseconds(target.give_up_after.get());
        if is_over {
            tracing::error!(
                notify.target = name, %event, job.name = message.notice.job, attempts = taken.attempts, why,
                "nobody was told, and it is given up; `runner notify test {name}` tells whether the target is reached"
            );
            self.state
                .notification_given_up(&taken.id, &why, now)
                .await?;
            return Ok(false);
        }
        tracing::warn!(
            notify.target = name, %event, job.name = message.notice.job, attempts = taken.attempts, why,
            "a notification did not get through; it is tried again"
        );
        let told = error
            .retry_after
            .map_or(0, milliseconds)
            .min(milliseconds(HOUR));
        let wait = retry_after(taken.attempts, rand::random()).max(told);
        let due_at = now.saturating_add(wait);
        self.state
            .notification_failed(&taken.id, &why, due_at)
            .await?;
        Ok(false)
    }

    /// Lets a target that was told enough wait for its hour.
    async fn put_off(&self, target: &NotifyConfig, slot: i64, now: i64) -> Result<(), StateError> {
        let (name, per_hour) = (&target.name, target.per_hour);
        tracing::warn!(
            notify.target = name,
            per_hour,
            "the target was told as often as it may be within an hour; the others wait"
        );
        let oldest = now.saturating_sub(milliseconds(target.give_up_after.get()));
        let why = "there were more than the target may be told (notify.per_hour)";
        let given_up = self.state.put_off(name, slot, (oldest, why), now).await?;
        if given_up > 0 {
            tracing::error!(notify.target = name, given_up, "{why}; some are given up");
        }
        Ok(())
    }

    /// Gives up what is for a target that is not configured any more.
    async fn forget(&self, name: &str) -> Result<(), StateError> {
        let why = "the target is not configured any more";
        let now = now();
        let given_up = self.state.put_off(name, now, (i64::MAX, why), now).await?;
        if given_up > 0 {
            tracing::warn!(
                notify.target = name,
                given_up,
                "{why}: what was for it is given up"
            );
        }
        Ok(())
    }
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const _: () = assert!(HOLD.as_secs() > ATTEMPT.as_secs());
