//! The real `runner` binary, in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::components;
use crate::process::Background;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A directory with the shipped configuration, and the environment to run the binary in.
#[derive(Debug)]
pub struct Runner {
    program: PathBuf,
    directory: TempDir,
    environment: BTreeMap<String, String>,
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// The data.
    pub stdout: String,
    /// The logs.
    pub stderr: String,
}

impl Runner {
    /// Copies `config/`, with one setting that is not the default: `served_by = "run"`. `environment` says which AWS and Spot to talk to, usually a sandbox's.
    ///
    /// # Errors
    /// The tests were not started by `cargo xtask test`, or the copy fails.
    pub fn new(environment: BTreeMap<String, String>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        copy(
            &components::checkout().join("config"),
            &directory.path().join("config"),
        )?;
        // Most tests have nobody who serves between runs, and mean it.
        let path = directory.path().join("config/runner.toml");
        let text = fs::read_to_string(&path)?;
        fs::write(
            &path,
            text.replace("#served_by = \"provider\"", "served_by = \"run\""),
        )?;
        Ok(Self {
            program: components::runner()?,
            directory,
            environment,
        })
    }

    /// Has commands see this from now on, beside what they always see.
    pub fn set_environment(&mut self, environment: BTreeMap<String, String>) {
        self.environment = environment;
    }

    /// Where it runs: `config/` is in it, and the state unless configured otherwise.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A command, not started. It sees nothing of our environment but what it is given, so that nobody's AWS profile or
    /// Spot token is used by a test.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--config", "config"])
            .args(arguments)
            .current_dir(self.directory())
            .env_clear()
            .env("HOME", self.directory())
            .env("NO_COLOR", "1")
            .envs(&self.environment);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let mut process = Background::start(&mut self.command(arguments))?;
        let code = process
            .wait(LIMIT)
            .with_context(|| format!("runner {arguments:?}"))?;
        Ok(Ended {
            code,
            stdout: process.stdout()?,
            stderr: process.stderr()?,
        })
    }

    /// Starts a command that goes on until it is told to end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Background> {
        Background::start(&mut self.command(arguments))
    }
}

impl Ended {
    /// Its stdout, which must be one JSON document and nothing else.
    ///
    /// # Errors
    /// It is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "exit code {}, no JSON: {}\n{}",
                self.code, self.stdout, self.stderr
            )
        })
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
