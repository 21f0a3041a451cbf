//! `[events]` in `runner.toml`, and which events a job is woken by.

use std::fmt;

use onboarding_core::{events::EventKind, template::home::wake_up_queue_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    job::JobParams,
    runner::{ProviderKind, RunnerConfig},
    text::Text,
};

/// Events of AWS that wake jobs: of AWS Organizations, AWS Control Tower and our stack sets. They come through the wake-up queue, which
/// `runner bootstrap` makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Whether `runner daemon` takes events. Where there is no wake-up queue, it says so and goes by schedules.
    pub enabled: bool,
    /// The wake-up queue, by URL. Without it, the queue with the name of the topic and `-wake-up` (provider `queue`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_url: Option<String>,
    /// How long after the last event a job that it wakes is run, so that many events make one run.
    pub quiet: Text<HumanDuration>,
    /// How long after the first event at the latest, however many follow.
    pub max_delay: Text<HumanDuration>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            queue_url: None,
            quiet: duration::seconds(30),
            max_delay: duration::seconds(300),
        }
    }
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeUpQueue {
    /// A queue by its URL.
    Url(String),
    /// A queue of the home account by its name.
    Named(String),
}

impl RunnerConfig {
    /// The queue of events that wake jobs; none when none do.
    #[must_use]
    pub fn wake_up_queue(&self) -> Option<WakeUpQueue> {
        if !self.events.enabled {
            return None;
        }
        if let Some(url) = &self.events.queue_url {
            return Some(WakeUpQueue::Url(url.clone()));
        }
        let is_made = self.enrollment.provider == ProviderKind::Queue;
        is_made.then(|| WakeUpQueue::Named(wake_up_queue_name(self.queue_name())))
    }
}

/// What has happened in AWS.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum WakeOn {
    /// An account was created or invited, or AWS Control Tower has made it.
    AccountJoined,
    /// An account has another parent, or AWS Control Tower has changed it.
    AccountMoved,
    /// An account was closed or removed, or has left.
    AccountLeft,
    /// An account has other tags. It wakes nobody while no target asks for tags.
    AccountTagged,
    /// An organizational unit came, went or was renamed, or AWS Control Tower governs it by now.
    UnitChanged,
    /// A stack set of ours, one of its instances or an operation came to an end, and no run of ours did it.
    StackSetChanged,
}

impl From<WakeOn> for EventKind {
    fn from(wake_on: WakeOn) -> Self {
        match wake_on {
            WakeOn::AccountJoined => Self::AccountJoined,
            WakeOn::AccountMoved => Self::AccountMoved,
            WakeOn::AccountLeft => Self::AccountLeft,
            WakeOn::AccountTagged => Self::AccountTagged,
            WakeOn::UnitChanged => Self::UnitChanged,
            WakeOn::StackSetChanged => Self::StackSetChanged,
        }
    }
}

impl fmt::Display for WakeOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EventKind::from(*self).fmt(f)
    }
}

impl JobParams {
    /// What wakes a job of this kind whose file does not say: those that bring accounts to enrolled are woken by whatever may make an
    /// account need it. An audit costs a look at every account, a removal waits for its grace period anyway, and of a plugin nobody knows.
    pub(super) fn wakes_on(&self) -> &'static [EventKind] {
        match self {
            Self::StacksetSync(_) | Self::Enroll(_) => &EventKind::ALL,
            Self::DriftAudit(_)
            | Self::OrphanCleanup(_)
            | Self::PolicyRollout(_)
            | Self::External(_) => &[],
        }
    }
}
