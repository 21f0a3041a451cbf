//! The verbs against small servers that answer as AWS does, and as it should not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "scaffolding of tests fails the test that uses it"
)]

mod account_access;
mod failures;
mod organizations;
mod role_policies;
mod secrets;
mod server;
mod stack_sets;
mod tags;
