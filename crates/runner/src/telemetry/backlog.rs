//! What waits for export, counted on its way in and out. The SDK keeps what it drops to itself; an operator has to see that a
//! trace is not whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{Context, InstrumentationScope, logs::Severity};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use parking_lot::Mutex;

/// How often losses are told, at most.
const TOLD: Duration = Duration::from_secs(60);

/// The spans, or log records, that wait for export, and how many were lost.
#[derive(Debug)]
pub(super) struct Backlog {
    /// `traces` or `logs`.
    pub(super) signal: &'static str,
    /// How many may wait: what the processor behind has room for.
    pub(super) most: usize,
    waiting: AtomicUsize,
    overflowed: AtomicU64,
    failed: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    lost: u64,
    at: Option<Instant>,
}

impl Backlog {
    pub(super) fn new(signal: &'static str, most: usize) -> Arc<Self> {
        Arc::new(Self {
            signal,
            most,
            waiting: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            told: Mutex::default(),
        })
    }

    /// What was lost, by reason.
    pub(super) fn lost(&self) -> [(&'static str, u64); 2] {
        [
            ("queue-full", self.overflowed.load(Ordering::Relaxed)),
            ("export-failed", self.failed.load(Ordering::Relaxed)),
        ]
    }

    /// Whether there is room for one more, which then waits. One that there is no room for is lost.
    fn enter(&self) -> bool {
        let entered = self
            .waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < self.most).then_some(waiting + 1)
            });
        if entered.is_err() {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        entered.is_ok()
    }

    /// So many go to the collector.
    fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// What became of so many. Called where logging is safe: not within the span or the record that is lost.
    fn ended(&self, count: usize, result: &OTelSdkResult) {
        if result.is_err() {
            self.failed.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.tell(false);
    }

    /// Warns of what was lost since it was told last, not too often unless it is `the_end`.
    fn tell(&self, the_end: bool) {
        let lost = self.lost().iter().map(|(_, count)| count).sum();
        let mut told = self.told.lock();
        let now = Instant::now();
        let is_early = told.at.is_some_and(|at| now.duration_since(at) < TOLD);
        if lost == told.lost || (is_early && !the_end) {
            return;
        }
        tracing::warn!(
            signal = self.signal,
            lost = lost - told.lost,
            "spans or log records did not get to the collector: see whether it answers, or raise OTEL_BSP_MAX_QUEUE_SIZE \
             (OTEL_BLRP_MAX_QUEUE_SIZE for logs)"
        );
        *told = Told {
            lost,
            at: Some(now),
        };
    }
}

/// A processor that is given no more than it has room for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) processor: P,
    pub(super) backlog: Arc<Backlog>,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.backlog.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let ended = self.processor.shutdown_with_timeout(timeout);
        self.backlog.tell(true);
        ended
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Bounded<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.backlog.enter() {
            self.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let ended = self.processor.shutdown_with_timeout(timeout);
        self.backlog.tell(true);
        ended
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter that tells its backlog what it takes and what it loses.
#[derive(Debug)]
pub(super) struct Counted<E> {
    pub(super) exporter: E,
    pub(super) backlog: Arc<Backlog>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.backlog.leave(count);
        let exported = self.exporter.export(batch).await;
        self.backlog.ended(count, &exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.backlog.leave(count);
        let exported = self.exporter.export(batch).await;
        self.backlog.ended(count, &exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.exporter.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
    };

    use super::*;

    /// A collector: how many spans came, and whether it takes them.
    #[derive(Debug, Clone)]
    struct Collector {
        came: Arc<AtomicUsize>,
        takes: bool,
        /// Held by the test for as long as nothing is to be taken.
        door: Arc<Mutex<()>>,
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            drop(self.door.lock());
            if !self.takes {
                return Err(OTelSdkError::InternalFailure("no".to_owned()));
            }
            self.came.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    fn provider(collector: &Collector, most: usize) -> (SdkTracerProvider, Arc<Backlog>) {
        let backlog = Backlog::new("traces", most);
        let exporter = Counted {
            exporter: collector.clone(),
            backlog: Arc::clone(&backlog),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(most)
            .with_max_export_batch_size(4)
            .build();
        let processor = Bounded {
            processor: BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches)
                .build(),
            backlog: Arc::clone(&backlog),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        (provider, backlog)
    }

    fn collector(takes: bool) -> Collector {
        Collector {
            came: Arc::default(),
            takes,
            door: Arc::default(),
        }
    }

    fn make_spans(provider: &SdkTracerProvider, count: usize) {
        let tracer = provider.tracer("test");
        for _ in 0..count {
            drop(tracer.start("span"));
        }
    }

    #[test]
    fn every_span_is_exported_or_counted_as_lost() {
        let collector = collector(true);
        let (provider, backlog) = provider(&collector, 16);
        let closed = collector.door.lock();
        make_spans(&provider, 100);
        drop(closed);
        provider.shutdown().unwrap();
        let [(_, overflowed), (_, failed)] = backlog.lost();
        let came = collector.came.load(Ordering::Relaxed) as u64;
        assert_eq!(came + overflowed, 100);
        // What waits, and the batch that was at the door.
        assert!((16..=20).contains(&came), "{came}");
        assert_eq!(failed, 0);
    }

    #[test]
    fn what_the_collector_does_not_take_is_lost_and_makes_room() {
        let collector = collector(false);
        let (provider, backlog) = provider(&collector, 64);
        make_spans(&provider, 40);
        // The collector's refusal is told by the SDK, too.
        drop(provider.force_flush());
        assert_eq!(backlog.lost(), [("queue-full", 0), ("export-failed", 40)]);
        make_spans(&provider, 40);
        drop(provider.shutdown());
        assert_eq!(backlog.lost(), [("queue-full", 0), ("export-failed", 80)]);
    }
}
