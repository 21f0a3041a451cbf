//! Interruption in two stages: drain (start nothing new, end what runs), then abandon (leave at once). A freeze drains, too.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// A moment, for whoever is to end and waits for somebody who may not answer.
const MOMENT: Duration = Duration::from_secs(5);

/// Asks a run to end early. Clones share one state.
#[derive(Debug, Clone)]
pub struct Interrupt {
    drain: CancellationToken,
    signalled: CancellationToken,
    /// The process is to end, and not the run alone.
    ends: CancellationToken,
    abandon: CancellationToken,
    frozen: Arc<OnceLock<String>>,
    cancelled: Arc<OnceLock<()>>,
    moment: Duration,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self {
            drain: CancellationToken::default(),
            signalled: CancellationToken::default(),
            ends: CancellationToken::default(),
            abandon: CancellationToken::default(),
            frozen: Arc::default(),
            cancelled: Arc::default(),
            moment: MOMENT,
        }
    }
}

impl Interrupt {
    /// One that SIGINT and SIGTERM trigger: the first signal drains, the second abandons.
    ///
    /// # Errors
    /// When the process cannot listen to signals.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let signalled = interrupt.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupted.recv() => {}
                }
                signalled.signal();
            }
        });
        Ok(interrupt)
    }

    /// One of its own for a run beside others: it ends with this one, too, and never the other way around.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            signalled: self.signalled.child_token(),
            ends: self.ends.child_token(),
            abandon: self.abandon.child_token(),
            frozen: Arc::default(),
            cancelled: Arc::default(),
            moment: self.moment,
        }
    }

    /// One whose moments are so long.
    #[cfg(test)]
    pub(crate) fn with_moments_of(moment: Duration) -> Self {
        Self {
            moment,
            ..Self::default()
        }
    }

    /// One more signal.
    pub fn signal(&self) {
        self.ends.cancel();
        if self.signalled.is_cancelled() {
            self.abandon.cancel();
        } else {
            self.signalled.cancel();
            self.drain.cancel();
        }
    }

    /// Somebody wants the run no more: as after a first signal, and never as after a second one.
    pub fn cancel(&self) {
        // Once is enough.
        let _ = self.cancelled.set(());
        self.signalled.cancel();
        self.drain.cancel();
    }

    /// Whether somebody wants the run no more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get().is_some()
    }

    /// Everything is frozen, for this reason: nothing new may start, and what runs is ended, as after a first signal.
    pub fn freeze(&self, why: String) {
        // The first reason stands.
        let _ = self.frozen.set(why);
        self.drain.cancel();
    }

    /// Why everything is frozen.
    #[must_use]
    pub fn frozen(&self) -> Option<&str> {
        self.frozen.get().map(String::as_str)
    }

    /// Whether there was a signal.
    #[must_use]
    pub fn is_signalled(&self) -> bool {
        self.signalled.is_cancelled()
    }

    /// Whether nothing new may start.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether to leave at once.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandon.is_cancelled()
    }

    /// Ends with the first signal.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Ends with the second signal.
    pub async fn abandoned(&self) {
        self.abandon.cancelled().await;
    }

    /// Ends with the first signal, and neither with a freeze nor when somebody wants only the run no more.
    pub async fn ending(&self) {
        self.ends.cancelled().await;
    }

    /// Waits for somebody who may not answer: none when it still does not so many moments (of 5 seconds) after the process was told to
    /// end.
    pub async fn or_end<T>(&self, moments: u32, work: impl Future<Output = T>) -> Option<T> {
        let over = async {
            self.ending().await;
            tokio::time::sleep(self.moment * moments).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const A_WHILE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_does_not_answer_is_waited_for_until_the_process_is_to_end() {
        let interrupt = Interrupt::with_moments_of(A_WHILE);
        let child = interrupt.child();
        let waits = || child.or_end(1, pending::<()>());
        // Neither of these ends the process.
        child.freeze("a migration".to_owned());
        child.cancel();
        assert!(tokio::time::timeout(5 * A_WHILE, waits()).await.is_err());
        interrupt.signal();
        assert_eq!(waits().await, None);
        assert_eq!(child.or_end(1, ready(7)).await, Some(7));
    }
}
