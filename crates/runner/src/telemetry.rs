//! Logs, traces and metrics of the program.
//!
//! Logs go to stderr. Traces, metrics and logs are exported by OTLP only when an endpoint is named in the environment; a daemon
//! serves metrics, too. Nothing here may fail a run: what cannot be exported is dropped, and counted.

mod backlog;
pub mod catalog;
mod export;
mod logs;
pub mod metrics;

use std::{collections::HashMap, time::Duration};

use opentelemetry::{
    propagation::TextMapPropagator as _,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{error::OTelSdkError, propagation::TraceContextPropagator};
use prometheus::{Registry, TextEncoder};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer as _, filter::FilterExt as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How long the last export may take when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is logged when `RUST_LOG` does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors (`-q`).
    Quiet,
    /// Warnings.
    Default,
    /// What our own crates do (`-v`).
    Verbose,
    /// Every call, too (`-vv`).
    Calls,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG={value:?} is not a log filter; an example is RUST_LOG=warn,runner=debug")]
    Filter {
        /// What it says.
        value: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be made.
    #[error("the OTLP exporter cannot be made from the OTEL_EXPORTER_OTLP_* variables")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// What a scrape reads cannot be made.
    #[error("the metrics that the daemon serves cannot be set up; please report this")]
    Scrape(#[source] OTelSdkError),
    /// Something in this process logs already.
    #[error("logging was started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporters; end it with [`Guard::shutdown`], or the last spans and metrics are lost.
#[must_use]
#[derive(Debug)]
pub struct Guard(export::Exporters);

/// The metrics as Prometheus scrapes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scrape {
    registry: Registry,
    /// Whether they go to a collector, too.
    pub is_pushed: bool,
}

impl Scrape {
    /// The media type of the text.
    pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All metrics as they are now, in Prometheus's text format.
    ///
    /// # Errors
    /// When an instrument cannot be written in it.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Guard {
    /// What a scrape reads, where [`init`] was asked for it.
    #[must_use]
    pub fn scrape(&self) -> Option<Scrape> {
        let registry = self.0.scraped.clone()?;
        Some(Scrape {
            registry,
            is_pushed: self.0.pushes_metrics,
        })
    }

    /// Exports what is still there, for at most a few seconds.
    pub async fn shutdown(self) {
        let (done, ended) = tokio::sync::oneshot::channel();
        // A thread of its own: a blocking task of the runtime would keep the program from ending when the collector hangs.
        std::thread::spawn(move || {
            self.0.shutdown(FLUSH_TIMEOUT);
            // Nobody waits any more when this came too late.
            let _ = done.send(());
        });
        if tokio::time::timeout(FLUSH_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the last spans, metrics and logs could not be exported in time");
        }
    }
}

/// Starts logs on stderr (`json`: one JSON document a line) and, when the environment names an OTLP endpoint, the export
/// of traces, metrics and logs. With `is_scraped`, metrics can be read by [`Guard::scrape`] in any case. Call it once, in the
/// async runtime.
///
/// # Errors
/// When `RUST_LOG` or an `OTEL_EXPORTER_OTLP_*` variable cannot be understood.
pub fn init(verbosity: Verbosity, json: bool, is_scraped: bool) -> Result<Guard, TelemetryError> {
    let logs = logs::layer(verbosity, json)?;
    let filter = logs::filter(verbosity)?;
    let exporters = export::Exporters::from_env(is_scraped)?;
    let traces = exporters.tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(export::ours())
    });
    // After the traces: a record is of the span that is entered by then.
    let exported_logs = exporters.logs().map(|provider| {
        OpenTelemetryTracingBridge::new(provider).with_filter(filter.and(export::ours()))
    });
    tracing_subscriber::registry()
        .with(logs)
        .with(traces)
        .with(exported_logs)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Guard(exporters))
}

/// The id of the trace that this span belongs to, in hexadecimal; none when it is not traced.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// The id of this span, in hexadecimal; none when it is not traced.
#[must_use]
pub fn span_id(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.span_id().to_string())
}

/// What names this span to whoever it asks for something (W3C traceparent); none when it is not traced.
pub(crate) fn traceparent(span: &Span) -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.remove(TRACEPARENT)
}

/// Says that this span was asked for by these (W3C traceparent). What names none is left out.
pub(crate) fn link(span: &Span, askers: &[String]) {
    for asker in askers {
        let headers = HashMap::from([(TRACEPARENT.to_owned(), asker.clone())]);
        let context = TraceContextPropagator::new().extract(&headers);
        let asker: SpanContext = context.span().span_context().clone();
        span.add_link(asker);
    }
}

/// The header that names a span.
const TRACEPARENT: &str = "traceparent";

/// What names the current span in the headers of a request (W3C Trace Context); nothing when it is not traced.
pub(crate) fn trace_headers() -> Vec<(String, String)> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    // An empty tracestate says nothing.
    headers.retain(|_, value: &mut String| !value.is_empty());
    headers.into_iter().collect()
}
