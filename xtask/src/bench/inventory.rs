//! `cargo xtask bench inventory`: how long the runner takes to read an organization, held against the least time in
//! which it can be read; its memory; and what a stackset-sync costs that has nothing to do.
//!
//! `runner bench-inventory` reads the organization once and prints what it did as one JSON document.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bound::{Shape, Strategy};
use super::measure::{Cost, measure};
use super::report;
use crate::build::{self, Profile};
use crate::paths;
use crate::sandbox::Sandbox;

const LATENCY: Duration = Duration::from_millis(25);
/// How much longer than the bound it may take.
const TOLERANCE: f64 = 1.15;
/// Calls that may be made beyond those needed.
const SPARE_CALLS: usize = 10;
/// Runs of a stackset-sync that has nothing to do: the median is held against its limit, see [`Case::readings`].
const IDLE_RUNS: usize = 3;
const MIB: u64 = 1024 * 1024;

/// One organization to read.
struct Case {
    name: &'static str,
    accounts: usize,
    units: usize,
    /// The part of the published rates that the runner takes; `None` switches them off on both sides.
    share: Option<f64>,
    /// How often it is read, an odd number. A reading of a second is as long as the machine's other work lets it be, so the
    /// median of several is held against the limit.
    readings: usize,
    time: TimeLimit,
    memory_limit_bytes: u64,
    /// What the sandbox itself may take for this organization.
    sandbox_limit_bytes: u64,
}

/// What a reading's time is held against.
#[derive(Clone, Copy)]
enum TimeLimit {
    /// The bound that its calls have: so many accounts can be read at the pace of the answers.
    Bound,
    /// The time of the case before, by the number of accounts: here the machine's own work for each call binds.
    Linear,
}

const CASES: [Case; 3] = [
    Case {
        name: "published rates",
        accounts: 10_000,
        units: 400,
        share: Some(1.0),
        readings: 1,
        time: TimeLimit::Bound,
        memory_limit_bytes: 80 * MIB,
        sandbox_limit_bytes: u64::MAX,
    },
    Case {
        name: "no rates",
        accounts: 10_000,
        units: 400,
        share: None,
        readings: 5,
        time: TimeLimit::Bound,
        memory_limit_bytes: 80 * MIB,
        sandbox_limit_bytes: u64::MAX,
    },
    Case {
        name: "large, no rates",
        accounts: 100_000,
        units: 400,
        share: None,
        readings: 1,
        time: TimeLimit::Linear,
        memory_limit_bytes: 400 * MIB,
        sandbox_limit_bytes: 500 * MIB,
    },
];
const SMOKE: [Case; 2] = [
    Case {
        name: "published rates",
        accounts: 60,
        units: 8,
        share: Some(1.0),
        readings: 1,
        time: TimeLimit::Bound,
        memory_limit_bytes: u64::MAX,
        sandbox_limit_bytes: u64::MAX,
    },
    Case {
        name: "no rates",
        accounts: 300,
        units: 20,
        share: None,
        readings: 5,
        time: TimeLimit::Bound,
        memory_limit_bytes: u64::MAX,
        sandbox_limit_bytes: u64::MAX,
    },
];

/// What `runner bench-inventory` prints.
#[derive(Deserialize, Serialize)]
struct Reading {
    /// `accounts` or `tree`: the strategy that was used.
    strategy: String,
    /// Calls in flight at most.
    concurrency: usize,
    accounts: usize,
    organizational_units: usize,
    /// From the first call to the last answer.
    duration_ms: u64,
    api_calls: BTreeMap<String, usize>,
}

