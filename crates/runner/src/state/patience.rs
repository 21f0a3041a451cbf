//! How long a loop waits for the state: a server that vanishes without a word, as where a failover drops packets, is noticed by TCP only
//! after many minutes, and until then a statement that is under way does not come back.

use std::time::Duration;

use super::{LEASE, Place, State, StateError, error::write};
use crate::engine::JournalError;

/// The state did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it did not answer within {} s", .0.as_secs())]
pub struct NoAnswer(Duration);

impl From<NoAnswer> for StateError {
    fn from(error: NoAnswer) -> Self {
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, error);
        Self::query("looking at what is due")(sqlx::Error::Io(source))
    }
}

impl From<NoAnswer> for JournalError {
    fn from(error: NoAnswer) -> Self {
        write("a look at what waits")(error)
    }
}

impl State {
    /// A look, or that there was no answer for two leases: what this process had the lock of is another one's by then. What it has
    /// not committed is undone.
    ///
    /// # Errors
    /// Those of the look, and [`NoAnswer`].
    pub async fn in_time<T, E: From<NoAnswer>>(
        &self,
        look: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let patience = 2 * match &self.place {
            Place::File(_) => LEASE,
            Place::Server(server) => server.lease,
        };
        let looked = tokio::time::timeout(patience, look).await;
        looked.unwrap_or_else(|_| Err(NoAnswer(patience).into()))
    }
}
