//! What `deploy/` has for Grafana and Prometheus asks for metrics, labels and label values that exist.
//! That they are documented, and that what is documented is served, is for the daemon's tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use e2e::components;
use serde_json::Value;

/// The documented metrics and their labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::new();
    for row in read("docs/reference/metrics.md").lines() {
        let Some(row) = row.strip_prefix("| `runner_") else {
            continue;
        };
        let columns: Vec<&str> = row.split(" | ").collect();
        let name = columns[0].split('`').next().unwrap();
        let labels = columns[2].split('`').skip(1).step_by(2);
        let labels: BTreeSet<String> = labels.map(str::to_owned).collect();
        if columns[1] == "histogram" {
            let mut of_buckets = labels.clone();
            of_buckets.insert("le".to_owned());
            metrics.insert(format!("runner_{name}_bucket"), of_buckets);
            metrics.insert(format!("runner_{name}_sum"), labels.clone());
            metrics.insert(format!("runner_{name}_count"), labels);
        } else {
            metrics.insert(format!("runner_{name}"), labels);
        }
    }
    assert!(metrics.len() > 30, "{metrics:?}");
    metrics
}

fn read(path: &str) -> String {
    let path = components::checkout().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The texts of a document under this key, wherever it is.
fn texts(document: &Value, key: &str, found: &mut Vec<String>) {
    match document {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == key => found.push(text.clone()),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// The words of an expression that could be metrics or labels, with what stands right behind each. Texts are left out.
fn words(expression: &str) -> Vec<(String, char)> {
    let mut words = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"' || c == '$') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            let end = text.find('"').expect("a text that does not end");
            rest = &text[end + 1..];
            continue;
        }
        let end = rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        let next = behind.trim_start().chars().next().unwrap_or(' ');
        words.push((word.to_owned(), next));
        rest = behind;
    }
    words
}

/// Every word is a metric of ours, a label of one that the expression asks for, or of the language.
#[track_caller]
fn assert_asks_for_what_exists(
    expression: &str,
    metrics: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    const LANGUAGE: [&str; 27] = [
        "absent",
        "and",
        "avg",
        "avg_over_time",
        "by",
        "count",
        "histogram_quantile",
        "increase",
        "label_values",
        "last_over_time",
        "max",
        "max_over_time",
        "min",
        "min_over_time",
        "on",
        "or",
        "rate",
        "sum",
        "time",
        "topk",
        "unless",
        "vector",
        "without",
        "m",
        "h",
        "d",
        "s",
    ];
    let words = words(expression);
    let asked: BTreeSet<String> = words
        .iter()
        .map(|(word, _)| word.clone())
        .filter(|word| metrics.contains_key(word))
        .collect();
    assert!(!asked.is_empty(), "no metric in {expression}");
    let labels: BTreeSet<&String> = asked.iter().flat_map(|metric| &metrics[metric]).collect();
    for (word, next) in words {
        let is_known = asked.contains(&word)
            || labels.contains(&word)
            || (LANGUAGE.contains(&word.as_str()) && next != '{' && next != '=');
        assert!(
            is_known,
            "{word} is neither a metric nor a label of one: {expression}"
        );
    }
    asked
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let metrics = documented();
    let rules: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yaml")).unwrap();
    let mut names = Vec::new();
    texts(&rules, "alert", &mut names);
    let mut expressions = Vec::new();
    texts(&rules, "expr", &mut expressions);
    assert_eq!(names.len(), expressions.len());
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    for expression in &expressions {
        assert_asks_for_what_exists(expression, &metrics);
    }
    let mut told = Vec::new();
    texts(&rules, "summary", &mut told);
    texts(&rules, "description", &mut told);
    assert_eq!(told.len(), 2 * names.len());
    // What a text names of a series must be left in it.
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let text = rule["annotations"].to_string();
        let by = rule["expr"].as_str().unwrap();
        for label in text.split("$labels.").skip(1) {
            let label: String = label
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                label == "instance" || by.contains(&label),
                "{label}: {rule:#}"
            );
        }
    }
}

/// Of metrics that are read from the state, which have gaps while it does not answer and while a daemon is replaced.
fn is_of_the_state(metric: &str) -> bool {
    const OF_THE_DEFINITIONS: [&str; 3] = [
        "runner_job_enabled",
        "runner_job_broken",
        "runner_job_next_tick_timestamp_seconds",
    ];
    let families = [
        "runner_job_",
        "runner_frozen",
        "runner_accounts_",
        "runner_notifications_",
    ];
    let mut families = families.iter();
    families.any(|family| metric.starts_with(family)) && !OF_THE_DEFINITIONS.contains(&metric)
}

/// An alert that resolves whenever a daemon is replaced pages again for nothing, or, where it is pending for days, never.
#[test]
fn a_gap_neither_resolves_an_alert_nor_keeps_it_from_firing() {
    let metrics = documented();
    let rules: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yaml")).unwrap();
    let mut seen = 0;
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        for metric in assert_asks_for_what_exists(expression, &metrics) {
            if is_of_the_state(&metric) {
                seen += 1;
                let last = format!("last_over_time({metric}");
                let bridged = expression.matches(&last).count();
                let asked = expression.matches(metric.as_str()).count();
                assert_eq!(bridged, asked, "{metric}: {rule:#}");
            }
        }
        let pending = rule["for"].as_str().unwrap_or("0m");
        assert!(pending == "1h" || pending.ends_with('m'), "{rule:#}");
    }
    assert!(seen > 10);
}

#[test]
fn the_dashboard_asks_for_every_metric_and_for_no_other() {
    let metrics = documented();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/runner.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let mut asked = BTreeSet::new();
    for expression in &expressions {
        asked.extend(assert_asks_for_what_exists(expression, &metrics));
    }
    let mut variables = Vec::new();
    texts(&dashboard["templating"], "definition", &mut variables);
    assert_eq!(variables, ["label_values(runner_job_enabled, job_name)"]);
    asked.extend(assert_asks_for_what_exists(&variables[0], &metrics));
    // Of a histogram the buckets; of the ends of runs, the successes.
    let others: Vec<&String> = metrics
        .keys()
        .filter(|name| !asked.contains(*name))
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count"))
        .collect();
    assert_eq!(others, ["runner_job_last_end_timestamp_seconds"]);

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn an_expression_with_a_slip_is_seen() {
    let metrics = documented();
    for slip in [
        "sum(runner_frozn)",
        "max by (job) (runner_job_paused) + runner_frozen",
        "runner_job_paused{jobname=\"a\"}",
        "up{job=\"runner\"}",
    ] {
        let seen = std::panic::catch_unwind(|| assert_asks_for_what_exists(slip, &metrics));
        assert!(seen.is_err(), "{slip}");
    }
    assert_asks_for_what_exists(
        "max by (job_name) (rate(runner_runs_total{run_status=\"jobname\"}[5m]))",
        &metrics,
    );
}
