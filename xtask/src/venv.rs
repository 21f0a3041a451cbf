//! The Python virtual environment under `target/venv`: emulators and real clients that tests run against.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, process};

/// Makes the virtual environment when it is missing or its requirements have changed, and returns its path.
///
/// What it was made from is kept beside it, so that a half-made one is never taken for a good one.
pub(crate) fn ready() -> Result<PathBuf> {
    let venv = paths::venv();
    let requirements = paths::root().join("tests/python/requirements.txt");
    let constraints = paths::root().join("tests/python/constraints.txt");
    let wanted = fs::read_to_string(&requirements)? + &fs::read_to_string(&constraints)?;
    let stamp = venv.join("made-from.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(venv);
    }
    process::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )
    .context("python3 with its venv module is needed (Debian: apt-get install python3-venv)")?;
    process::run(
        Command::new(venv.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements)
            .arg("--constraint")
            .arg(&constraints),
    )?;
    fs::write(&stamp, wanted)?;
    Ok(venv)
}