/// Runs every case and prints one JSON document; fails when a figure is over its limit, unless it is a smoke run.
pub(super) fn run(smoke: bool) -> Result<()> {
    let runner = build::runner(if smoke {
        Profile::Dev
    } else {
        Profile::Release
    })?;
    let cases: &[Case] = if smoke { &SMOKE } else { &CASES };
    let mut readings = Vec::new();
    let mut misses = Vec::new();
    // Milliseconds per account of each strategy, in the case before.
    let mut paces = BTreeMap::new();
    for case in cases {
        for strategy in ["auto", "accounts", "tree"] {
            let (figures, missed) = case.read(&runner, strategy, &mut paces)?;
            misses.extend(
                missed
                    .into_iter()
                    .map(|miss| format!("{}, {strategy}: {miss}", case.name)),
            );
            readings.push(figures);
        }
    }
    let (accounts, units) = if smoke { (30, 5) } else { (10_000, 400) };
    let (idle, cost) = nothing_to_do(&runner, accounts, units)?;
    if cost.cpu_seconds >= 1.0 {
        misses.push(format!(
            "a stackset-sync with nothing to do took {:.2} s of CPU, limit 1 s",
            cost.cpu_seconds
        ));
    }
    let report = json!({ "smoke": smoke, "inventory": readings, "idle_stackset_sync": idle, "misses": misses });
    report::finish(&report, &misses, smoke)
}

impl Case {
    fn read(
        &self,
        runner: &Path,
        strategy: &'static str,
        paces: &mut BTreeMap<&'static str, f64>,
    ) -> Result<(Value, Vec<String>)> {
        let directory = tempfile::tempdir()?;
        let scenario = directory.path().join("scenario.toml");
        fs::write(
            &scenario,
            format!(
                "[organization]\naccounts = {}\nous = {}\ndepth = 3\nrates = {}\n\n[latency]\norganizations = \"{}ms\"\n",
                self.accounts,
                self.units,
                self.share.is_some(),
                LATENCY.as_millis()
            ),
        )?;
        let mut sandbox = Sandbox::start(runner, &scenario, directory.path())?;
        let share = self
            .share
            .map_or("off".to_owned(), |share| share.to_string());
        let mut command = Command::new(runner);
        command
            .args(["bench-inventory", "--strategy", strategy, "--rates", &share])
            .current_dir(directory.path())
            .envs(sandbox.environment());
        let mut readings = (0..self.readings)
            .map(|_| read_once(&command))
            .collect::<Result<Vec<_>>>()?;
        readings.sort_by_key(|(reading, _)| reading.duration_ms);
        let durations: Vec<u64> = readings
            .iter()
            .map(|(reading, _)| reading.duration_ms)
            .collect();
        let median = self.readings / 2;
        let (reading, cost) = readings
            .into_iter()
            .nth(median)
            .context("nothing was read")?;
        let shape = Shape::of(&sandbox.units()?, &sandbox.accounts()?)?;
        ensure!(
            reading.accounts == shape.accounts(),
            "the runner read {} accounts",
            reading.accounts
        );

        let bound = |strategy| shape.bound(strategy, LATENCY, self.share, reading.concurrency);
        let bounds = (bound(Strategy::Accounts), bound(Strategy::Tree));
        let (used, bound) = match (strategy, reading.strategy.as_str()) {
            (_, "accounts") => (Strategy::Accounts, bounds.0),
            _ => (Strategy::Tree, bounds.1),
        };
        // Left to itself, the runner has to be as fast as the better of the two.
        let bound = if strategy == "auto" {
            bounds.0.min(bounds.1)
        } else {
            bound
        };
        let calls: usize = reading.api_calls.values().sum();
        let mut misses = Vec::new();
        let took = reading.duration_ms as f64;
        let accounts = reading.accounts as f64;
        let before = paces.insert(strategy, took / accounts);
        let limit = match (self.time, before) {
            (TimeLimit::Linear, Some(pace)) => pace * accounts,
            _ => bound.as_millis() as f64,
        };
        if took > limit * TOLERANCE {
            misses.push(format!(
                "{took} ms, limit {limit:.0} ms and {TOLERANCE} times that"
            ));
        }
        if calls > shape.calls(used) + SPARE_CALLS {
            misses.push(format!("{calls} calls, needed {}", shape.calls(used)));
        }
        if cost.peak_rss_bytes > self.memory_limit_bytes {
            misses.push(format!(
                "{} MiB, limit {} MiB",
                cost.peak_rss_bytes / MIB,
                self.memory_limit_bytes / MIB
            ));
        }
        let sandbox_bytes = sandbox.peak_rss_bytes();
        if sandbox_bytes.is_some_and(|bytes| bytes > self.sandbox_limit_bytes) {
            misses.push(format!("the sandbox took {sandbox_bytes:?} bytes"));
        }
        let figures = json!({
            "case": self.name,
            "asked": strategy,
            "reading": reading,
            "durations_ms": durations,
            "bound_ms": { "accounts": bounds.0.as_millis() as u64, "tree": bounds.1.as_millis() as u64 },
            "needed_calls": { "accounts": shape.calls(Strategy::Accounts), "tree": shape.calls(Strategy::Tree) },
            "cost": cost,
            "sandbox_peak_rss_bytes": sandbox_bytes,
        });
        Ok((figures, misses))
    }
}

