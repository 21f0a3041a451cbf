//! The cargo tools that lint, test and fuzz need, pinned, installed under `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, paths, process};

const CARGO_NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    subcommand: "nextest",
    version: "0.9.143",
};
const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    subcommand: "deny",
    version: "0.20.2",
};

const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    subcommand: "fuzz",
    version: "0.13.2",
};

struct Tool {
    name: &'static str,
    subcommand: &'static str,
    version: &'static str,
}

/// `cargo nextest`, ready for its arguments.
pub(crate) fn nextest() -> Result<Command> {
    CARGO_NEXTEST.ready()
}

/// `cargo deny`, ready for its arguments.
pub(crate) fn deny() -> Result<Command> {
    CARGO_DENY.ready()
}

/// `cargo fuzz`, ready for its arguments.
pub(crate) fn fuzz() -> Result<Command> {
    CARGO_FUZZ.ready()
}

impl Tool {
    /// The tool as a command: the one on PATH when it has exactly the pinned version, otherwise ours.
    fn ready(&self) -> Result<Command> {
        let program = if self.is_pinned(Path::new(self.name)) {
            PathBuf::from(self.name)
        } else {
            self.installed()?
        };
        let mut command = Command::new(program);
        command.arg(self.subcommand).current_dir(paths::root());
        Ok(command)
    }

    fn installed(&self) -> Result<PathBuf> {
        let program = paths::tools().join("bin").join(self.name);
        if self.is_pinned(&program) {
            return Ok(program);
        }
        // A build directory of its own, so that the tool's 400 crates do not stay in ours.
        let directory = paths::tools().join("build");
        process::run(
            build::cargo()
                .args([
                    "install",
                    "--locked",
                    "--quiet",
                    "--force",
                    "--version",
                    self.version,
                    self.name,
                    "--root",
                ])
                .arg(paths::tools())
                .arg("--target-dir")
                .arg(&directory),
        )?;
        fs::remove_dir_all(&directory)
            .with_context(|| format!("could not remove {}", directory.display()))?;
        Ok(program)
    }

    /// Whether `program` exists and says that it is the pinned version.
    fn is_pinned(&self, program: &Path) -> bool {
        let version = Command::new(program)
            .args([self.subcommand, "--version"])
            .output();
        version.is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout);
            text.split_whitespace().nth(1) == Some(self.version)
        })
    }
}
