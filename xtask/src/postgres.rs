//! One throwaway PostgreSQL for all tests of a run: to start one takes longer than most of them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::paths;
use crate::process::Background;

/// A running server; dropped, it ends and leaves nothing.
pub(crate) struct Postgres {
    url: String,
    _process: Background,
}

/// Starts one, from what the virtual environment brings.
pub(crate) fn start(venv: &Path) -> Result<Postgres> {
    let mut process = Background::start(
        "PostgreSQL",
        Command::new(venv.join("bin/python"))
            .arg(paths::root().join("tests/python/postgres.py"))
            // It ends with its standard input, even when nobody is left to end it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    )?;
    let stdout = process.child().stdout.take().context("it has no stdout")?;
    let mut url = String::new();
    BufReader::new(stdout).read_line(&mut url)?;
    process.check()?;
    Ok(Postgres {
        url: url.trim().to_owned(),
        _process: process,
    })
}

impl Postgres {
    /// Where it is, without a database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
