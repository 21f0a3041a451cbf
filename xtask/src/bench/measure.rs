//! A program's peak memory and CPU time, as the kernel counted them.
//!
//! The standard library cannot ask for them and we forbid unsafe code; python3, which the tests need anyway, can.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process;

const WRAPPER: &str = r#"
import json, os, resource, sys, time
figures, *command = sys.argv[1:]
start = time.monotonic()
child = os.spawnvp(os.P_WAIT, command[0], command)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(figures, "w") as file:
    json.dump({
        "exit_code": child,
        "wall_seconds": time.monotonic() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }, file)
"#;

/// What one run of a program cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Its exit code.
    pub(super) exit_code: i32,
    /// From start to end, its start-up included.
    pub(super) wall_seconds: f64,
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// The most memory it held.
    pub(super) peak_rss_bytes: u64,
}

/// Runs a program to its end, whatever its exit code, and returns its stdout with what it cost.
pub(super) fn measure(command: &Command) -> Result<(String, Cost)> {
    let figures = tempfile::NamedTempFile::new()?;
    let mut wrapper = Command::new("python3");
    wrapper
        .args(["-c", WRAPPER])
        .arg(figures.path())
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        wrapper.env(name, value.unwrap_or(OsStr::new("")));
    }
    if let Some(directory) = command.get_current_dir() {
        wrapper.current_dir(directory);
    }
    wrapper.stderr(std::process::Stdio::inherit());
    let stdout = process::capture(&mut wrapper)?;
    let text = std::fs::read_to_string(figures.path())?;
    Ok((
        stdout,
        serde_json::from_str(&text).with_context(|| format!("no figures: {text:?}"))?,
    ))
}
