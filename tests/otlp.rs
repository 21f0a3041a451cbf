//! A receiver of OTLP over gRPC: keeps the spans, the log records, the names of the metrics and what they say of each call.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{metric::Data, number_data_point},
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::server::{Server, TcpIncoming},
};

/// What arrived so far.
#[derive(Debug, Default)]
pub struct Received {
    /// The spans, in the order of arrival (a child ends, and so arrives, before its parent).
    pub spans: Vec<Span>,
    /// The log records, in the order of arrival.
    pub logs: Vec<LogRecord>,
    /// The names of the metrics.
    pub metrics: BTreeSet<String>,
    /// The values of each metric that says something of calls or errors, in the order of arrival: metric, then `rpc.method`, or
    /// `error.type` where that is all. A histogram's value is the sum of what it recorded.
    pub calls: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// The attributes of the resource that sent them.
    pub resource: BTreeMap<String, String>,
}

/// A receiver that listens until it is dropped.
#[derive(Debug)]
pub struct OtlpReceiver {
    /// Its address, for OTEL_EXPORTER_OTLP_ENDPOINT.
    pub endpoint: String,
    received: Arc<Mutex<Received>>,
    server: JoinHandle<()>,
}

impl OtlpReceiver {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Mutex::default());
        let service = Service(Arc::clone(&received));
        let serve = Server::builder()
            .add_service(TraceServiceServer::new(service.clone()))
            .add_service(MetricsServiceServer::new(service.clone()))
            .add_service(LogsServiceServer::new(service))
            .serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move {
            // It ends with the test; what went wrong shows as what did not arrive.
            drop(serve.await);
        });
        Ok(Self {
            endpoint,
            received,
            server,
        })
    }

    /// What arrived so far.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        lock(&self.received)
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    /// The spans of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().filter(move |span| span.name == name)
    }

    /// What a metric said last of a call (`rpc.method`) or a kind of error (`error.type`).
    #[must_use]
    pub fn last(&self, metric: &str, method: &str) -> Option<f64> {
        self.calls.get(metric)?.get(method)?.last().copied()
    }
}

/// A text attribute of a span.
#[must_use]
pub fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes
        .iter()
        .find(|pair| pair.key == name)
        .and_then(text)
}

/// What a log record says.
#[must_use]
pub fn message(record: &LogRecord) -> Option<&str> {
    match record.body.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn text(pair: &KeyValue) -> Option<&str> {
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Service(Arc<Mutex<Received>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = lock(&self.0);
        for resource in request.into_inner().resource_spans {
            let attributes = resource
                .resource
                .into_iter()
                .flat_map(|resource| resource.attributes);
            for pair in attributes {
                if let Some(value) = text(&pair) {
                    received.resource.insert(pair.key.clone(), value.to_owned());
                }
            }
            let spans = resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            received.spans.extend(spans);
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let resources = request.into_inner().resource_logs.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_logs);
        let records = scopes.flat_map(|scope| scope.log_records);
        lock(&self.0).logs.extend(records);
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let mut received = lock(&self.0);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            received.metrics.insert(metric.name.clone());
            for (attributes, value) in metric.data.into_iter().flat_map(points) {
                let named = |key| attributes.iter().find(|pair| pair.key == key);
                let method = named("rpc.method").or_else(|| named("error.type"));
                if let Some(method) = method.and_then(text) {
                    let calls = received.calls.entry(metric.name.clone()).or_default();
                    calls.entry(method.to_owned()).or_default().push(value);
                }
            }
        }
        Ok(Response::new(Default::default()))
    }
}

/// The attributes and value of each point.
fn points(data: Data) -> Vec<(Vec<KeyValue>, f64)> {
    let points = match data {
        Data::Sum(sum) => sum.data_points,
        Data::Gauge(gauge) => gauge.data_points,
        Data::Histogram(histogram) => {
            let points = histogram.data_points.into_iter();
            return points
                .map(|point| (point.attributes, point.sum.unwrap_or_default()))
                .collect();
        }
        _ => return Vec::new(),
    };
    let points = points.into_iter();
    points
        .map(|point| {
            let value = match point.value {
                #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
                Some(number_data_point::Value::AsInt(count)) => count as f64,
                Some(number_data_point::Value::AsDouble(value)) => value,
                None => f64::NAN,
            };
            (point.attributes, value)
        })
        .collect()
}
