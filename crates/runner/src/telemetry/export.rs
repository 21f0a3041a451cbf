//! OTLP export of traces, metrics and logs, and the metrics that a daemon serves.
//!
//! The exporter reads its endpoint, headers, protocol, timeout, compression and the batch sizes from the environment by
//! itself; it does not read OTEL_SDK_DISABLED and OTEL_{TRACES,METRICS,LOGS}_EXPORTER, so those are read here. Names and
//! meanings: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration".

use std::{sync::Arc, time::Duration};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    logs::{BatchConfigBuilder as LogBatches, BatchLogProcessor, SdkLoggerProvider},
    metrics::{Instrument, SdkMeterProvider, Stream},
    trace::{BatchConfigBuilder as SpanBatches, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use prometheus::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{
    TelemetryError,
    backlog::{Backlog, Bounded, Counted},
    catalog,
    metrics::{SCOPE, observe_counter},
};

/// Spans that may wait for export, when OTEL_BSP_MAX_QUEUE_SIZE does not say: at the end of an operation a span ends for each of
/// its accounts at once, and 10,000 of them must fit.
const SPAN_QUEUE: usize = 16_384;

/// Log records that may wait for export, when OTEL_BLRP_MAX_QUEUE_SIZE does not say: the specification's default.
const LOG_QUEUE: usize = 2_048;

/// Series that a metric of jobs may have.
const MOST_OF_JOBS: usize = 20_000;

/// What is exported; nothing, unless the environment asks for it or somebody scrapes.
#[derive(Debug)]
pub(super) struct Exporters {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
    /// What a scrape reads.
    pub(super) scraped: Option<Registry>,
    /// Whether metrics go to a collector, too.
    pub(super) pushes_metrics: bool,
}

impl Exporters {
    /// As the environment says; with `is_scraped`, metrics can be read in any case.
    pub(super) fn from_env(is_scraped: bool) -> Result<Self, TelemetryError> {
        let env = |name: &str| std::env::var(name).ok();
        let size = |name, default| {
            let number = env(name).and_then(|text| text.trim().parse().ok());
            number.filter(|size| *size > 0).unwrap_or(default)
        };
        let spans = Backlog::new("traces", size("OTEL_BSP_MAX_QUEUE_SIZE", SPAN_QUEUE));
        let records = Backlog::new("logs", size("OTEL_BLRP_MAX_QUEUE_SIZE", LOG_QUEUE));
        let traces = is_wanted("TRACES", env)
            .then(|| traces(&spans))
            .transpose()?;
        let logs = is_wanted("LOGS", env).then(|| logs(&records)).transpose()?;
        let pushes_metrics = is_wanted("METRICS", env);
        let scraped = is_scraped.then(Registry::new);
        let metrics = metrics(scraped.as_ref(), pushes_metrics)?;
        if let Some(metrics) = &metrics {
            global::set_meter_provider(metrics.clone());
            observe_counter(&catalog::TELEMETRY_DROPPED, move || {
                lost(&[&spans, &records])
            });
        }
        Ok(Self {
            traces,
            metrics,
            logs,
            scraped,
            pushes_metrics,
        })
    }

    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        self.traces.as_ref().map(|provider| provider.tracer(SCOPE))
    }

    pub(super) fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.logs.as_ref()
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
        // Last: what the others say is exported, too.
        if let Some(logs) = self.logs
            && let Err(error) = logs.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last logs could not be exported");
        }
    }
}

fn traces(backlog: &Arc<Backlog>) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .build()
        .map_err(TelemetryError::Exporter)?;
    let exporter = Counted {
        exporter,
        backlog: Arc::clone(backlog),
    };
    let batches = SpanBatches::default().with_max_queue_size(backlog.most);
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let processor = Bounded {
        processor,
        backlog: Arc::clone(backlog),
    };
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        .with_span_processor(processor)
        .build())
}

