//! Running other programs: in the foreground, checked; or in the background, ended by process id.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a background program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a command in the foreground, says so on stderr, and fails unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command in the foreground, says so on stderr, and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    eprintln!("$ {}", line(command));
    command
        .status()
        .with_context(|| format!("could not start `{}`", line(command)))
}

/// Runs a command quietly and returns its stdout; fails, with its stderr, unless it exits with 0.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("could not start `{}`", line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not print UTF-8", line(command)))
}

/// What Linux counts CPU time in for programs: its USER_HZ is 100.
const TICK: Duration = Duration::from_millis(10);

/// A program in the background. It is ended, by its id, when this is dropped.
pub(crate) struct Background {
    name: &'static str,
    child: Child,
}

impl Background {
    /// Starts a command; `name` is used in messages.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("could not start `{}`", line(command)))?;
        Ok(Self { name, child })
    }

    /// The first line of its stdout, which is piped: what a server says when it listens.
    pub(crate) fn first_line(&mut self, limit: Duration) -> Result<String> {
        let name = self.name;
        let stdout = self.child.stdout.take();
        let stdout = stdout.with_context(|| format!("{name} has no stdout"))?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // The receiver is gone when we have given up on it.
            drop(sender.send(read.map(|_| line)));
        });
        let line = receiver
            .recv_timeout(limit)
            .with_context(|| format!("{name} did not say where it listens"))??;
        Ok(line)
    }

    /// One of its figures of memory in /proc/PID/status, in bytes; none where the operating system does not tell.
    pub(crate) fn memory(&self, figure: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(figure))?;
        let kib = line.trim_start_matches(':').trim().strip_suffix("kB")?;
        Some(kib.trim().parse::<u64>().ok()? * 1024)
    }

    /// The CPU time that it has had, in its own code and in the kernel.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        // Its name, which may have blanks, is in brackets; user and system time are the 12th and 13th field behind it.
        let (_, fields) = stat.rsplit_once(')').context("no name in it")?;
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(TICK * u32::try_from(ticks)?)
    }

    /// Fails when the program has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended early: {status}", self.name),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let ended = wait_until(GRACE, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!(
                "warning: could not end {} (process {}): {error:#}",
                self.name,
                self.child.id()
            );
        }
    }
}

/// Polls `probe` until it returns a value; fails when `limit` has passed without one.
pub(crate) fn wait_until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("not there after {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A command as a person would type it, without its environment.
fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