/// Reads the organization once: what was read, and what that cost.
fn read_once(command: &Command) -> Result<(Reading, Cost)> {
    let (stdout, cost) = measure(command)?;
    ensure!(
        cost.exit_code == 0,
        "`runner bench-inventory` exited with {}",
        cost.exit_code
    );
    let reading = serde_json::from_str(&stdout)
        .with_context(|| format!("`runner bench-inventory` printed {stdout:?}"))?;
    Ok((reading, cost))
}

/// Enrolls an organization without latencies and rates, then runs the same job again a few times, measured: all costs,
/// and their median.
fn nothing_to_do(runner: &Path, accounts: usize, units: usize) -> Result<(Value, Cost)> {
    let directory = tempfile::tempdir()?;
    paths::copy(
        &paths::root().join("config"),
        &directory.path().join("config"),
    )?;
    // Nobody serves between the two runs.
    let runner_toml = directory.path().join("config/runner.toml");
    let text = fs::read_to_string(&runner_toml)?;
    let served = text.replace("#served_by = \"provider\"", "served_by = \"run\"");
    ensure!(served != text, "config/runner.toml has another served_by");
    fs::write(&runner_toml, served)?;
    let scenario = directory.path().join("scenario.toml");
    fs::write(
        &scenario,
        format!(
            "clock_speed = 600\n\n[organization]\naccounts = {accounts}\nous = {units}\ndepth = 3\nrates = false\ntrusted_access = true\n\n[spot]\nrate_limit = 10000000\n"
        ),
    )?;
    let sandbox = Sandbox::start(runner, &scenario, directory.path())?;
    let mut command = Command::new(runner);
    command
        .args([
            "--config",
            "config",
            "--output",
            "json",
            "exec",
            "stackset-sync",
        ])
        .current_dir(directory.path())
        .envs(sandbox.environment());
    let (_, first) = measure(&command)?;
    ensure!(
        matches!(first.exit_code, 0 | 3),
        "the first stackset-sync exited with {}",
        first.exit_code
    );
    let mut costs = Vec::new();
    let mut summary = Value::Null;
    for _ in 0..IDLE_RUNS {
        let (stdout, cost) = measure(&command)?;
        let mut run: Value =
            serde_json::from_str(&stdout).context("the second stackset-sync printed no JSON")?;
        summary = run["summary"].take();
        ensure!(
            summary["changed"] == 0,
            "the second stackset-sync still changed something: {summary}"
        );
        costs.push(cost);
    }
    costs.sort_by(|one, other| one.cpu_seconds.total_cmp(&other.cpu_seconds));
    let cost = costs.get(IDLE_RUNS / 2).context("nothing was run")?.clone();
    Ok((
        json!({ "accounts": accounts, "summary": summary, "first": first, "costs": costs }),
        cost,
    ))
}
