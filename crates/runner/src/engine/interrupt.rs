//! Interruption in two stages: drain (start nothing new, end what runs), then abandon (leave at once). A freeze drains, too.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Asks a run to end early. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    drain: CancellationToken,
    signalled: CancellationToken,
    abandon: CancellationToken,
    frozen: Arc<OnceLock<String>>,
    cancelled: Arc<OnceLock<()>>,
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
            abandon: self.abandon.child_token(),
            frozen: Arc::default(),
            cancelled: Arc::default(),
        }
    }

    /// One more signal.
    pub fn signal(&self) {
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
}
