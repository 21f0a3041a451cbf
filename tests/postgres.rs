//! A throwaway PostgreSQL: the one that `cargo xtask test` has started for all tests, otherwise one of this process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
    let server = match env::var("POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => match of_this_process()? {
            Some(url) => url.to_owned(),
            None => return Ok(None),
        },
    };
    create(&server).map(Some)
}

/// Makes an empty database on a server, and returns its URL.
fn create(server: &str) -> Result<String> {
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let url = format!("{server}/s{}_{number}", process::id());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(sqlx::Postgres::create_database(&url))?;
    Ok(url)
}

/// Starts a server that ends with this process, and returns its URL without a database.
fn of_this_process() -> Result<Option<&'static str>> {
    static ONE: OnceLock<Result<Option<Server>, String>> = OnceLock::new();
    match ONE.get_or_init(|| Server::start().map_err(|error| format!("{error:#}"))) {
        Ok(server) => Ok(server.as_ref().map(|server| server.url.as_str())),
        Err(error) => bail!("{error}"),
    }
}

/// A server of one's own, which can be taken away and come back. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    url: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one; `None` when PostgreSQL is not installed here, see [`components::installed`].
    ///
    /// # Errors
    /// It cannot be started, or the tests must not run without it.
    pub fn start() -> Result<Option<Self>> {
        let Some(venv) = components::installed()? else {
            return Ok(None);
        };
        // It ends with its standard input.
        let mut child = Command::new(venv.join("bin/python"))
            .arg(components::checkout().join("tests/python/postgres.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start PostgreSQL")?;
        let mut server = Self {
            url: String::new(),
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().context("it has no stdout")?),
            child,
        };
        server.url = server.answer()?;
        Ok(Some(server))
    }

    /// The URL of an empty database on it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn database(&self) -> Result<String> {
        create(&self.url)
    }

    /// Ends it, and every session at once; what was committed is there when it comes back.
    ///
    /// # Errors
    /// It has ended before.
    pub fn stop(&mut self) -> Result<()> {
        self.tell("stop")
    }

    /// Brings it back.
    ///
    /// # Errors
    /// It does not come back.
    pub fn start_again(&mut self) -> Result<()> {
        self.tell("start")
    }

    fn tell(&mut self, what: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it has no stdin")?;
        writeln!(stdin, "{what}")?;
        if self.answer()? != what {
            bail!("PostgreSQL did not {what}");
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if line.trim().is_empty() {
            bail!("PostgreSQL ended: {}", self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("{error}");
        }
    }
}
