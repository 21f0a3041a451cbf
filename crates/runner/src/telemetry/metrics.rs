//! The program's metrics, each defined once as an OpenTelemetry instrument. Without an exporter they cost next to nothing.

use std::{collections::BTreeMap, fmt::Display, sync::LazyLock, time::Duration};

use onboarding_core::governor::spot::WindowSnapshot;
use onboarding_provider::Event;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram, Meter},
};
use spot_api::observe::{CallEvent, CallObserver};

use crate::engine::{ErrorClass, RunReport, StepOutcome};

/// The name of the instrumentation scope.
pub(super) const SCOPE: &str = "runner";

struct Instruments {
    runs: Counter<u64>,
    run_seconds: Histogram<f64>,
    steps: Counter<u64>,
    step_seconds: Histogram<f64>,
    retries: Counter<u64>,
    spot_wait_seconds: Histogram<f64>,
    spot_retries: Counter<u64>,
    refused: Counter<u64>,
}

/// Made at first use, which is after [`super::init`] has installed the meter provider.
static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = global::meter(SCOPE);
    Instruments {
        runs: meter
            .u64_counter("runner.runs")
            .with_description("Runs that ended, by job, kind and status")
            .build(),
        run_seconds: meter
            .f64_histogram("runner.run.duration")
            .with_unit("s")
            .with_description("How long runs took")
            .build(),
        steps: meter
            .u64_counter("runner.steps")
            .with_description("Steps that ended, by kind, action and outcome")
            .build(),
        step_seconds: meter
            .f64_histogram("runner.step.duration")
            .with_unit("s")
            .with_description("How long steps took, waits included")
            .build(),
        retries: meter
            .u64_counter("runner.step.retries")
            .with_description("Attempts of steps that failed and were repeated, by error class")
            .build(),
        spot_wait_seconds: meter
            .f64_histogram("runner.spot.wait.duration")
            .with_unit("s")
            .with_description(
                "How long the rate governor held back those requests to Spot that had to wait",
            )
            .build(),
        spot_retries: meter
            .u64_counter("runner.spot.retries")
            .with_description("Requests to Spot that failed and were repeated, by reason")
            .build(),
        refused: meter
            .u64_counter("runner.provider.refused")
            .with_description("Events that the provider refused, at each delivery, by reason")
            .build(),
    }
});

/// A run ended.
pub fn run_ended(report: &RunReport) {
    let labels = [
        KeyValue::new("job.name", report.job.clone()),
        KeyValue::new("job.kind", report.kind),
        KeyValue::new("run.status", report.status().code()),
    ];
    INSTRUMENTS.runs.add(1, &labels);
    INSTRUMENTS
        .run_seconds
        .record(report.duration.as_secs_f64(), &labels);
}

/// A step ended.
pub fn step_ended(kind: &'static str, action: &str, outcome: StepOutcome, duration: Duration) {
    let labels = [
        KeyValue::new("job.kind", kind),
        KeyValue::new("step.action", action.to_owned()),
        KeyValue::new("step.outcome", outcome.code()),
    ];
    INSTRUMENTS.steps.add(1, &labels);
    INSTRUMENTS
        .step_seconds
        .record(duration.as_secs_f64(), &labels);
}

/// An attempt of a step failed and is repeated.
pub fn step_retried(kind: &'static str, action: &str, class: ErrorClass) {
    let labels = [
        KeyValue::new("job.kind", kind),
        KeyValue::new("step.action", action.to_owned()),
        KeyValue::new("error.type", class.code()),
    ];
    INSTRUMENTS.retries.add(1, &labels);
}

/// Something happened to a request of the provider.
pub fn provider_event(event: &Event) {
    if let Some(refusal) = event.refusal() {
        let labels = [KeyValue::new("error.type", refusal.code())];
        INSTRUMENTS.refused.add(1, &labels);
    }
}

/// Counts what happens to calls of Spot.
#[derive(Debug, Clone, Copy)]
pub struct SpotCalls;

impl CallObserver for SpotCalls {
    fn observe(&self, event: CallEvent) {
        match event {
            CallEvent::Waited { route, waited } => INSTRUMENTS
                .spot_wait_seconds
                .record(waited.as_secs_f64(), &[spot_method(route)]),
            CallEvent::Retrying { route, reason, .. } => INSTRUMENTS.spot_retries.add(
                1,
                &[
                    spot_method(route),
                    KeyValue::new("error.type", reason.as_str()),
                ],
            ),
            // The client counts its requests itself.
            CallEvent::Ended { .. } => {}
        }
    }
}

/// A route as the counts of calls name it.
fn spot_method(route: impl Display) -> KeyValue {
    KeyValue::new("rpc.method", format!("spot:{route}"))
}

/// Exports Spot's rate windows as gauges, by route. The source is read at each export and must return at once.
pub fn observe_windows(source: impl Fn() -> Vec<WindowSnapshot> + Clone + Send + Sync + 'static) {
    let meter = global::meter(SCOPE);
    window_gauge(
        &meter,
        ("runner.spot.window.limit", "{request}"),
        "Requests that Spot allows in its window, by route",
        source.clone(),
        |window| window.limit.map(f64::from),
    );
    window_gauge(
        &meter,
        ("runner.spot.window.remaining", "{request}"),
        "Requests that may be sent now without waiting, by route",
        source.clone(),
        |window| window.available.map(f64::from),
    );
    window_gauge(
        &meter,
        ("runner.spot.window.blocked", "s"),
        "How long nothing may be sent; 0 when something may, by route",
        source,
        |window| Some(window.blocked_for.as_secs_f64()),
    );
}

fn window_gauge(
    meter: &Meter,
    (name, unit): (&'static str, &'static str),
    description: &'static str,
    source: impl Fn() -> Vec<WindowSnapshot> + Send + Sync + 'static,
    value: fn(&WindowSnapshot) -> Option<f64>,
) {
    // The instrument lives as long as its meter provider; the handle has nothing more to do.
    let _ = meter
        .f64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |observer| {
            for window in source() {
                if let Some(value) = value(&window) {
                    observer.observe(value, &[spot_method(window.route)]);
                }
            }
        })
        .build();
}

/// Exports what a client counts (calls by operation, throttles by operation) as a counter of this name. The source is
/// read at each export and must return at once.
pub fn observe_counts(
    name: &'static str,
    description: &'static str,
    source: impl Fn() -> BTreeMap<String, u64> + Send + Sync + 'static,
) {
    // The instrument lives as long as its meter provider; the handle has nothing more to do.
    let _ = global::meter(SCOPE)
        .u64_observable_counter(name)
        .with_description(description)
        .with_callback(move |observer| {
            for (operation, count) in source() {
                observer.observe(count, &[KeyValue::new("rpc.method", operation)]);
            }
        })
        .build();
}
