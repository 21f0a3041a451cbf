//! `cargo xtask demo`: a simulated organization is enrolled in a simulated Spot by the real binary, over real HTTP and
//! with the real AWS SDK; then a new account joins it and is enrolled without anyone doing anything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::build::{self, Profile};
use crate::process::Background;
use crate::sandbox::Sandbox;
use crate::{paths, process};

const SCENARIO: &str = "crates/sandbox/scenarios/demo.toml";
const NEW_ACCOUNT: &str = "data-platform-new";
/// How long the provider may take to serve.
const START: Duration = Duration::from_secs(20);
/// How long the new account may take to be enrolled.
const ENROLLMENT: Duration = Duration::from_secs(40);

/// Builds, then shows it. Returns an error, so that xtask exits with 1, unless everything went as told.
pub(crate) fn run() -> Result<()> {
    let program = build::runner(Profile::Dev)?;
    let started = Instant::now();
    let directory = tempfile::tempdir()?;
    paths::copy(
        &paths::root().join("config"),
        &directory.path().join("config"),
    )?;

    say("A simulated AWS Organization of 60 accounts and a simulated Spot, over HTTP");
    let sandbox = Sandbox::start(&program, &paths::root().join(SCENARIO), directory.path())?;
    println!("{SCENARIO} on {}", sandbox.endpoint());
    let runner = Runner {
        program,
        directory: directory.path().to_path_buf(),
        environment: sandbox.environment().clone(),
    };

    say("runner provider, from now on: it answers the stacks, also those that AWS makes by itself");
    let log = directory.path().join("provider.log");
    let mut provider = Background::start(
        "runner provider",
        runner
            .command(&["provider"])
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?),
    )?;
    process::wait_until(START, || {
        provider.check()?;
        Ok(sandbox.was_called("sqs:ReceiveMessage")?.then_some(()))
    })
    .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    println!("it serves the queue spot-onboarding");

    say("runner exec stackset-sync");
    let status = runner
        .command(&["exec", "stackset-sync"])
        .status()
        .context("could not start the runner")?;
    let code = status
        .code()
        .with_context(|| format!("the runner was ended: {status}"))?;
    println!("\nexit code {code} (0: nothing wrong, 3: some accounts need a person)");
    ensure!(matches!(code, 0 | 3), "enrolling the organization failed");

    say("A new account joins an organizational unit, and nobody starts a job");
    let units = sandbox.units()?;
    let unit = units
        .last()
        .context("the sandbox has no organizational units")?;
    let (unit, unit_name) = (text(unit, "id")?, text(unit, "name")?);
    let account = sandbox.create_account(NEW_ACCOUNT, unit)?;
    println!("account {account} ({NEW_ACCOUNT}) was created and moved to {unit_name}");
    let enrolled = process::wait_until(ENROLLMENT, || {
        provider.check()?;
        Ok((runner.reason(&account)?.as_deref() == Some("enrolled")).then_some(()))
    });
    if let Err(error) = enrolled {
        eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
        bail!(
            "account {account} is {:?}, not enrolled: {error}",
            runner.reason(&account)?
        );
    }
    println!("account {account} is enrolled");
    drop(provider);

    say("runner status");
    runner
        .command(&["status"])
        .status()
        .context("could not start the runner")?;
    println!(
        "\nDone in {} s. Everything above ran on this machine, and is stopped now.",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// The runner, pointed at the sandbox by its ordinary configuration and environment.
struct Runner {
    program: PathBuf,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Runner {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--config", "config"])
            .args(arguments)
            .current_dir(&self.directory)
            .envs(&self.environment);
        command
    }

    /// The reason code of one account in the ledger of `runner status`, if the account is there yet.
    fn reason(&self, account: &str) -> Result<Option<String>> {
        let output = self
            .command(&["status", "--output", "json"])
            .output()
            .context("could not start the runner")?;
        let status: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`runner status` ({}) printed no JSON: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let rows = status["accounts"]
            .as_array()
            .context("`runner status` lists no accounts")?;
        let row = rows.iter().find(|row| row["account"] == account);
        Ok(row
            .and_then(|row| row["reason"].as_str())
            .map(str::to_owned))
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field]
        .as_str()
        .with_context(|| format!("no {field} in {value}"))
}

fn say(title: &str) {
    println!("\n── {title}\n");
}
