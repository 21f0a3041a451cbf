//! A throwaway PostgreSQL: the one that `cargo xtask test` has started for all tests, otherwise one of this process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, process};

use anyhow::{Context, Result, bail};
use sqlx::migrate::MigrateDatabase as _;

use crate::components;

/// The URL of an empty database that nobody else uses; `None` when PostgreSQL is not installed here, see
/// [`components::installed`].
///
/// # Errors
/// It cannot be started, or the tests must not run without it.
pub fn database() -> Result<Option<String>> {
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let server = match env::var("POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => match of_this_process()? {
            Some(url) => url.to_owned(),
            None => return Ok(None),
        },
    };
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let url = format!("{server}/s{}_{number}", process::id());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(sqlx::Postgres::create_database(&url))?;
    Ok(Some(url))
}

/// Starts a server that ends with this process, and returns its URL without a database.
fn of_this_process() -> Result<Option<&'static str>> {
    static ONE: OnceLock<Result<Option<(String, Child)>, String>> = OnceLock::new();
    match ONE.get_or_init(|| start().map_err(|error| format!("{error:#}"))) {
        Ok(server) => Ok(server.as_ref().map(|(url, _)| url.as_str())),
        Err(error) => bail!("{error}"),
    }
}

fn start() -> Result<Option<(String, Child)>> {
    let Some(venv) = components::installed()? else {
        return Ok(None);
    };
    // It ends with its standard input, which this process never closes.
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
    Ok(Some((url, child)))
}
