//! The end-to-end tests. Start them with `cargo xtask test`.

#![cfg(test)]

mod aws_ops_on_moto;
mod clients_on_sandbox;
mod deploy;
mod operations;
mod policy_diff;
mod runner_on_sandbox;
mod telemetry;
