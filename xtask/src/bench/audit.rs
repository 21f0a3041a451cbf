//! `cargo xtask bench audit`: what deciding about 100,000 accounts takes, and what an audit of 10,000 enrolled ones takes at both
//! depths, with answers that take 25 ms and no rate limits; at full depth once as they should be, and once with a difference in each.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::measure::measure;
use super::report;
use crate::build::{self, Profile};
use crate::paths;
use crate::sandbox::Sandbox;

const LATENCY: Duration = Duration::from_millis(25);
const MIB: u64 = 1024 * 1024;
/// What planning may take, for each kind of job.
const PLANNING: (u64, u64) = (1_000, 500 * MIB);
/// What an audit at full depth may take.
const FULL: (f64, u64) = (90.0, 150 * MIB);
/// Calls that list, at most 100 accounts an answer, and a few that do not depend on the number of accounts.
const PAGE: u64 = 100;
const LISTINGS: u64 = 4;
const SPARE_CALLS: u64 = 500;
/// How many accounts are changed at the same time.
const AT_ONCE: usize = 32;

/// Measures, prints one JSON document, and fails when a figure is over its limit, unless it is a smoke run.
pub(super) fn run(smoke: bool) -> Result<()> {
    let runner = build::runner(if smoke {
        Profile::Dev
    } else {
        Profile::Release
    })?;
    let (planned, audited, units): (u64, u64, u64) = if smoke {
        (2_000, 30, 5)
    } else {
        (100_000, 10_000, 400)
    };
    let differing = usize::try_from(audited)?;
    let mut misses = Vec::new();

    let mut command = Command::new(&runner);
    command.args(["bench-plan", "--accounts", &planned.to_string()]);
    let (stdout, planning) = measure(&command)?;
    ensure!(
        planning.exit_code == 0,
        "`runner bench-plan` exited with {}",
        planning.exit_code
    );
    let plans: Value =
        serde_json::from_str(&stdout).context("`runner bench-plan` printed no JSON")?;
    for plan in plans["plans"].as_array().context("no plans")? {
        let took = plan["duration_ms"].as_u64().context("no duration")?;
        if took >= PLANNING.0 {
            misses.push(format!(
                "planning {}: {took} ms, limit {} ms",
                plan["kind"], PLANNING.0
            ));
        }
    }
    if planning.peak_rss_bytes > PLANNING.1 {
        misses.push(format!(
            "planning: {} MiB, limit {} MiB",
            planning.peak_rss_bytes / MIB,
            PLANNING.1 / MIB
        ));
    }

    let directory = tempfile::tempdir()?;
    paths::copy(
        &paths::root().join("config"),
        &directory.path().join("config"),
    )?;
    let scenario = directory.path().join("scenario.toml");
    fs::write(
        &scenario,
        format!(
            "clock_speed = 600\n\n[organization]\naccounts = {audited}\nous = {units}\ndepth = 3\nrates = false\ntrusted_access = true\n\n\
             [spot]\nrate_limit = 10000000\n\n[latency]\ndefault = \"{}ms\"\n",
            LATENCY.as_millis()
        ),
    )?;
    let sandbox = Sandbox::start(&runner, &scenario, directory.path())?;
    let runner_toml = directory.path().join("config/runner.toml");
    let text = fs::read_to_string(&runner_toml)?;
    let configured = text
        .replace("#served_by = \"provider\"", "served_by = \"run\"")
        .replace("#organizations_share = 0.5", "organizations_share = 100.0")
        .replace(
            "[audit]\n",
            "[audit]\nenabled = true\nrole_name = \"OrganizationAccountAccessRole\"\n",
        );
    ensure!(
        configured.contains("role_name = \"Org")
            && configured.contains("\nserved_by")
            && configured.contains("\norganizations_share"),
        "config/runner.toml has other settings"
    );
    fs::write(&runner_toml, configured)?;
    let run = |job: &str, more: &[&str]| {
        let mut command = Command::new(&runner);
        command
            .args(["--config", "config", "--output", "json", "exec", job])
            .args(more)
            .current_dir(directory.path())
            .envs(sandbox.environment());
        measure(&command)
    };
    let (_, first) = run("stackset-sync", &[])?;
    ensure!(
        matches!(first.exit_code, 0 | 3),
        "stackset-sync exited with {}",
        first.exit_code
    );
    let audit = |depth: &str, fine: u64| -> Result<(Value, _)> {
        let (stdout, cost) = run("drift-audit", &["--set", &format!("params.depth={depth}")])?;
        let document: Value =
            serde_json::from_str(&stdout).context("drift-audit printed no JSON")?;
        ensure!(
            document["summary"]["unchanged"] == fine
                && (fine > 0 || document["findings"].as_array().map(Vec::len) >= Some(differing)),
            "the {depth} audit: {}",
            document["summary"]
        );
        let figures = json!({
            "summary": document["summary"],
            "audited": document["audited"],
            "api_calls": document["api_calls"],
            "cost": cost,
        });
        Ok((figures, cost))
    };
    let (coverage, _) = audit("coverage", audited)?;
    let calls = coverage["api_calls"]
        .as_object()
        .context("no calls")?
        .values();
    let calls: u64 = calls.filter_map(Value::as_u64).sum();
    let pages = LISTINGS * audited.div_ceil(PAGE) + 3 * units + SPARE_CALLS;
    if calls > pages {
        misses.push(format!(
            "the coverage audit made {calls} calls, limit {pages}"
        ));
    }
    let (full, cost) = audit("full", audited)?;
    if cost.wall_seconds >= FULL.0 {
        misses.push(format!(
            "the full audit took {:.1} s, limit {} s",
            cost.wall_seconds, FULL.0
        ));
    }
    if cost.peak_rss_bytes > FULL.1 {
        misses.push(format!(
            "the full audit: {} MiB, limit {} MiB",
            cost.peak_rss_bytes / MIB,
            FULL.1 / MIB
        ));
    }
    differ(&sandbox)?;
    let (all_differ, cost) = audit("full", 0)?;
    if cost.peak_rss_bytes > FULL.1 {
        misses.push(format!(
            "the full audit where all accounts differ: {} MiB, limit {} MiB",
            cost.peak_rss_bytes / MIB,
            FULL.1 / MIB
        ));
    }
    let report = json!({
        "smoke": smoke,
        "planning": { "plans": plans, "cost": planning },
        "accounts": audited,
        "first": first,
        "coverage": coverage,
        "coverage_calls": calls,
        "full": full,
        "all_differ": all_differ,
        "misses": misses,
    });
    report::finish(&report, &misses, smoke)
}

/// Lets the role of every account differ from its template.
fn differ(sandbox: &Sandbox) -> Result<()> {
    let roles = sandbox.linked_roles()?;
    let parts = roles.chunks(roles.len().div_ceil(AT_ONCE).max(1));
    std::thread::scope(|scope| {
        let change = |part: &[String]| {
            part.iter()
                .try_for_each(|role| sandbox.add_stray_policy(role))
        };
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(move || change(part)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            ended.map_err(|_| anyhow::anyhow!("a thread that changes roles panicked"))?
        })
    })
}
