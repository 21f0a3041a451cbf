//! `cargo xtask live-check`: what only a real AWS Organization and a real Spot can prove, with two accounts of yours.
//! docs/live-check.md says what is needed and what is looked at.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{self, Profile};
use crate::{paths, venv};

/// What is handed on.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `--unit ou-… [--region us-east-1] [--member-role NAME] [--encryption cmk|sqs-managed] [--aggregator NAME] [--yes]`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it with the environment's credentials; fails when something is not as we assume.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runner = build::runner(Profile::Release)?;
    let root = paths::root();
    let status = Command::new(venv::ready()?.join("bin/python"))
        .arg(root.join("xtask/src/live_check.py"))
        .arg("--runner")
        .arg(runner)
        .arg("--policies")
        .arg(root.join("config/policies"))
        .args(&options.arguments)
        .status()
        .context("could not start Python")?;
    ensure!(
        status.success(),
        "something is not as we assume, or the check did not get to its end: see above"
    );
    Ok(())
}
