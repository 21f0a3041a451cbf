//! Sends what is due to one target, one after the other, until it fails, was asked often enough, or nothing is left. What it asks of the
//! state has to come back in time: the target would be busy for as long as it did not.

use std::{sync::Arc, time::Duration};

use onboarding_core::notify::retry_after;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    deliver::milliseconds,
    send::{ATTEMPT, Message, Sender},
};
use crate::{
    config::NotifyConfig,
    state::{NextNotification, State, StateError, TakenNotification},
};

/// How long one that was taken stays out of others' hands: longer than an attempt, and than noting what became of it.
const HOLD: Duration = Duration::from_secs(60);

/// How long noting what became of an attempt takes at most, usually.
pub(super) const NOTING: Duration = Duration::from_millis(500);

/// The longest that a target can ask to be left alone for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// See the module documentation.
pub(super) struct Drain {
    pub(super) target: NotifyConfig,
    pub(super) state: State,
    pub(super) sender: Arc<Sender>,
    /// When it must be over.
    pub(super) deadline: Option<Instant>,
    /// Says that nothing more is to be taken.
    pub(super) ending: CancellationToken,
}

impl Drain {
    /// Tells whether anything could be done.
    pub(super) async fn run(&self) -> Result<bool, StateError> {
        let (name, per_hour) = (&self.target.name, self.target.per_hour);
        let state = &self.state;
        let mut is_any = state.in_time(give_up(state, Some(name))).await?;
        while !self.ending.is_cancelled() && self.patience() > NOTING {
            match state.in_time(self.next()).await? {
                NextNotification::None => break,
                NextNotification::Enough => {
                    tracing::warn!(
                        notify.target = name,
                        per_hour,
                        "the target was asked as often as it may be within an hour; the others wait"
                    );
                    return Ok(true);
                }
                NextNotification::One(taken) => {
                    is_any = true;
                    if !self.send(&taken).await? {
                        break;
                    }
                }
            }
        }
        Ok(is_any)
    }

    /// Takes the next one that is due.
    async fn next(&self) -> Result<NextNotification, StateError> {
        let (name, per_hour) = (&self.target.name, self.target.per_hour);
        let now = self.state.now().await?;
        let held_until = now.saturating_add(milliseconds(HOLD));
        let next = self
            .state
            .take_notification(name, per_hour, now, held_until);
        next.await
    }

    /// How long an attempt may take that begins now, so that what became of it can still be noted.
    fn patience(&self) -> Duration {
        self.deadline.map_or(ATTEMPT, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.saturating_sub(NOTING).min(ATTEMPT)
        })
    }

    /// Sends one, and notes what became of it. Tells whether others may be sent.
    async fn send(&self, taken: &TakenNotification) -> Result<bool, StateError> {
        let name = &self.target.name;
        let notice = match &taken.notice {
            Ok(notice) => notice.clone(),
            Err(why) => {
                let why = format!("this version of the program cannot read it: {why}");
                tracing::error!(notify.target = name, notify.id = taken.id, "{why}");
                self.state.in_time(self.leave(taken, &why)).await?;
                return Ok(true);
            }
        };
        let message = Message {
            id: taken.id.clone(),
            notice,
            count: taken.occurrences,
        };
        let (event, job) = (message.notice.event, &message.notice.job);
        let sent = self.sender.send(&self.target, &message, self.patience());
        let Err(error) = sent.await else {
            self.state.in_time(self.note_sent(taken)).await?;
            tracing::info!(notify.target = name, %event, job.name = job, "somebody was told");
            return Ok(true);
        };
        let why = error.to_string();
        tracing::warn!(
            notify.target = name, %event, job.name = job, attempts = taken.attempts, why,
            "a notification did not get through; it is tried again"
        );
        if error.is_of_content {
            self.state.in_time(self.leave(taken, &why)).await?;
            return Ok(true);
        }
        let asked = error.retry_after.unwrap_or_default().min(LONGEST_WAIT);
        let wait = retry_after(taken.failures.saturating_add(1), rand::random());
        let wait = wait.max(milliseconds(asked));
        self.state.in_time(self.rest(taken, &why, wait)).await?;
        Ok(false)
    }

    async fn note_sent(&self, taken: &TakenNotification) -> Result<(), StateError> {
        let now = self.state.now().await?;
        self.state.notification_sent(taken, now).await
    }

    /// Leaves the target alone for so many milliseconds.
    async fn rest(
        &self,
        taken: &TakenNotification,
        why: &str,
        wait: i64,
    ) -> Result<(), StateError> {
        let not_before = self.state.now().await?.saturating_add(wait);
        self.state.target_failed(taken, why, not_before).await
    }

    /// Leaves one for as long as anything is left that fails: it will hardly get through soon.
    async fn leave(&self, taken: &TakenNotification, why: &str) -> Result<(), StateError> {
        let wait = retry_after(u32::MAX, rand::random());
        let due_at = self.state.now().await?.saturating_add(wait);
        self.state.notification_failed(taken, why, due_at).await
    }
}

/// Gives up what could not be told in time, to a target or to any, and says so. Tells whether there was anything.
pub(crate) async fn give_up(state: &State, target: Option<&str>) -> Result<bool, StateError> {
    let given_up = state.give_up_overdue(target, state.now().await?).await?;
    for one in &given_up {
        tracing::error!(
            notify.target = one.target,
            event = one.event,
            job.name = one.job,
            attempts = one.attempts,
            why = one.why,
            "nobody was told, and it is given up; `runner notify test {}` tells whether the target is reached",
            one.target
        );
    }
    Ok(!given_up.is_empty())
}

const _: () = assert!(HOLD.as_secs() > ATTEMPT.as_secs());

#[cfg(test)]
mod tests {
    use aws_ops::{Aws, AwsSettings};

    use super::*;

    #[tokio::test]
    async fn a_target_is_not_busy_for_as_long_as_the_state_does_not_answer() {
        let Some(silent) = State::silent("notifications").await else {
            return;
        };
        let target =
            "name = \"ops\"\nwebhook = \"https://127.0.0.1/told\"\nsecret = { env = \"NONE\" }\n";
        let settings = AwsSettings {
            region: Some("us-east-1".parse().unwrap()),
            ..AwsSettings::default()
        };
        let drain = Drain {
            target: toml::from_str(target).unwrap(),
            state: silent.state.clone(),
            sender: Arc::new(Sender::new(Aws::connect(settings).await.unwrap())),
            deadline: None,
            ending: CancellationToken::new(),
        };
        silent.comes_back(drain.run()).await.unwrap_err();
    }
}
