//! How long the state is waited for: a server that vanishes without a word, as where a failover drops packets, is noticed by TCP only
//! after many minutes, and until then a statement that is under way does not come back.

use std::time::Duration;

use super::{LEASE, Place, State, StateError, error::write};
use crate::engine::{Interrupt, JobError, JournalError};

/// The state did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// For longer than that.
    #[error("it did not answer within {} s", .0.as_secs())]
    Within(Duration),
    /// And who asked is to end.
    #[error("it did not answer, and this process is to end")]
    ToTheEnd,
}

impl From<NoAnswer> for StateError {
    fn from(error: NoAnswer) -> Self {
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, error);
        Self::query("reading or writing what was asked for")(sqlx::Error::Io(source))
    }
}

impl From<NoAnswer> for JournalError {
    fn from(error: NoAnswer) -> Self {
        write("what was asked for")(error)
    }
}

impl From<NoAnswer> for JobError {
    fn from(error: NoAnswer) -> Self {
        StateError::from(error).into()
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
        let lease = match &self.place {
            Place::File(_) => LEASE,
            Place::Server(server) => server.lease,
        };
        self.within(2 * lease, look).await
    }

    /// The same with a limit of its own, for what may take longer than a look.
    ///
    /// # Errors
    /// Those of the work, and [`NoAnswer`].
    pub async fn within<T, E: From<NoAnswer>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let worked = tokio::time::timeout(limit, work).await;
        worked.unwrap_or_else(|_| Err(NoAnswer::Within(limit).into()))
    }

    /// A look of a process that may be told to end: once it was, it waits for a moment only.
    ///
    /// # Errors
    /// Those of the look, and [`NoAnswer`].
    pub async fn in_time_or_end<T, E: From<NoAnswer>>(
        &self,
        interrupt: &Interrupt,
        look: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let looked = interrupt.or_end(1, self.in_time(look)).await;
        looked.unwrap_or_else(|| Err(NoAnswer::ToTheEnd.into()))
    }
}
