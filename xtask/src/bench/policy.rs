//! `cargo xtask bench policy`: how long it takes to compare two policies that are as long as IAM lets them be.
//!
//! `runner policy bench` reads and compares them again and again in one process and prints what that took.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::measure::measure;
use super::report;
use crate::build::{self, Profile};
use crate::paths;

/// Most that reading and comparing may take, in the median.
const LIMIT_US: f64 = 1_000.0;
/// The length that both policies have, as IAM counts.
const CHARACTERS: usize = 6_144;

/// Compares Spot's policy with variants of it, prints one JSON document, and fails when one takes too long, unless it is a
/// smoke run.
pub(super) fn run(smoke: bool) -> Result<()> {
    let runner = build::runner(if smoke {
        Profile::Dev
    } else {
        Profile::Release
    })?;
    let rounds = if smoke { "2" } else { "2000" };
    let directory = tempfile::tempdir()?;
    let base =
        fs::read_to_string(paths::root().join("config/policies/spot-elastigroup-ocean.json"))?;
    let base: Value = serde_json::from_str(&base).context("Spot's policy is no JSON")?;
    let before = directory.path().join("before.json");
    let base = filled(base)?;
    fs::write(&before, base.to_string())?;
    let mut comparisons = Vec::new();
    let mut misses = Vec::new();
    for (case, after) in variants(&base)? {
        let path = directory.path().join("after.json");
        fs::write(&path, filled(after)?.to_string())?;
        let mut command = std::process::Command::new(&runner);
        command
            .args(["policy", "bench", "--rounds", rounds])
            .args([&before, &path]);
        let (stdout, cost) = measure(&command)?;
        ensure!(
            cost.exit_code == 0,
            "`runner policy bench` exited with {}",
            cost.exit_code
        );
        let figures: Value = serde_json::from_str(&stdout)
            .with_context(|| format!("`runner policy bench` printed {stdout:?}"))?;
        let median = figures["median_us"].as_f64().context("no median_us")?;
        if median >= LIMIT_US {
            misses.push(format!("{case}: {median:.0} us, limit {LIMIT_US} us"));
        }
        comparisons.push(json!({ "case": case, "figures": figures, "cost": cost }));
    }
    let report = json!({ "smoke": smoke, "policy": comparisons, "misses": misses });
    report::finish(&report, &misses, smoke)
}

/// The policies that Spot's is compared with: itself written differently, with other actions, and on other terms.
fn variants(base: &Value) -> Result<Vec<(&'static str, Value)>> {
    let statements = base["Statement"].as_array().context("no statements")?;
    let mut reordered = base.clone();
    reordered["Statement"] = statements.iter().rev().cloned().collect();
    let mut other_actions = base.clone();
    for statement in array(&mut other_actions["Statement"])? {
        let actions = array(&mut statement["Action"])?;
        if actions.len() > 1 {
            actions.pop();
            actions[0] = json!("sqs:Receive*");
        }
    }
    let mut conditional = base.clone();
    for statement in array(&mut conditional["Statement"])?.iter_mut().step_by(4) {
        statement["Condition"] =
            json!({"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}});
    }
    Ok(vec![
        ("reordered", reordered),
        ("other actions", other_actions),
        ("conditions", conditional),
    ])
}

fn array(value: &mut Value) -> Result<&mut Vec<Value>> {
    value.as_array_mut().context("no list")
}

/// The policy with actions of its own added or its last ones taken away, until it has the length.
fn filled(mut policy: Value) -> Result<Value> {
    let length = |policy: &Value| {
        policy
            .to_string()
            .chars()
            .filter(|c| !c.is_whitespace())
            .count()
    };
    while length(&policy) > CHARACTERS {
        let statements = array(&mut policy["Statement"])?;
        let longest = statements
            .iter_mut()
            .filter_map(|statement| statement["Action"].as_array_mut())
            .max_by_key(|actions| actions.len());
        longest.context("no actions")?.pop();
    }
    // `,"sqs:…"` has room for at least one letter after the colon.
    let room = CHARACTERS - length(&policy);
    if room > r#","sqs:""#.len() {
        let name = "A".repeat(room - r#","sqs:""#.len());
        array(&mut policy["Statement"][0]["Action"])?.push(json!(format!("sqs:{name}")));
    }
    Ok(policy)
}
