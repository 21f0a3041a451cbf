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

/// Builds the example of a plugin in Rust, which tests look for beside the runner.
pub(crate) fn plugin() -> Result<PathBuf> {
    binary("runner-job-account-register", Profile::Dev)
}

/// Builds the program that renders every template, which tests read, and returns its path.
pub(crate) fn render_all() -> Result<PathBuf> {
    build(
        "--example",
        "render_all",
        Profile::Dev,
        "examples/render_all",
    )
}

fn binary(name: &str, profile: Profile) -> Result<PathBuf> {
    build("--bin", name, profile, name)
}

fn build(target: &str, name: &str, profile: Profile, file: &str) -> Result<PathBuf> {
    let (option, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    process::run(cargo().args([
        "build",
        "--locked",
        "--workspace",
        target,
        name,
        "--profile",
        option,
    ]))?;
    let binary = paths::build_directory().join(directory).join(file);
    ensure!(binary.is_file(), "the build made no {}", binary.display());
    Ok(binary)
}
