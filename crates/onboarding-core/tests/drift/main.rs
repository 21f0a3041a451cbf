//! Drift of a role: what templates mean, and which differences of an account from it are found.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail tests"
)]

mod aggregated;
mod foreign;
mod kinds;
mod meanings;
mod properties;
#[path = "../template/samples.rs"]
#[allow(dead_code, reason = "the tests of templates use the rest")]
mod samples;
mod strays;
mod world;
