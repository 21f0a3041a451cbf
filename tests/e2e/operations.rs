//! `tests/operations.toml` held against the code that calls and the tests that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use e2e::components::checkout;
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    #[serde(rename = "system")]
    systems: Vec<System>,
    #[serde(rename = "operation", default)]
    operations: Vec<Operation>,
    #[serde(rename = "gap", default)]
    gaps: Vec<Gap>,
}

/// What an emulator cannot do.
#[derive(Deserialize)]
struct Gap {
    system: String,
    operation: String,
}

#[derive(Deserialize)]
struct System {
    name: String,
}

#[derive(Deserialize)]
struct Operation {
    name: String,
    /// System → `path::test`.
    proven: BTreeMap<String, String>,
}

fn table() -> Table {
    let text = fs::read_to_string(checkout().join("tests/operations.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// Every Rust file below `directory`.
fn sources(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// The code before a file's tests.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}

/// AWS operations are named in string literals, such as `"organizations:ListAccounts"`.
fn aws_operations(source: &str) -> impl Iterator<Item = String> {
    let literals = source
        .lines()
        .flat_map(|line| line.split('"').skip(1).step_by(2));
    literals
        .filter(|literal| is_aws_operation(literal))
        .map(str::to_owned)
}

fn is_aws_operation(literal: &str) -> bool {
    const SERVICES: [&str; 9] = [
        "organizations",
        "cloudformation",
        "config",
        "iam",
        "sts",
        "sns",
        "sqs",
        "secretsmanager",
        "ssm",
    ];
    literal.split_once(':').is_some_and(|(service, operation)| {
        SERVICES.contains(&service)
            && operation.starts_with(|first: char| first.is_ascii_uppercase())
            && operation
                .chars()
                .all(|character| character.is_ascii_alphanumeric())
    })
}

/// Spot's operations are routes, such as `Route::get("/setup/account")`.
fn spot_operations(source: &str) -> impl Iterator<Item = String> {
    source.split("Route::").skip(1).filter_map(|rest| {
        let (method, rest) = rest.split_once('(')?;
        let path = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        path.starts_with('/')
            .then(|| format!("spot:{} {path}", method.to_uppercase()))
    })
}

#[test]
fn every_operation_that_we_call_is_in_the_table_and_no_other() {
    let aws = sources(&checkout().join("crates/aws-ops/src"));
    let spot = sources(&checkout().join("crates/spot-api/src"));
    let called: BTreeSet<_> = (aws
        .iter()
        .flat_map(|source| aws_operations(without_tests(source))))
    .chain(
        spot.iter()
            .flat_map(|source| spot_operations(without_tests(source))),
    )
    .collect();
    let table = table();
    let listed: BTreeSet<_> = table
        .operations
        .iter()
        .map(|operation| operation.name.clone())
        .collect();
    assert_eq!(
        listed.len(),
        table.operations.len(),
        "an operation is listed twice"
    );
    let missing: Vec<_> = called.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&called).collect();
    assert!(
        missing.is_empty(),
        "called, but not in tests/operations.toml: {missing:?}"
    );
    assert!(
        stale.is_empty(),
        "in tests/operations.toml, but not called: {stale:?}"
    );
}

#[test]
fn every_operation_is_proven_by_a_test_that_exists() {
    let table = table();
    let systems: BTreeSet<_> = table.systems.iter().map(|system| &system.name).collect();
    let mut wrong = Vec::new();
    for Operation { name, proven } in &table.operations {
        if proven.is_empty() {
            wrong.push(format!("{name} is proven nowhere"));
        }
        for (system, test) in proven {
            if !systems.contains(system) {
                wrong.push(format!("{name} is proven by an unknown system {system}"));
            }
            if !exists(test) {
                wrong.push(format!("{name} is proven by {test}, which does not exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_moto_does_not_prove_is_a_gap_of_moto() {
    let table = table();
    let is_gap = |operation: &str| {
        let mut gaps = table.gaps.iter();
        gaps.any(|gap| gap.system == "moto" && gap.operation == operation)
    };
    let unexplained: Vec<_> = (table.operations.iter())
        .filter(|operation| !operation.name.starts_with("spot:"))
        .filter(|operation| !operation.proven.contains_key("moto") && !is_gap(&operation.name))
        .map(|operation| &operation.name)
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// Whether `path::test` names a function in a file of the checkout.
fn exists(test: &str) -> bool {
    let Some((path, function)) = test.split_once("::") else {
        return false;
    };
    let keyword = if path.ends_with(".py") { "def" } else { "fn" };
    fs::read_to_string(checkout().join(path))
        .is_ok_and(|source| source.contains(&format!("{keyword} {function}(")))
}
