//! `cargo xtask bench bootstrap`: how long a cold start of the Lambda function takes to its first call of Spot, and how
//! much memory it holds when its first request is answered.
//!
//! A script of the Python components' environment stands for Lambda's runtime API, AWS Organizations, Spot and
//! CloudFormation's bucket; it starts the program again and again, by plain HTTP and by TLS with a whole store of
//! certificate authorities.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::report;
use crate::build::{self, Profile};
use crate::{process, venv};

const SCRIPT: &str = include_str!("bootstrap.py");
const FIRST_CALL_LIMIT_MS: f64 = 20.0;
const MEMORY_LIMIT_MIB: f64 = 15.0;

/// Of all starts.
#[derive(Serialize, Deserialize)]
struct Figures {
    min: f64,
    median: f64,
    max: f64,
}

/// What the script prints.
#[derive(Serialize, Deserialize)]
struct Starts {
    starts: usize,
    /// From the start of the process until Spot has the first request's head.
    first_spot_call_ms: Figures,
    /// As the kernel counted it, when the answer was given.
    peak_rss_mib: Figures,
}

/// Runs both cases and prints one JSON document; fails when a figure is over its limit, unless it is a smoke run.
pub(super) fn run(smoke: bool) -> Result<()> {
    let program = build::bootstrap(if smoke {
        Profile::Dev
    } else {
        Profile::Release
    })?;
    let python = venv::ready()?.join("bin/python");
    let mut report = serde_json::Map::new();
    let mut misses = Vec::new();
    for scheme in ["http", "https"] {
        let starts = if smoke { "2" } else { "30" };
        let mut command = Command::new(&python);
        command
            .args(["-c", SCRIPT])
            .arg(&program)
            .args([scheme, starts]);
        let stdout = process::capture(&mut command)?;
        let read: Starts = serde_json::from_str(&stdout)
            .with_context(|| format!("the measurement printed {stdout:?}"))?;
        let (time, memory) = (read.first_spot_call_ms.median, read.peak_rss_mib.max);
        if time > FIRST_CALL_LIMIT_MS {
            misses.push(format!(
                "{scheme}: {time:.1} ms to the first call, limit {FIRST_CALL_LIMIT_MS} ms"
            ));
        }
        if memory > MEMORY_LIMIT_MIB {
            misses.push(format!(
                "{scheme}: {memory:.1} MiB, limit {MEMORY_LIMIT_MIB} MiB"
            ));
        }
        report.insert(scheme.to_owned(), serde_json::to_value(&read)?);
    }
    let report = json!({ "smoke": smoke, "bootstrap": report, "misses": misses });
    report::finish(&report, &misses, smoke)
}
