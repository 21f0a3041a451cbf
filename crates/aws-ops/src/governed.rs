//! The one place that sends: it waits for the governor, counts, classifies, retries, and traces.
//!
//! Must not decide anything else: which call to make and what its answer means is the verbs' business.

use std::{collections::HashMap, error::Error, future::Future, sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use onboarding_core::governor::aws::{AwsGovernor, Rates};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};
use tracing::Instrument;

use crate::{
    error::{AwsError, ErrorClass},
    settings::Timeouts,
};

/// Shared by all handles of one connection, whatever their credentials.
pub(crate) struct Governed {
    governor: Mutex<AwsGovernor>,
    /// One per operation: who waits for a token waits in line.
    lines: Mutex<HashMap<&'static str, Arc<Semaphore>>>,
    origin: Instant,
    timeouts: Timeouts,
}

impl Governed {
    pub(crate) fn new(rates: Rates, timeouts: Timeouts) -> Self {
        Self {
            governor: Mutex::new(AwsGovernor::new(rates)),
            lines: Mutex::new(HashMap::new()),
            origin: Instant::now(),
            timeouts,
        }
    }

    /// Reads something off the governor.
    pub(crate) fn governor<T>(&self, read: impl FnOnce(&AwsGovernor, Duration) -> T) -> T {
        read(&self.governor.lock(), self.origin.elapsed())
    }

    /// Sends, as often as it takes and is allowed. `send` builds and sends one attempt.
    pub(crate) async fn call<T, E, F, S>(
        &self,
        operation: &'static str,
        send: S,
    ) -> Result<T, AwsError>
    where
        S: Fn() -> F,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
        T: RequestId,
    {
        let (service, method) = operation.split_once(':').unwrap_or(("aws", operation));
        let span = tracing::info_span!(
            "aws_call",
            otel.name = operation,
            otel.kind = "client",
            rpc.system = "aws-api",
            rpc.service = service,
            rpc.method = method,
            aws.request_id = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        );
        let attempts = async {
            let started = Instant::now();
            let mut attempt = 0_u32;
            loop {
                attempt += 1;
                self.wait_for_token(operation).await;
                // Boxed: the SDK's futures are several kilobytes, and many of ours wait at a time.
                let error = match self.attempt(operation, Box::pin(send())).await {
                    Ok(output) => {
                        if let Some(id) = output.request_id() {
                            tracing::Span::current().record("aws.request_id", id);
                        }
                        return Ok(output);
                    }
                    Err(error) => error,
                };
                let allowed = started.elapsed() < self.timeouts.retries;
                match longest_pause(error.class(), attempt).filter(|_| allowed) {
                    Some(longest) => pause(&error, attempt, longest).await,
                    None => {
                        let span = tracing::Span::current();
                        span.record("error.type", error.class().as_str());
                        span.record("otel.status_code", "ERROR");
                        if let Some(id) = &error.request_id {
                            span.record("aws.request_id", id);
                        }
                        return Err(error);
                    }
                }
            }
        };
        attempts.instrument(span).await
    }

    async fn attempt<T, E, F>(&self, operation: &'static str, sending: F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let sent = Instant::now();
        let result = sending
            .await
            .map_err(|error| AwsError::from_sdk(operation, error));
        let (took, now) = (sent.elapsed(), self.origin.elapsed());
        let mut governor = self.governor.lock();
        match result.as_ref().map_err(AwsError::class) {
            Err(ErrorClass::Throttled) => governor.throttled(operation, now),
            // Nothing was answered: it says nothing about rates.
            Err(ErrorClass::Unreachable | ErrorClass::Transient | ErrorClass::Credentials) => {}
            Ok(_) | Err(_) => governor.answered(operation, took, now),
        }
        result
    }

    async fn wait_for_token(&self, operation: &'static str) {
        let line = Arc::clone(
            self.lines
                .lock()
                .entry(operation)
                .or_insert_with(|| Arc::new(Semaphore::new(1))),
        );
        // The line is never closed; if it were, going on without one would still obey the governor.
        let _first_in_line = line.acquire().await.ok();
        loop {
            let now = self.origin.elapsed();
            let taken = self.governor.lock().try_acquire(operation, now);
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }
}

/// The longest pause after this failed attempt; none when it is not to be repeated. What retries is decided here alone.
///
/// Every verb can be repeated safely: reads change nothing, and writes carry an id of ours that AWS recognizes, or
/// state the wanted end.
fn longest_pause(class: ErrorClass, attempt: u32) -> Option<Duration> {
    let (attempts, first, most) = match class {
        ErrorClass::Throttled => (12, Duration::from_millis(500), Duration::from_secs(20)),
        ErrorClass::Transient => (5, Duration::from_millis(200), Duration::from_secs(5)),
        ErrorClass::Unreachable => (3, Duration::from_millis(200), Duration::from_secs(5)),
        ErrorClass::Unexpected => (2, Duration::from_millis(200), Duration::from_secs(5)),
        ErrorClass::Denied
        | ErrorClass::Invalid
        | ErrorClass::Conflict
        | ErrorClass::NotFound
        | ErrorClass::Quota
        | ErrorClass::Credentials => return None,
    };
    (attempt < attempts).then(|| first.saturating_mul(1 << (attempt - 1).min(16)).min(most))
}

/// Pauses for a random part of the longest pause ("full jitter"), at least as long as AWS asked for.
async fn pause(error: &AwsError, attempt: u32, longest: Duration) {
    let asked = error
        .retry_after()
        .unwrap_or_default()
        .min(Duration::from_secs(20));
    let pause = longest.mul_f64(rand::random::<f64>()).max(asked);
    tracing::info!(
        reason = error.class().as_str(),
        code = error.code.as_deref(),
        attempt,
        pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        "retrying a call to AWS"
    );
    tokio::time::sleep(pause).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_retried() {
        for (class, attempts) in [
            (ErrorClass::Throttled, 12),
            (ErrorClass::Transient, 5),
            (ErrorClass::Unreachable, 3),
            (ErrorClass::Unexpected, 2),
            (ErrorClass::Quota, 1),
            (ErrorClass::Denied, 1),
            (ErrorClass::Conflict, 1),
        ] {
            let tries = 1
                + (1..)
                    .take_while(|n| longest_pause(class, *n).is_some())
                    .count();
            assert_eq!(tries, attempts, "{class:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        let pauses: Vec<_> = (1..=8)
            .filter_map(|attempt| longest_pause(ErrorClass::Throttled, attempt))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(
            pauses,
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]
        );
    }
}
