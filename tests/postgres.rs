//! A throwaway PostgreSQL, which ends with this process at the latest.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::components;

/// A cluster of our own; dropped, it ends.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    child: Child,
}

impl Postgres {
    /// Starts one with nothing in it; `None` when it is not installed here, see [`components::installed`].
    ///
    /// # Errors
    /// It cannot be started, or the tests must not run without it.
    pub fn start() -> Result<Option<Self>> {
        let Some(venv) = components::installed()? else {
            return Ok(None);
        };
        let mut child = Command::new(venv.join("bin/python"))
            .arg(components::checkout().join("tests/python/postgres.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start PostgreSQL")?;
        let stdout = child.stdout.take().context("it has no stdout")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        let url = url.trim().to_owned();
        if url.is_empty() {
            bail!("PostgreSQL did not start: {}", child.wait()?);
        }
        Ok(Some(Self { url, child }))
    }

    /// The one of this process.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn of_this_process() -> Result<Option<&'static Self>> {
        static ONE: OnceLock<Result<Option<Postgres>, String>> = OnceLock::new();
        match ONE.get_or_init(|| Self::start().map_err(|error| format!("{error:#}"))) {
            Ok(postgres) => Ok(postgres.as_ref()),
            Err(error) => bail!("{error}"),
        }
    }

    /// The URL of one of its databases, of which it has `postgres` from its start.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.url)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("{error}");
        }
    }
}
