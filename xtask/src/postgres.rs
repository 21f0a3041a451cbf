//! One throwaway PostgreSQL for all tests of a run: to start one takes longer than most of them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::paths;
use crate::process::Background;

/// How long it may take to make a cluster and to listen.
const START: Duration = Duration::from_secs(120);

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
    let url = process.first_line(START)?;
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
