//! Waiting until the lock of the job is lost.

use std::{task::Poll, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::journal::Hold;

/// How often the lock is looked at when nothing else wakes the run: all else may wait for a server that has vanished.
const LOOK: Duration = Duration::from_secs(1);

/// Ends when the lock of the job has run out, as the run finds whenever it goes on, and each second.
pub(super) async fn lost(hold: Option<&dyn Hold>) {
    let Some(hold) = hold else {
        return std::future::pending().await;
    };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    std::future::poll_fn(|cx| {
        if hold.is_lost() {
            return Poll::Ready(());
        }
        // The last one that is asked for wakes it.
        while looks.poll_tick(cx).is_ready() {}
        Poll::Pending
    })
    .await;
}
