//! How every bench ends: its figures as one JSON document, and a failure when one is over its limit.

use anyhow::{Result, ensure};
use serde_json::Value;

/// Prints the figures. Fails when there are misses, unless it is a smoke run, whose figures mean nothing.
pub(super) fn finish(report: &Value, misses: &[String], smoke: bool) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    ensure!(
        smoke || misses.is_empty(),
        "{} figures are over their limits",
        misses.len()
    );
    Ok(())
}
