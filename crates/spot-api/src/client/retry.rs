//! The one place that decides what is sent again.
//!
//! GET, PUT and DELETE are repeated on 5xx, broken connections and timeouts. Any call is repeated when it certainly had
//! no effect: 429, and no connection made. A refused token is tried once more when its source has another one by then.

use onboarding_core::secret::SecretText;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use super::{
    SpotClient,
    envelope::{self, Items},
    exchange::Call,
    gate::Pass,
};
use crate::{
    error::SpotError,
    observe::{CallEvent, RetryReason},
};

pub(crate) use super::exchange::Call as ApiCall;

impl SpotClient {
    /// Makes a call, waiting for the governor before each request, until it succeeds or must not be repeated.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
    ) -> Result<Items<T>, SpotError> {
        let span = self.span(call);
        let ended = self.repeated(call).instrument(span.clone()).await;
        ended.inspect_err(|error| failed(&span, error))
    }

    /// Makes one request, never a second one, with a pass that the caller waited for.
    pub(crate) async fn single<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        pass: Pass,
        token: &SecretText,
    ) -> Result<Items<T>, SpotError> {
        let span = self.span(call);
        let ended = self.once(call, pass, token).instrument(span.clone()).await;
        ended.inspect_err(|error| failed(&span, error))
    }

    /// A span as OpenTelemetry's semantic conventions for HTTP clients have it.
    fn span(&self, call: &Call<'_>) -> tracing::Span {
        tracing::info_span!(
            "spot.call",
            otel.name = %call.route,
            otel.kind = "client",
            http.request.method = call.route.method,
            url.template = call.route.template,
            server.address = self.inner.base.host_str(),
            spot.account_id = call.account.map(|account| account.as_str()),
            http.response.status_code = tracing::field::Empty,
            http.request.resend_count = tracing::field::Empty,
            spot.request_id = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        )
    }

    async fn repeated<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<Items<T>, SpotError> {
        let mut refused_token = None;
        let mut pause = self.inner.settings.retry_initial;
        let mut attempt = 1;
        loop {
            let pass = self.enter(call).await;
            let token = self.inner.token().await?;
            let error = match self.once(call, pass, &token).await {
                Ok(items) => return Ok(items),
                Err(error) => error,
            };
            let reason = if is_token_refusal(&error) {
                self.inner.tokens.refused().await;
                let again = self.inner.token().await?;
                let first = refused_token.is_none();
                refused_token = Some(token.clone());
                (first && again != token).then_some(RetryReason::TokenRefused)
            } else {
                reason(call, &error)
            };
            let Some(reason) = reason.filter(|_| attempt < self.inner.settings.attempts) else {
                return Err(error);
            };
            let after = pause.mul_f64(rand::random_range(0.5..1.0));
            tracing::info!(reason = reason.as_str(), attempt, "spot call repeated");
            tracing::Span::current().record("http.request.resend_count", attempt);
            self.inner.observe(CallEvent::Retrying {
                route: call.route,
                reason,
                after,
            });
            tokio::time::sleep(after).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Waits for the governor.
    pub(crate) async fn enter(&self, call: &Call<'_>) -> Pass {
        let (pass, waited) = self.inner.gate.enter(call.route).await;
        if waited.as_millis() > 0 {
            tracing::debug!(
                waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                "spot governor"
            );
            self.inner.observe(CallEvent::Waited {
                route: call.route,
                waited,
            });
        }
        pass
    }

    /// One request, and its answer read.
    async fn once<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        pass: Pass,
        token: &SecretText,
    ) -> Result<Items<T>, SpotError> {
        let result = self.inner.exchange(call, pass, token).await;
        let status = match &result {
            Ok((status, _)) => Some(*status),
            Err(error) => error.refusal().map(|refusal| refusal.status),
        };
        if let Some(status) = status {
            tracing::Span::current().record("http.response.status_code", status);
        }
        let (status, body) = result?;
        envelope::items(&body).map_err(|reason| SpotError::Unexpected {
            route: call.route,
            status,
            request_id: envelope::request_id(&body),
            reason,
        })
    }
}

/// The span of a call says that it failed, and which request that was at Spot.
fn failed(span: &tracing::Span, error: &SpotError) {
    span.record("otel.status_code", "ERROR");
    if let Some(id) = error.request_id() {
        span.record("spot.request_id", id);
    }
}

/// Spot answers 401 to a token that it does not know; some of its gateways answer 403.
fn is_token_refusal(error: &SpotError) -> bool {
    matches!(error, SpotError::Refused { refusal, .. } if matches!(refusal.status, 401 | 403))
}

/// Why a failed call may be sent again; none when it must not.
fn reason(call: &Call<'_>, error: &SpotError) -> Option<RetryReason> {
    let repeatable = call.route.repeatable();
    match error {
        SpotError::Throttled { .. } => Some(RetryReason::Throttled),
        SpotError::Unreachable { .. } => Some(RetryReason::Unreachable),
        SpotError::Server { .. } if repeatable => Some(RetryReason::ServerError),
        SpotError::TimedOut { .. } if repeatable => Some(RetryReason::TimedOut),
        SpotError::Lost { .. } if repeatable => Some(RetryReason::ConnectionLost),
        _ => None,
    }
}