fn logs(backlog: &Arc<Backlog>) -> Result<SdkLoggerProvider, TelemetryError> {
    let exporter = LogExporter::builder()
        .build()
        .map_err(TelemetryError::Exporter)?;
    let exporter = Counted {
        exporter,
        backlog: Arc::clone(backlog),
    };
    let batches = LogBatches::default().with_max_queue_size(backlog.most);
    let processor = BatchLogProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let processor = Bounded {
        processor,
        backlog: Arc::clone(backlog),
    };
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource())
        .with_log_processor(processor)
        .build())
}

/// The instruments' provider, when anybody reads them.
fn metrics(
    scraped: Option<&Registry>,
    is_pushed: bool,
) -> Result<Option<SdkMeterProvider>, TelemetryError> {
    if scraped.is_none() && !is_pushed {
        return Ok(None);
    }
    let mut provider = SdkMeterProvider::builder()
        .with_resource(resource())
        .with_view(room_for_jobs);
    if let Some(registry) = scraped {
        // All instruments are of one scope and one process, which Prometheus names by itself.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .map_err(TelemetryError::Scrape)?;
        provider = provider.with_reader(reader);
    }
    if is_pushed {
        let exporter = MetricExporter::builder()
            .build()
            .map_err(TelemetryError::Exporter)?;
        provider = provider.with_periodic_exporter(exporter);
    }
    Ok(Some(provider.build()))
}

/// What has series for each job has room for a thousand jobs and more: the SDK's own limit, 2,000, would put those beyond it into one.
fn room_for_jobs(instrument: &Instrument) -> Option<Stream> {
    let mut metrics = catalog::ALL.iter();
    let metric = metrics.find(|metric| metric.name == instrument.name())?;
    let of_jobs = metric.labels.contains(&"job.name");
    let stream = of_jobs.then(|| {
        Stream::builder()
            .with_cardinality_limit(MOST_OF_JOBS)
            .build()
    });
    stream?.ok()
}

/// What was lost of each signal, by reason.
fn lost(backlogs: &[&Arc<Backlog>]) -> Vec<(Vec<KeyValue>, u64)> {
    let all = backlogs.iter().flat_map(|backlog| {
        backlog.lost().map(|(reason, count)| {
            let labels = vec![
                KeyValue::new("otel.signal", backlog.signal),
                KeyValue::new("error.type", reason),
            ];
            (labels, count)
        })
    });
    all.collect()
}

/// Spans and logs of our own crates. The exporter's own crates would make spans and logs of exporting them.
pub(super) fn ours() -> Targets {
    Targets::new().with_targets(super::logs::OURS.map(|name| (name, LevelFilter::DEBUG)))
}

/// Whether the environment asks for this signal (`TRACES`, `METRICS`, `LOGS`) to be exported.
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
    use opentelemetry::metrics::MeterProvider as _;

    use super::*;

    #[test]
    fn a_thousand_jobs_have_series_of_their_own() {
        let registry = Registry::new();
        let provider = metrics(Some(&registry), false).unwrap().unwrap();
        let states = ["ok", "planned", "pending", "failed", "skipped"];
        let accounts = provider
            .meter(SCOPE)
            .u64_gauge(catalog::JOB_ACCOUNTS.name)
            .build();
        let runs = provider
            .meter(SCOPE)
            .u64_counter(catalog::RUNS.name)
            .build();
        for number in 0..1_000 {
            let job = KeyValue::new("job.name", format!("job-{number}"));
            for state in states {
                accounts.record(1, &[job.clone(), KeyValue::new("account.state", state)]);
                runs.add(1, &[job.clone(), KeyValue::new("run.status", state)]);
            }
        }
        let gathered = registry.gather();
        assert_eq!(gathered.len(), 2);
        for family in gathered {
            assert_eq!(family.get_metric().len(), 5_000, "{}", family.name());
        }
    }

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
        assert!(wanted("LOGS", &[endpoint]));
        assert!(!wanted("LOGS", &[only_metrics]));
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
