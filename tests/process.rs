//! Child processes: ended by their id when dropped, and waited for with a deadline.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A program in the background, with its output kept for when something goes wrong.
#[derive(Debug)]
pub struct Background {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Background {
    /// Starts a program without input.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()
            .with_context(|| format!("could not start {}", command.get_program().display()))?;
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("could not send a signal")
    }

    /// Waits until it ends, and returns its exit code.
    ///
    /// # Errors
    /// It does not end in time, or a signal ended it.
    pub fn wait(&mut self, limit: Duration) -> Result<i32> {
        let status = until(limit, "the program ends", || Ok(self.child.try_wait()?))?;
        status
            .code()
            .with_context(|| format!("ended by a signal: {status}"))
    }

    /// Fails, with what it printed, when it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!(
                "ended early: {status}\n{}{}",
                self.stdout()?,
                self.stderr()?
            ),
            None => Ok(()),
        }
    }

    /// What it printed to stdout so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stdout(&self) -> Result<String> {
        read(&self.stdout)
    }

    /// What it printed to stderr so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stderr(&self) -> Result<String> {
        read(&self.stderr)
    }
}

/// Reads from the start without moving the position at which the child writes.
fn read(file: &File) -> Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Drop for Background {
    fn drop(&mut self) {
        let ended = self.signal(Signal::TERM).and_then(|()| self.wait(GRACE));
        if ended.is_err() {
            // It has ended already, or it does not listen.
            self.child
                .kill()
                .and_then(|()| self.child.wait())
                .map_or_else(|error| eprintln!("{error}"), |_| ());
        }
    }
}

/// Polls `probe` until it has a value.
///
/// # Errors
/// There is none within `limit`, or the probe fails.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
