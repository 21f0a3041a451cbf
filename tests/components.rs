//! Where the components are that `cargo xtask test` built and installed.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

/// The `runner` binary that was built for this test run.
///
/// # Errors
/// The tests were started by something else than `cargo xtask test`.
pub fn runner() -> Result<PathBuf> {
    let path = env::var_os("RUNNER_BIN")
        .context("RUNNER_BIN is not set; run the tests with `cargo xtask test`")?;
    Ok(path.into())
}

/// The Python virtual environment with emulators, clients and linters; `None` when it could not be made on this machine,
/// which skips what needs it and is said loudly.
///
/// # Errors
/// The tests were started by something else than `cargo xtask test`, or this is continuous integration, where a missing
/// component is a failure.
pub fn venv() -> Result<Option<PathBuf>> {
    runner()?;
    installed()
}

/// The same for tests that need no program of ours, however they were started.
///
/// # Errors
/// This is continuous integration, where a missing component is a failure.
pub fn installed() -> Result<Option<PathBuf>> {
    match env::var_os("VENV_DIR") {
        Some(path) => Ok(Some(path.into())),
        None if env::var("CI").is_ok_and(|value| value == "true") => {
            bail!("VENV_DIR is not set, and CI=true")
        }
        None => {
            eprintln!("SKIPPED: the Python components are missing");
            Ok(None)
        }
    }
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// The example of a plugin in Rust, which is built with the runner, beside it.
///
/// # Errors
/// The tests were started by something else than `cargo xtask test`.
pub fn account_register() -> Result<PathBuf> {
    let path = runner()?.with_file_name("runner-job-account-register");
    ensure!(
        path.is_file(),
        "{} is not there; run the tests with `cargo xtask test`",
        path.display()
    );
    Ok(path)
}
