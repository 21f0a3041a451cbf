//! The template over every combination of its parts, and as text for the main ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

mod audit_role;
mod bodies;
mod direct;
mod home;
mod home_samples;
mod invariants;
mod refusals;
mod remediation_role;
mod samples;
mod snapshots;
mod versions;
