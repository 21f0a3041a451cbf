//! `cargo xtask lint`: formatting, clippy, and what the dependency graph may contain.

use anyhow::Result;

use crate::{build, process, tools};

/// Runs the checks, cheapest first.
pub(crate) fn run() -> Result<()> {
    process::run(build::cargo().args(["fmt", "--all", "--check"]))?;
    // cargo-deny looks at the dependencies of every platform, a build fetches only those of this one.
    process::run(build::cargo().args(["fetch", "--locked"]))?;
    process::run(tools::deny()?.args([
        "--offline",
        "--locked",
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    process::run(build::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}
