//! Our verbs over the AWS SDK: the organization snapshot, stack sets and their operations, identity, IAM truth, what
//! AWS Config recorded of it, the queue, topics and secrets.
//!
//! Guarantees:
//! - Every call goes through one place that waits for the rate governor, counts, classifies and retries. The SDK's own
//!   retries, waiters and paginators are never used: they would send uncounted.
//! - No SDK error leaves this crate, nor is one ever printed with its debug form, which contains raw answers (of
//!   GetSecretValue, for one). [`AwsError`] carries the code, the message and the request id only.
//! - A listing is complete or it is an error.
//!
//! Assumes: the binary installed a rustls crypto provider and runs a tokio runtime.

mod account_access;
mod account_stack;
pub mod aggregator;
mod aws;
mod clients;
mod credentials;
mod error;
mod governed;
pub mod iam;
pub mod identity;
pub mod organizations;
mod pages;
pub mod queue;
pub mod secrets;
mod settings;
pub mod stack_sets;
pub mod stacks;
pub mod templates;
pub mod topics;

pub use account_access::{AccessError, AccessRole, AccountAccess, AccountRemediation};
pub use account_stack::AccountStack;
pub use aws::Aws;
pub use error::{AwsError, ErrorClass};
pub use onboarding_core::governor::aws::{
    Bounds, ListingShape, OperationCounts, Rates, SnapshotStrategy, bounds::bounds,
};
pub use organizations::{Listing, SnapshotOptions, StrategyChoice};
pub use settings::{AwsSettings, CallAs, StaticCredentials, Timeouts};
