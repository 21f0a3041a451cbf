//! The program's instruments. Without an exporter they cost next to nothing.

use std::{collections::BTreeMap, fmt::Display, sync::LazyLock, time::Duration};

use onboarding_core::{custom_resource::Status, events::EventKind, governor::spot::WindowSnapshot};
use onboarding_provider::{Event, Phase, Refusal};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};
use spot_api::observe::{CallEvent, CallObserver};

use super::catalog::{self, Kind, Metric};
use crate::engine::{ErrorClass, RunReport, RunStatus, StepOutcome};

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
    answers: Counter<u64>,
    refused: Counter<u64>,
    events: Counter<u64>,
}

/// Made at first use, which is after [`super::init`] has installed the meter provider.
static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| Instruments {
    runs: counter(&catalog::RUNS),
    run_seconds: histogram(&catalog::RUN_DURATION),
    steps: counter(&catalog::STEPS),
    step_seconds: histogram(&catalog::STEP_DURATION),
    retries: counter(&catalog::STEP_RETRIES),
    spot_wait_seconds: histogram(&catalog::SPOT_WAIT),
    spot_retries: counter(&catalog::SPOT_RETRIES),
    answers: counter(&catalog::PROVIDER_ANSWERS),
    refused: counter(&catalog::PROVIDER_REFUSED),
    events: counter(&catalog::EVENTS),
});

fn counter(metric: &'static Metric) -> Counter<u64> {
    global::meter(SCOPE)
        .u64_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .build()
}

