//! Who goes first when Spot's rate limit makes callers wait: calls that are made for a deadline, the earliest first.

use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Calls without a deadline of their own are let through as if they had this one, so that none waits for good.
const ORDINARY: Duration = Duration::from_secs(600);

/// Makes all calls of Spot in a future calls for this deadline.
pub async fn before<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// The deadline of the work that is being done.
#[must_use]
pub fn deadline() -> Instant {
    DEADLINE
        .try_with(|deadline| *deadline)
        .unwrap_or_else(|_| Instant::now() + ORDINARY)
}
