//! What happens to each request, for progress displays and metrics.

use std::sync::Arc;

use onboarding_core::{
    custom_resource::{RequestType, ResourceRequest, Status},
    ids::{AwsAccountId, StackId},
};

use crate::refusal::Refusal;

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It was taken up.
    Received,
    /// Something is not ready yet; it is tried again.
    Waiting {
        /// What.
        reason: String,
    },
    /// It was decided.
    Answered {
        /// How.
        status: Status,
        /// Why it failed, or what was not done; in full.
        reason: String,
    },
    /// CloudFormation has the answer.
    Delivered,
    /// CloudFormation did not take the answer.
    Undeliverable {
        /// Why.
        reason: String,
    },
    /// Its deadline had passed before it was taken up: nothing was changed.
    Expired,
    /// It asks for something that it may not have, or its stack does not wait any more. Its answer says so.
    Refused(Refusal),
    /// A message that is no request, or none of our templates. It is not answered.
    Poison {
        /// The kind of what is wrong with it.
        refusal: Refusal,
        /// What is wrong with it, without its content.
        reason: String,
    },
}

/// One thing that happened to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// CloudFormation's id of the request; empty for a message that is no request.
    pub request_id: String,
    /// The stack.
    pub stack_id: Option<StackId>,
    /// The account of the stack.
    pub account: Option<AwsAccountId>,
    /// The resource type.
    pub resource_type: String,
    /// What is asked for.
    pub request_type: Option<RequestType>,
    /// How far it is.
    pub phase: Phase,
}

impl Event {
    pub(crate) fn of(request: &ResourceRequest, phase: Phase) -> Self {
        Self {
            request_id: request.request_id.clone(),
            stack_id: Some(request.stack_id.clone()),
            account: Some(request.account),
            resource_type: request.resource_type.clone(),
            request_type: Some(request.request_type),
            phase,
        }
    }

    pub(crate) fn poison(refusal: Refusal, reason: String) -> Self {
        Self {
            request_id: String::new(),
            stack_id: None,
            account: None,
            resource_type: String::new(),
            request_type: None,
            phase: Phase::Poison { refusal, reason },
        }
    }

    /// Why something was refused, if this tells of a refusal. Each delivery of an event that is refused tells of one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.phase {
            Phase::Refused(refusal) | Phase::Poison { refusal, .. } => Some(*refusal),
            Phase::Expired => Some(Refusal::Expired),
            Phase::Received
            | Phase::Waiting { .. }
            | Phase::Answered { .. }
            | Phase::Delivered
            | Phase::Undeliverable { .. } => None,
        }
    }
}

/// Receives events; it must not block.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// A sink that drops everything.
#[must_use]
pub fn no_events() -> EventSink {
    Arc::new(|_| {})
}
