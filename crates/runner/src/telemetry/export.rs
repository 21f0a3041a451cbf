//! OTLP export of traces and metrics.
//!
//! The exporter reads its endpoint, headers, protocol, timeout, compression and the batch sizes from the environment by
//! itself; it does not read OTEL_SDK_DISABLED and OTEL_{TRACES,METRICS}_EXPORTER, so those are read here. Names and
//! meanings: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration".

use std::time::Duration;

use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{TelemetryError, metrics::SCOPE};

/// Spans that may wait for export, when OTEL_BSP_MAX_QUEUE_SIZE does not say: a run of many steps ends many at once, and
/// what does not fit is dropped.
const SPAN_QUEUE: usize = 16_384;

/// What is exported; nothing, unless the environment asks for it.
#[derive(Debug, Default)]
pub(super) struct Exporters {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Exporters {
    pub(super) fn from_env() -> Result<Self, TelemetryError> {
        let env = |name: &str| std::env::var(name).ok();
        let mut exporters = Self::default();
        if is_wanted("TRACES", env) {
            let exporter = SpanExporter::builder()
                .build()
                .map_err(TelemetryError::Exporter)?;
            let mut batches = BatchConfigBuilder::default();
            if env("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
                batches = batches.with_max_queue_size(SPAN_QUEUE);
            }
            let processor = BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches.build())
                .build();
            let provider = SdkTracerProvider::builder()
                .with_resource(resource())
                .with_span_processor(processor)
                .build();
            exporters.traces = Some(provider);
        }
        if is_wanted("METRICS", env) {
            let exporter = MetricExporter::builder()
                .build()
                .map_err(TelemetryError::Exporter)?;
            let provider = SdkMeterProvider::builder()
                .with_resource(resource())
                .with_periodic_exporter(exporter)
                .build();
            global::set_meter_provider(provider.clone());
            exporters.metrics = Some(provider);
        }
        Ok(exporters)
    }

    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        self.traces.as_ref().map(|provider| provider.tracer(SCOPE))
    }

    pub(super) fn shutdown(self, timeout: Duration) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last spans could not be exported");
        }
        if let Some(metrics) = self.metrics
            && let Err(error) = metrics.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last metrics could not be exported");
        }
    }
}

/// Spans of our own crates. The exporter's own crates would make spans of exporting spans.
pub(super) fn our_spans() -> Targets {
    Targets::new().with_targets(super::logs::OURS.map(|name| (name, LevelFilter::DEBUG)))
}

/// Whether the environment asks for this signal (`TRACES`, `METRICS`) to be exported.
fn is_wanted(signal: &str, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporter = set(&format!("OTEL_{signal}_EXPORTER"));
    let endpoint = set("OTEL_EXPORTER_OTLP_ENDPOINT")
        .or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")));
    !disabled && endpoint.is_some() && exporter.is_none_or(|exporter| exporter == "otlp")
}

/// Who we are: as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else `runner`.
fn resource() -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES")
            .is_ok_and(|attributes| attributes.contains("service.name="));
    let builder = Resource::builder().with_attribute(opentelemetry::KeyValue::new(
        "service.version",
        env!("CARGO_PKG_VERSION"),
    ));
    if named {
        builder.build()
    } else {
        builder.with_service_name("runner").build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(signal: &str, set: &[(&str, &str)]) -> bool {
        is_wanted(signal, |name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        let only_metrics = (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://127.0.0.1:4317",
        );
        assert!(!wanted("TRACES", &[]));
        assert!(!wanted("TRACES", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(wanted("TRACES", &[endpoint]));
        assert!(wanted("METRICS", &[endpoint]));
        assert!(wanted("METRICS", &[only_metrics]));
        assert!(!wanted("TRACES", &[only_metrics]));
    }

    #[test]
    fn the_sdk_or_one_signal_can_be_switched_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        assert!(!wanted(
            "TRACES",
            &[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]
        ));
        assert!(wanted(
            "TRACES",
            &[endpoint, ("OTEL_SDK_DISABLED", "false")]
        ));
        let no_traces = ("OTEL_TRACES_EXPORTER", "none");
        assert!(!wanted("TRACES", &[endpoint, no_traces]));
        assert!(wanted("METRICS", &[endpoint, no_traces]));
        assert!(wanted(
            "TRACES",
            &[endpoint, ("OTEL_TRACES_EXPORTER", "otlp")]
        ));
    }
}
