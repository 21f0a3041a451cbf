//! What a caller may learn about calls as they happen, for metrics and progress. Reasons are closed sets.

use std::time::Duration;

use crate::client::route::Route;

/// Why a call is sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// Spot answered 429.
    Throttled,
    /// Spot answered 5xx.
    ServerError,
    /// No connection was made.
    Unreachable,
    /// No answer came in time.
    TimedOut,
    /// The connection broke.
    ConnectionLost,
    /// Spot refused the token, and the source has another one now.
    TokenRefused,
}

impl RetryReason {
    /// The reason as it appears in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::ConnectionLost => "connection_lost",
            Self::TokenRefused => "token_refused",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEvent {
    /// The rate governor held a caller back.
    Waited {
        /// The call.
        route: Route,
        /// For how long.
        waited: Duration,
    },
    /// A request ended.
    Ended {
        /// The call.
        route: Route,
        /// The HTTP status; none when there was no answer.
        status: Option<u16>,
        /// From sending to the whole answer.
        took: Duration,
    },
    /// The call will be sent again.
    Retrying {
        /// The call.
        route: Route,
        /// Why.
        reason: RetryReason,
        /// After this time, and then whatever the governor asks for.
        after: Duration,
    },
}

/// Receives events. It is called in the middle of calls: it must not block.
pub trait CallObserver: Send + Sync {
    /// Something happened.
    fn observe(&self, event: CallEvent);

    /// Headers that the request that is about to be sent carries beside ours: what names the trace that it belongs to. Asked
    /// within the call's span.
    fn headers(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
