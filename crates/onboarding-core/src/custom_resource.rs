//! CloudFormation's custom resources as decisions: a request read into types, what to do about it, and the answer.
//!
//! The resource types are those of Spot's own templates. Everything here is pure; the calls of Spot and the state are
//! made by onboarding-provider.
//!
//! Assumptions (CloudFormation user guide, "Custom resource request types" and "Custom resource response objects"):
//! scalars of the properties arrive as texts; the same request may arrive several times, late, and out of order; a
//! Create that failed is followed by a Delete of the physical id that was answered; an answer has at most 4,096 bytes.

pub mod account;
pub mod deletion;
pub mod external_id;
pub mod holder;
pub mod naming;
pub mod request;
pub mod response;
pub mod served_stacks;
pub mod stack_status;

pub use account::{AccountDecision, KnownAccounts, OurState, Refusal, Standing};

pub use crate::desired::AdoptRule;
pub use deletion::{DeletionDecision, TombstoneReason};
pub use external_id::ExternalIdDecision;
pub use holder::Holder;
pub use naming::{AccountNames, Naming, NamingError};
pub use request::{InvalidResource, RequestType, Resource, ResourceRequest, Unanswerable};
pub use response::{ROLE_NOT_ASSUMABLE, ResourceResponse, Status};
pub use served_stacks::ServedStacks;
pub use stack_status::{deletes, ends, still_waits};
