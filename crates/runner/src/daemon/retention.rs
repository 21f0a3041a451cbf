//! Once a day, forgets runs that ended longer ago than `state.keep_runs`, and gives up what could not be told in time.

use std::time::Duration;

use jiff::Timestamp;

use crate::{home::Home, notify};

/// The time between two times.
const DAY: Duration = Duration::from_secs(86_400);

/// How long after its start a daemon does it first: what is due goes before.
const AFTER_START: Duration = Duration::from_secs(600);

/// Never ends. Several daemons on one database may do it: what one has forgotten is gone for the others.
pub(super) async fn keep(home: Home) {
    again_and_again((AFTER_START, DAY), || forget(&home)).await;
}

/// Does something after a first wait, and then each time after another. Never ends.
async fn again_and_again<W: Future<Output = ()>>(
    (first, then): (Duration, Duration),
    mut work: impl FnMut() -> W,
) {
    let mut wait = first;
    loop {
        tokio::time::sleep(wait).await;
        wait = then;
        work().await;
    }
}

async fn forget(home: &Home) {
    // Targets that nobody has any more are not looked at by who delivers.
    let state = &home.state;
    if let Err(error) = state.in_time(notify::give_up(state, None)).await {
        tracing::error!(%error, "what was not told in time could not be given up; it is tried again tomorrow");
    }
    let config = &home.config.runner;
    let (now, kept) = (Timestamp::now(), config.state.keep_runs.get());
    let quarantine_after = config.retry_failed.quarantine_after;
    // Longer than there is time: nothing is that old.
    let Ok(before) = now.checked_sub(kept) else {
        return;
    };
    let pruned = state
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
    if let Err(error) = state.compact().await {
        tracing::error!(%error, "what is free in the state's file could not be given back; it is tried again tomorrow");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[tokio::test]
    async fn it_is_done_after_the_first_wait_and_then_each_time_after_the_other() {
        let (first, then) = (Duration::from_millis(20), Duration::from_millis(60));
        let (done, mut times) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let work = again_and_again((first, then), || {
            done.send(begun.elapsed()).unwrap();
            std::future::ready(())
        });
        let three = async {
            [
                times.recv().await.unwrap(),
                times.recv().await.unwrap(),
                times.recv().await.unwrap(),
            ]
        };
        let times = tokio::select! {
            () = work => unreachable!("it never ends"),
            times = timeout(Duration::from_secs(10), three) => times.unwrap(),
        };
        assert!(times[0] >= first && times[1] >= first + then, "{times:?}");
        assert!(times[2] >= first + 2 * then, "{times:?}");
    }
}