fn histogram(metric: &'static Metric) -> Histogram<f64> {
    let bounds = match metric.kind {
        Kind::Histogram(bounds) => bounds.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    global::meter(SCOPE)
        .f64_histogram(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .with_boundaries(bounds)
        .build()
}

/// What a metric says of one series.
pub type Sample = (Vec<KeyValue>, f64);

/// Exports a gauge. The source is read at each export and must return at once.
pub fn observe_gauge(
    metric: &'static Metric,
    source: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
) {
    // The instrument lives as long as its meter provider; the handle has nothing more to do.
    let _ = global::meter(SCOPE)
        .f64_observable_gauge(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .with_callback(move |observer| {
            for (labels, value) in source() {
                observer.observe(value, &labels);
            }
        })
        .build();
}

/// Exports what somebody else counts. The source is read at each export and must return at once.
pub fn observe_counter(
    metric: &'static Metric,
    source: impl Fn() -> Vec<(Vec<KeyValue>, u64)> + Send + Sync + 'static,
) {
    // As above.
    let _ = global::meter(SCOPE)
        .u64_observable_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .with_callback(move |observer| {
            for (labels, count) in source() {
                observer.observe(count, &labels);
            }
        })
        .build();
}

/// Begins the counters whose labels are known before at zero: what appears with its first event has not increased, as
/// Prometheus sees it.
pub fn begin() {
    for refusal in Refusal::ALL {
        INSTRUMENTS.refused.add(0, &[error_type(refusal.code())]);
    }
    for answer in [SUCCESS, FAILED, UNDELIVERABLE] {
        INSTRUMENTS.answers.add(0, &[provider_answer(answer)]);
    }
    for kind in EventKind::ALL {
        INSTRUMENTS
            .events
            .add(0, &event_labels(Some(kind), EventOutcome::Wakes));
    }
    for outcome in [EventOutcome::OfNoInterest, EventOutcome::NotUnderstood] {
        INSTRUMENTS.events.add(0, &event_labels(None, outcome));
    }
}

/// What became of a message of the wake-up queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// A run is asked for.
    Wakes,
    /// No job is woken by it.
    NoJob,
    /// A run of ours made it.
    OfARun,
    /// It was dealt with before.
    Repeated,
    /// It tells nothing that matters.
    OfNoInterest,
    /// It is no event.
    NotUnderstood,
}

impl EventOutcome {
    fn code(self) -> &'static str {
        match self {
            Self::Wakes => "wakes",
            Self::NoJob => "no-job",
            Self::OfARun => "of-a-run",
            Self::Repeated => "repeated",
            Self::OfNoInterest => "of-no-interest",
            Self::NotUnderstood => "not-understood",
        }
    }
}

/// A message of the wake-up queue was dealt with.
pub fn event(kind: Option<EventKind>, outcome: EventOutcome) {
    INSTRUMENTS.events.add(1, &event_labels(kind, outcome));
}

fn event_labels(kind: Option<EventKind>, outcome: EventOutcome) -> [KeyValue; 2] {
    [
        KeyValue::new("event.kind", kind.map_or("none", EventKind::code)),
        KeyValue::new("event.outcome", outcome.code()),
    ]
}

/// A run ended.
pub fn run_ended(report: &RunReport) {
    let labels = run_labels(&report.job, &report.kind, report.status());
    INSTRUMENTS.runs.add(1, &labels);
    INSTRUMENTS
        .run_seconds
        .record(report.duration.as_secs_f64(), &labels);
}

/// A run could not begin.
pub fn run_unbegun(job: &str, kind: &str) {
    INSTRUMENTS
        .runs
        .add(1, &run_labels(job, kind, RunStatus::Failed));
}

fn run_labels(job: &str, kind: &str, status: RunStatus) -> [KeyValue; 3] {
    [
        KeyValue::new("job.name", job.to_owned()),
        KeyValue::new("job.kind", kind.to_owned()),
        KeyValue::new("run.status", status.code()),
    ]
}

/// A step ended.
pub fn step_ended(kind: &str, action: &str, outcome: StepOutcome, duration: Duration) {
    let labels = [
        KeyValue::new("job.kind", kind.to_owned()),
        KeyValue::new("step.action", action.to_owned()),
        KeyValue::new("step.outcome", outcome.code()),
    ];
    INSTRUMENTS.steps.add(1, &labels);
    INSTRUMENTS
        .step_seconds
        .record(duration.as_secs_f64(), &labels);
}

/// An attempt of a step failed and is repeated.
pub fn step_retried(kind: &str, action: &str, class: ErrorClass) {
    let labels = [
        KeyValue::new("job.kind", kind.to_owned()),
        KeyValue::new("step.action", action.to_owned()),
        error_type(class.code()),
    ];
    INSTRUMENTS.retries.add(1, &labels);
}

const SUCCESS: &str = "success";
const FAILED: &str = "failed";
const UNDELIVERABLE: &str = "undeliverable";

/// Something happened to a request of the provider.
pub fn provider_event(event: &Event) {
    if let Some(refusal) = event.refusal() {
        INSTRUMENTS.refused.add(1, &[error_type(refusal.code())]);
    }
    let answer = match &event.phase {
        Phase::Answered { status, .. } => match status {
            Status::Success => SUCCESS,
            Status::Failed => FAILED,
        },
        Phase::Undeliverable { .. } => UNDELIVERABLE,
        _ => return,
    };
    INSTRUMENTS.answers.add(1, &[provider_answer(answer)]);
}

fn provider_answer(answer: &'static str) -> KeyValue {
    KeyValue::new("provider.answer", answer)
}

fn error_type(code: &'static str) -> KeyValue {
    KeyValue::new("error.type", code)
}

/// Counts what happens to calls of Spot, and lets them carry the trace that they belong to.
#[derive(Debug, Clone, Copy)]
pub struct SpotCalls;

impl CallObserver for SpotCalls {
    fn observe(&self, event: CallEvent) {
        match event {
            CallEvent::Waited { route, waited } => INSTRUMENTS
                .spot_wait_seconds
                .record(waited.as_secs_f64(), &[spot_method(route)]),
            CallEvent::Retrying { route, reason, .. } => INSTRUMENTS
                .spot_retries
                .add(1, &[spot_method(route), error_type(reason.as_str())]),
            // The client counts its requests itself.
            CallEvent::Ended { .. } => {}
        }
    }

    fn headers(&self) -> Vec<(String, String)> {
        super::trace_headers()
    }
}

/// A route as the counts of calls name it.
fn spot_method(route: impl Display) -> KeyValue {
    KeyValue::new("rpc.method", format!("spot:{route}"))
}

/// Exports Spot's rate windows, by route. The source is read at each export and must return at once.
pub fn observe_windows(source: impl Fn() -> Vec<WindowSnapshot> + Clone + Send + Sync + 'static) {
    type Value = fn(&WindowSnapshot) -> Option<f64>;
    let gauges: [(&'static Metric, Value); 3] = [
        (&catalog::SPOT_WINDOW_LIMIT, |window| {
            window.limit.map(f64::from)
        }),
        (&catalog::SPOT_WINDOW_REMAINING, |window| {
            window.available.map(f64::from)
        }),
        (&catalog::SPOT_WINDOW_BLOCKED, |window| {
            Some(window.blocked_for.as_secs_f64())
        }),
    ];
    for (metric, value) in gauges {
        let source = source.clone();
        observe_gauge(metric, move || {
            let windows = source().into_iter();
            let samples = windows.filter_map(|window| {
                let value = value(&window)?;
                Some((vec![spot_method(window.route)], value))
            });
            samples.collect()
        });
    }
}

/// Exports what a client counts, by operation. The source is read at each export and must return at once.
pub fn observe_counts(
    metric: &'static Metric,
    source: impl Fn() -> BTreeMap<String, u64> + Send + Sync + 'static,
) {
    observe_counter(metric, move || {
        let counts = source().into_iter();
        counts
            .map(|(operation, count)| (vec![KeyValue::new("rpc.method", operation)], count))
            .collect()
    });
}
