//! What can go wrong with a call of the Spot API, and what class of trouble it is.

use std::{fmt, time::Duration};

use crate::{client::route::Route, token::TokenError};

/// What kind of trouble an error is: decides who retries, and what an operator is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Spot failed or did not answer; later may be better.
    Transient,
    /// The rate limit was hit, in spite of the governor (somebody else uses it, too).
    Throttled,
    /// The token is missing, wrong, or not allowed to do this.
    Denied,
    /// Spot understood the request and says that it is wrong.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// The request contradicts what exists.
    Conflict,
    /// It is unknown whether the call took effect; look before doing it again.
    Ambiguous,
    /// Spot could not be reached; nothing was sent.
    Unreachable,
    /// A mistake of this program, or an answer that is not what Spot documents.
    Bug,
}

/// A refusal in Spot's own words (`response.errors` of the envelope; the first one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Spot's id of the request, for its support.
    pub request_id: Option<String>,
    /// Spot's code; empty when it sent none.
    pub code: String,
    /// Spot's message; empty when it sent none. At most 300 characters, on one line.
    pub message: String,
    /// The field that Spot complains about.
    pub field: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, ", {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(field) = &self.field {
            write!(f, " (field {field})")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

/// A failed call of the Spot API.
#[derive(Debug, thiserror::Error)]
pub enum SpotError {
    /// Spot said no (4xx, except 429).
    #[error("Spot refused {route}: {refusal}")]
    Refused {
        /// The call.
        route: Route,
        /// Spot's words.
        refusal: Box<Refusal>,
    },
    /// Spot said that the rate limit is used up (429), as often as the client asks.
    #[error("Spot's rate limit of {route} is used up; another tool may be using it: {refusal}")]
    Throttled {
        /// The call.
        route: Route,
        /// Spot's words.
        refusal: Box<Refusal>,
    },
    /// Spot failed (5xx).
    #[error("Spot failed at {route}: {refusal}")]
    Server {
        /// The call.
        route: Route,
        /// Spot's words, when the body had any.
        refusal: Box<Refusal>,
    },
    /// No connection was made, so nothing was sent.
    #[error(
        "cannot reach Spot at {address} for {route}: {reason}; check SPOT_API_URL, the network and the proxy"
    )]
    Unreachable {
        /// The call.
        route: Route,
        /// Scheme, host and port of the base address; nothing else of it.
        address: String,
        /// The cause, without addresses of requests.
        reason: String,
    },
    /// No whole answer came in time.
    #[error("Spot did not answer {route} within {after:?}")]
    TimedOut {
        /// The call.
        route: Route,
        /// The time allowed for the whole call.
        after: Duration,
    },
    /// The connection broke before the whole answer was read.
    #[error("the connection to Spot broke during {route}: {reason}")]
    Lost {
        /// The call.
        route: Route,
        /// The cause.
        reason: String,
    },
    /// The answer is not what Spot documents. Its body is not shown: it may hold secrets.
    #[error("cannot read Spot's answer to {route} (status {status}): {reason}")]
    Unexpected {
        /// The call.
        route: Route,
        /// The HTTP status.
        status: u16,
        /// Spot's id of the request, when it could be read.
        request_id: Option<String>,
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// It is unknown whether the account was created. Look for it by name before creating again.
    #[error(
        "it is unknown whether the Spot account {name:?} was created; look for it before creating again"
    )]
    AmbiguousCreate {
        /// The name that was to be given.
        name: String,
        /// How the call failed.
        source: Box<SpotError>,
    },
    /// The caller's deadline for sending passed while waiting; nothing was sent.
    #[error("{route} was not sent: its send deadline has passed")]
    SendDeadlinePassed {
        /// The call.
        route: Route,
    },
    /// A page named itself as the next one; the list would never end or silently be partial.
    #[error("Spot's pages of {route} repeat; the list would be partial")]
    RepeatedPage {
        /// The call.
        route: Route,
    },
    /// The token could not be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The client cannot be built from these settings.
    #[error("cannot set up the Spot client: {reason}")]
    Setup {
        /// What is wrong and what to do.
        reason: String,
    },
}

impl SpotError {
    /// What kind of trouble this is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused { refusal, .. } => match refusal.status {
                401 | 403 => ErrorClass::Denied,
                404 | 405 | 410 => ErrorClass::NotFound,
                408 | 425 => ErrorClass::Transient,
                409 => ErrorClass::Conflict,
                _ => ErrorClass::Invalid,
            },
            Self::Throttled { .. } => ErrorClass::Throttled,
            Self::Server { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::SendDeadlinePassed { .. } => ErrorClass::Transient,
            Self::Unreachable { .. } => ErrorClass::Unreachable,
            Self::AmbiguousCreate { .. } => ErrorClass::Ambiguous,
            Self::Token(_) => ErrorClass::Denied,
            Self::Unexpected { .. } | Self::RepeatedPage { .. } | Self::Setup { .. } => {
                ErrorClass::Bug
            }
        }
    }

    /// Spot's refusal, when it sent one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. }
            | Self::Throttled { refusal, .. }
            | Self::Server { refusal, .. } => Some(refusal),
            Self::AmbiguousCreate { source, .. } => source.refusal(),
            _ => None,
        }
    }

    /// Whether the token itself was refused or could not be read, which a rotation that is under way explains: status 401,
    /// or a 403 that speaks of the token. Any other 403 says that what was asked for is not permitted, and will stay so.
    #[must_use]
    pub fn is_about_the_token(&self) -> bool {
        let Self::Refused { refusal, .. } = self else {
            return matches!(self, Self::Token(_));
        };
        let words = format!("{} {}", refusal.code, refusal.message).to_lowercase();
        match refusal.status {
            401 => true,
            403 => ["token", "authentica", "credential"]
                .iter()
                .any(|word| words.contains(word)),
            _ => false,
        }
    }

    /// Spot's id of the failed request, for its support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Unexpected { request_id, .. } => request_id.as_deref(),
            other => other.refusal()?.request_id.as_deref(),
        }
    }

    /// Spot's code (the first of its errors).
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.code.as_str())
    }

    /// Spot's message (of the first of its errors).
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.message.as_str())
    }

    /// The field that Spot complains about.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.refusal()?.field.as_deref()
    }

    /// Whether the call may have taken effect although it failed.
    pub(crate) fn may_have_taken_effect(&self) -> bool {
        matches!(
            self,
            Self::Server { .. }
                | Self::TimedOut { .. }
                | Self::Lost { .. }
                | Self::Unexpected { .. }
        )
    }
}
