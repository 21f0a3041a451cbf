//! A typed async client of the Spot API.
//!
//! Guarantees: every call waits for the shared rate governor and is counted; only what is safe to repeat is repeated,
//! by one function (`client::retry`); creating an account is never repeated after an ambiguous failure, which is an
//! error of its own ([`SpotError::AmbiguousCreate`]) that callers resolve by looking; no secret and no part of an
//! unreadable body is in any error, log line, span or URL.
//!
//! Sources: Spot's public OpenAPI documents, and its Go SDK where a call is missing there (each such verb says so).

pub mod client;
pub mod error;
pub mod observe;
pub mod token;
pub mod urgency;
pub mod verbs;

pub use client::{
    SpotClient,
    locks::SharedLocks,
    settings::SpotSettings,
    shared::{SharedWindows, WindowChange},
};
pub use error::{ErrorClass, Refusal, SpotError};
pub use onboarding_core::{desired::BillingSource, inventory::SpotAccountRecord};
pub use token::{EnvToken, FileToken, TokenError, TokenSource};
pub use verbs::{
    access::AccessError,
    accounts::{CreateSlot, CreatedAccount, DeleteSlot, SendBy},
    credentials::CreatedExternalId,
    products::{Product, Registration, RegistrationStatus, ValidationStatus, ValidationStep},
    workloads::Workload,
};
