//! Logs, traces and metrics of the program.
//!
//! Logs go to stderr. Traces and metrics are exported by OTLP only when an endpoint is named in the environment. Nothing
//! here may fail a run: what cannot be exported is dropped.

pub mod metrics;

use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

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
