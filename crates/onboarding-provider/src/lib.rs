//! The enrollment lifecycle: CloudFormation's custom resources, served over the Spot API.
//!
//! `lambda` reads what a function is invoked with, `wire` reads messages into onboarding-core's [`ResourceRequest`]; [`Provider`] makes the calls that core decides on;
//! `responder` sends the answer; `queue` joins them over any queue.
//!
//! Guarantees, as long as the state behind [`Intents`] is durable:
//! - exactly one Spot account per AWS account, whatever crashes, repeats or arrives late: an intent is committed before
//!   the request that creates is written to its socket, and after an ambiguous end Spot is looked at first;
//! - nothing is done for a Spot account, role or stack of another AWS account than the requesting stack's;
//! - a request whose deadline has passed changes nothing;
//! - a Delete never fails a stack, and deletes only what its stack owns, did not adopt, and nobody else was given;
//! - what nobody needs any more is deleted by [`Provider::clean_up`] alone, after everything was looked at once more;
//! - a repeated request gets the same answer;
//! - a request that is not for our topic, or whose answer would not go to CloudFormation, is neither served nor answered;
//! - whatever is refused is told to the event sink, with a reason of a closed set.

pub mod directory;
pub mod events;
pub mod intents;
pub mod lambda;
mod lifecycle;
mod listings;
pub mod memory;
pub mod origin;
pub mod provider;
pub mod queue;
pub mod refusal;
pub mod responder;
pub mod response_hosts;
#[cfg(feature = "sql")]
pub mod sql;
pub mod wire;

pub use directory::{AccountDetails, AccountDirectory, DirectoryError};
pub use events::{Event, EventSink, Phase};
pub use intents::{
    Assigned, Assignment, Claim, Departed, Departure, Freeze, Intent, Intents, IntentsError, Owner,
    RememberedExternalId, SendIntent, SentCall, Tombstone,
};
pub use lambda::{Invocation, InvocationError};
pub use lifecycle::clean_up::{CleanUpError, Orphan};
pub use memory::MemoryIntents;
pub use onboarding_core::custom_resource::{AdoptRule, Naming, ResourceRequest, ResourceResponse};
pub use provider::{Provider, ProviderSettings};
pub use queue::{ConsumeSettings, Message, Queue, QueueError, consume};
pub use refusal::Refusal;
pub use responder::{Responder, ResponderError};
pub use response_hosts::ResponseHosts;
pub use wire::Contract;
