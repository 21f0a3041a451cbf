//! What no single key of `[events]` can say.

use std::time::Duration;

use super::{Checks, is_url};
use crate::config::RunnerConfig;

/// The longest time that an event is put off: longer, a schedule does better.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn waits(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let events = &config.events;
    if let Some(url) = &events.queue_url
        && !is_url(url)
    {
        checks.report(
            &["events", "queue_url"],
            format!("{url:?} is not the URL of a queue"),
            "it looks like https://sqs.us-east-1.amazonaws.com/123456789012/spot-onboarding-wake-up",
        );
    }
    if events.max_delay.get() < events.quiet.get() {
        checks.report(
            &["events", "max_delay"],
            format!(
                "`events.max_delay` is {}, shorter than `events.quiet`, {}: the end of a burst would never be waited for",
                events.max_delay, events.quiet
            ),
            "make it several times as long, such as \"5m\" with quiet = \"30s\"",
        );
    }
    if events.max_delay.get() > LONGEST {
        checks.report(
            &["events", "max_delay"],
            format!(
                "`events.max_delay` is {}: what has happened would be looked at too late",
                events.max_delay
            ),
            "give at most an hour; schedules look, too",
        );
    }
}
