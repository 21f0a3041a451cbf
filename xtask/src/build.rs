//! Builds the workspace, always whole and with one profile: another selection of packages gives their dependencies
//! other features, and the AWS SDK is compiled once more.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{paths, process};

/// The two profiles that we build.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// For demo, gen, test, and bench --smoke.
    Dev,
    /// For bench.
    Release,
}

/// `cargo`, the one that runs us, in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Builds the workspace and returns the path of `runner`.
pub(crate) fn runner(profile: Profile) -> Result<PathBuf> {
    binary("runner", profile)
}

/// Builds the workspace and returns the path of `bootstrap`.
pub(crate) fn bootstrap(profile: Profile) -> Result<PathBuf> {
    binary("bootstrap", profile)
}

fn binary(name: &str, profile: Profile) -> Result<PathBuf> {
    let (option, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    process::run(cargo().args([
        "build",
        "--locked",
        "--workspace",
        "--bin",
        name,
        "--profile",
        option,
    ]))?;
    let binary = paths::build_directory().join(directory).join(name);
    ensure!(binary.is_file(), "the build made no {}", binary.display());
    Ok(binary)
}
