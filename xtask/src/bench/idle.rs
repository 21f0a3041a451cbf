//! `cargo xtask bench idle`: a daemon that has nothing to do, with its jobs, the provider, events and metrics, which are scraped as
//! Prometheus does.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::report;
use crate::build::{self, Profile};
use crate::process::Background;
use crate::sandbox::Sandbox;
use crate::{http, paths};

/// How long the daemon may take to listen.
const START: Duration = Duration::from_secs(20);
/// The time between two scrapes.
const SCRAPE: Duration = Duration::from_secs(15);
/// No schedule of a job comes up while this goes on, except on New Year's Eve.
const SELDOM: &str = "cron = \"0 0 0 1 1 *\"";
const MEMORY_LIMIT: u64 = 40 * 1024 * 1024;
const CPU_LIMIT_PERCENT: f64 = 0.5;

/// Measures, prints one JSON document, and fails when a figure is over its limit, unless it is a smoke run.
pub(super) fn run(smoke: bool) -> Result<()> {
    let (profile, warm_up, scrapes, between) = if smoke {
        (Profile::Dev, Duration::ZERO, 2, Duration::from_millis(100))
    } else {
        (Profile::Release, Duration::from_secs(60), 12, SCRAPE)
    };
    let runner = build::runner(profile)?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("config");
    paths::copy(&paths::root().join("config"), &config)?;
    let mut jobs = 0;
    for entry in fs::read_dir(config.join("jobs"))? {
        let path = entry?.path();
        jobs += seldom(&path)?;
    }
    let scenario = directory.path().join("scenario.toml");
    fs::write(
        &scenario,
        "[organization]\naccounts = 60\nous = 9\ndepth = 2\ntrusted_access = true\n",
    )?;
    let sandbox = Sandbox::start(&runner, &scenario, directory.path())?;
    let mut daemon = Background::start(
        "runner daemon",
        Command::new(&runner)
            .args(["--config", "config", "--output", "json"])
            .args(["--set", "daemon.listen=127.0.0.1:0", "daemon"])
            .current_dir(directory.path())
            .envs(sandbox.environment())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.path().join("daemon.log"))?),
    )?;
    let log = || fs::read_to_string(directory.path().join("daemon.log")).unwrap_or_default();
    let line = daemon.first_line(START).with_context(log)?;
    let said: Value =
        serde_json::from_str(&line).with_context(|| format!("the daemon said {line:?}"))?;
    let endpoint = said["endpoint"].as_str().context("it tells no endpoint")?;

    thread::sleep(warm_up);
    let (began, before) = (Instant::now(), daemon.cpu()?);
    let mut scraped = 0;
    for _ in 0..scrapes {
        thread::sleep(between);
        daemon.check().with_context(log)?;
        scraped = http::request(endpoint, "GET", "/metrics", "")?.len();
    }
    let (took, cpu) = (began.elapsed(), daemon.cpu()? - before);
    let percent = 100.0 * cpu.as_secs_f64() / took.as_secs_f64();
    let memory = |figure| {
        let told = daemon.memory(figure);
        told.with_context(|| format!("no {figure} in /proc"))
    };
    let (rss, peak) = (memory("VmRSS")?, memory("VmHWM")?);

    let mut misses = Vec::new();
    if rss > MEMORY_LIMIT {
        misses.push(format!("{rss} bytes resident, limit {MEMORY_LIMIT}"));
    }
    if percent > CPU_LIMIT_PERCENT {
        misses.push(format!(
            "{percent:.2} % of a core, limit {CPU_LIMIT_PERCENT} %"
        ));
    }
    let report = json!({
        "smoke": smoke,
        "jobs": jobs,
        "seconds": took.as_secs_f64(),
        "scrapes": scrapes,
        "scraped_bytes": scraped,
        "rss_bytes": rss,
        "peak_rss_bytes": peak,
        "cpu_percent": percent,
        "misses": misses,
    });
    report::finish(&report, &misses, smoke)
}

/// Lets the schedule of a job come up once a year, and tells how many schedules that were.
fn seldom(path: &std::path::Path) -> Result<usize> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().map(|line| match line.split_once("cron = \"") {
        Some((head, rest)) if line.starts_with("schedule") => {
            let tail = rest.split_once('"').map_or("", |(_, tail)| tail);
            (1, format!("{head}{SELDOM}{tail}\n"))
        }
        _ => (0, format!("{line}\n")),
    });
    let (counts, lines): (Vec<usize>, Vec<String>) = lines.unzip();
    fs::write(path, lines.concat())?;
    Ok(counts.into_iter().sum())
}
