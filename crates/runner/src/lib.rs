//! The runner as a library, so that tests and benches can use its rooms; `main.rs` only parses, builds, runs and exits.

pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod home;
pub mod jobs;
pub mod notify;
pub mod plugin;
pub mod provider;
pub mod report;
pub mod schedule;
mod secret;
pub mod state;
pub mod telemetry;
