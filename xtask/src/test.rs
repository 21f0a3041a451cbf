//! `cargo xtask test`: builds the binaries, sets up the Python components, runs pytest and then cargo-nextest.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::build::{self, Profile};
use crate::postgres::{self, Postgres};
use crate::{paths, process, tools, venv};

/// What to run; everything by default.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Run only one of the two suites.
    #[arg(long)]
    only: Option<Suite>,
    /// Passed on to pytest (with --only python) or cargo-nextest (otherwise).
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// Real clients (boto3, the AWS CLI, spotinst-sdk2) against the sandbox, the Lambda function in ministack, and the
    /// emulators' known gaps.
    Python,
    /// Every test of the workspace's crates.
    Rust,
}

/// Runs the tests. cargo-nextest comes last and has the last word.
pub(crate) fn run(options: &Options) -> Result<()> {
    let components = Components::ready()?;
    if options.only != Some(Suite::Rust)
        && let Some(venv) = &components.venv
    {
        let mut pytest = Command::new(venv.join("bin/python"));
        pytest
            .args(["-m", "pytest", "-q", "tests/python"])
            .current_dir(paths::root());
        if options.only == Some(Suite::Python) {
            pytest.args(&options.arguments);
        }
        components.tell(&mut pytest);
        process::run(&mut pytest)?;
    }
    if options.only == Some(Suite::Python) {
        if components.venv.is_none() {
            bail!("the Python suite could not run");
        }
        return Ok(());
    }
    components.nextest(&options.arguments, &[])
}

/// Runs cargo-nextest with these arguments and variables.
pub(crate) fn rust(arguments: &[&str], variables: &[(&str, String)]) -> Result<()> {
    Components::ready()?.nextest(arguments, variables)
}

/// What tests need, built and installed.
struct Components {
    runner: PathBuf,
    bootstrap: PathBuf,
    render_all: PathBuf,
    venv: Option<PathBuf>,
    postgres: Option<Postgres>,
}

impl Components {
    fn ready() -> Result<Self> {
        let runner = build::runner(Profile::Dev)?;
        let bootstrap = build::bootstrap(Profile::Dev)?;
        let render_all = build::render_all()?;
        build::plugin()?;
        let venv = match venv::ready() {
            Ok(venv) => Some(venv),
            Err(error) if in_ci() => return Err(error),
            Err(error) => {
                eprintln!(
                    "\nSKIPPED: everything that needs Python components, because: {error:#}\n"
                );
                None
            }
        };
        let postgres = venv.as_deref().map(postgres::start).transpose()?;
        Ok(Self {
            runner,
            bootstrap,
            render_all,
            venv,
            postgres,
        })
    }

    /// Tells a test runner where they are.
    fn tell(&self, command: &mut Command) {
        command
            .env("RUNNER_BIN", &self.runner)
            .env("BOOTSTRAP_BIN", &self.bootstrap)
            .env("RENDER_ALL_BIN", &self.render_all);
        if let Some(venv) = &self.venv {
            command.env("VENV_DIR", venv);
        }
        if let Some(postgres) = &self.postgres {
            command.env("POSTGRES_URL", postgres.url());
        }
    }

    fn nextest(&self, arguments: &[impl AsRef<OsStr>], variables: &[(&str, String)]) -> Result<()> {
        let mut nextest = tools::nextest()?;
        nextest
            .args(["run", "--locked", "--workspace"])
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)));
        self.tell(&mut nextest);
        process::run(&mut nextest)
    }
}

/// In continuous integration a missing component is a failure, elsewhere a skip that is named.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}
