//! The metrics, for people: the catalog that instruments are made from.

use std::fmt::Write as _;

use super::page::GENERATED;
use crate::telemetry::catalog::{ALL, Kind, Metric};

/// `docs/reference/metrics.md`.
pub(super) fn page() -> String {
    let mut page = format!(
        "{GENERATED}# Metrics\n\nWhat `/metrics` of `runner daemon` serves, by the names that Prometheus has; in brackets those of \
         OpenTelemetry, by which they go to a collector ([observability.md](../observability.md)). Counters and histograms are of \
         the process and begin anew with it; a series of one appears with its first event. Gauges of jobs and accounts are read \
         from the state, so they outlive a restart, and daemons on one state tell the same. No label is of one account.\n\n\
         | metric | type | labels | tells |\n|---|---|---|---|\n"
    );
    for metric in ALL {
        let _ = writeln!(
            page,
            "| `{}` (`{}`) | {} | {} | {} |",
            metric.exposed(),
            metric.name,
            kind(metric),
            labels(metric),
            metric.description
        );
    }
    page
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "counter",
        Kind::Histogram(_) => "histogram",
        Kind::Gauge => "gauge",
    }
}

fn labels(metric: &Metric) -> String {
    let labels = metric.labels.iter();
    let labels: Vec<_> = labels
        .map(|label| format!("`{}`", label.replace('.', "_")))
        .collect();
    labels.join(", ")
}
