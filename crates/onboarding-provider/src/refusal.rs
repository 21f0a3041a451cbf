//! Why events are refused: a closed set, for counters and alarms. A refused event changes nothing at Spot.

use std::fmt;

use crate::{lambda::InvocationError, origin::OriginError, wire::WireError};

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A function was invoked with something that is neither a message nor a request.
    NotAnEvent,
    /// A message is longer than any request.
    TooLong,
    /// A message is no custom resource request.
    NotARequest,
    /// It names another topic or function.
    ServiceToken,
    /// Its answer would not go to CloudFormation.
    ResponseUrl,
    /// Its answer would go to another stack.
    OtherStack,
    /// CloudFormation does not wait for its answer any more: its deadline has passed.
    Expired,
    /// CloudFormation does not wait for its answer any more: its stack has failed, is complete or is gone.
    StackEnded,
    /// Its stack is none that is served.
    Stack,
    /// Its resource type is unknown, or a property is missing or malformed.
    Resource,
    /// It asks about another AWS account than its stack's, by id or by a role.
    OtherAccount,
    /// Its AWS account is not in scope.
    OutOfScope,
    /// It names a Spot account that is not its AWS account's.
    ForeignSpotAccount,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NotAnEvent,
        Self::TooLong,
        Self::NotARequest,
        Self::ServiceToken,
        Self::ResponseUrl,
        Self::OtherStack,
        Self::Expired,
        Self::StackEnded,
        Self::Stack,
        Self::Resource,
        Self::OtherAccount,
        Self::OutOfScope,
        Self::ForeignSpotAccount,
    ];

    /// The code in metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAnEvent => "not-an-event",
            Self::TooLong => "too-long",
            Self::NotARequest => "not-a-request",
            Self::ServiceToken => "service-token",
            Self::ResponseUrl => "response-url",
            Self::OtherStack => "other-stack",
            Self::Expired => "expired",
            Self::StackEnded => "stack-ended",
            Self::Stack => "stack",
            Self::Resource => "resource",
            Self::OtherAccount => "other-account",
            Self::OutOfScope => "out-of-scope",
            Self::ForeignSpotAccount => "foreign-spot-account",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl From<&WireError> for Refusal {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::TooLong(_) => Self::TooLong,
            WireError::Unanswerable(_) => Self::NotARequest,
            WireError::Origin { reason, .. } => match reason {
                OriginError::ServiceToken => Self::ServiceToken,
                OriginError::ResponseUrl => Self::ResponseUrl,
                OriginError::OtherStack => Self::OtherStack,
            },
        }
    }
}

impl From<&InvocationError> for Refusal {
    fn from(_: &InvocationError) -> Self {
        Self::NotAnEvent
    }
}
