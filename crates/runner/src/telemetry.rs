//! Logs, traces and metrics of the program.
//!
//! Logs go to stderr. Traces and metrics are exported by OTLP only when an endpoint is named in the environment. Nothing
//! here may fail a run: what cannot be exported is dropped.

mod export;
mod logs;
pub mod metrics;

use std::time::Duration;

use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

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
    /// Something in this process logs already.
    #[error("logging was started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporters; end it with [`Guard::shutdown`], or the last spans and metrics are lost.
#[must_use]
#[derive(Debug)]
pub struct Guard(export::Exporters);

impl Guard {
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
            tracing::warn!("the last spans and metrics could not be exported in time");
        }
    }
}

/// Starts logs on stderr (`json`: one JSON document a line) and, when the environment names an OTLP endpoint, the export
/// of traces and metrics. Call it once, in the async runtime.
///
/// # Errors
/// When `RUST_LOG` or an `OTEL_EXPORTER_OTLP_*` variable cannot be understood.
pub fn init(verbosity: Verbosity, json: bool) -> Result<Guard, TelemetryError> {
    let logs = logs::layer(verbosity, json)?;
    let exporters = export::Exporters::from_env()?;
    let traces = exporters.tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(export::our_spans())
    });
    tracing_subscriber::registry()
        .with(logs)
        .with(traces)
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
