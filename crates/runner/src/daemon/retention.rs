//! Once a day, forgets runs that ended longer ago than `state.keep_runs`.

use std::time::Duration;

use jiff::Timestamp;

use crate::home::Home;

/// The time between two times.
const DAY: Duration = Duration::from_secs(86_400);

/// How long after its start a daemon does it first: what is due goes before.
const AFTER_START: Duration = Duration::from_secs(600);

/// Never ends. Several daemons on one database may do it: what one has forgotten is gone for the others.
pub(super) async fn keep(home: Home) {
    let mut wait = AFTER_START;
    loop {
        tokio::time::sleep(wait).await;
        wait = DAY;
        let config = &home.config.runner;
        let (now, kept) = (Timestamp::now(), config.state.keep_runs.get());
        let quarantine_after = config.retry_failed.quarantine_after;
        // Longer than there is time: nothing is that old.
        let Ok(before) = now.checked_sub(kept) else {
            continue;
        };
        let pruned = home
            .state
            .prune(
                before.as_millisecond(),
                quarantine_after,
                now.as_millisecond(),
            )
            .await;
        match pruned {
            Ok(pruned) => tracing::info!(
                runs = pruned.runs,
                notifications = pruned.notifications,
                links = pruned.links,
                clocks = pruned.clocks,
                "what ended long ago is forgotten"
            ),
            Err(error) => {
                tracing::error!(%error, "old runs could not be forgotten; it is tried again tomorrow");
            }
        }
    }
}
