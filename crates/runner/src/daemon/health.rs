//! `/healthz` (the process answers) and `/readyz` (see `readiness`), for whoever restarts containers and sends traffic, and `/metrics`,
//! for Prometheus. Where there is a bearer token, whoever does not show it is told a status only.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State as Shared},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use onboarding_core::secret::SecretText;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::{gauges::Gauges, readiness::Readiness};
use crate::telemetry::Scrape;

/// Answers until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: (Scrape, Arc<Gauges>),
    token: Option<SecretText>,
) {
    let door = Door(token.map(|token| digest(token.expose())));
    let app = Router::new()
        .route("/metrics", get(scraped).with_state(metrics))
        .layer(middleware::from_fn_with_state(door, admitted))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(ready).with_state((Arc::new(readiness), door)),
        );
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "the daemon does not answer over HTTP any more");
    }
    std::future::pending().await
}

/// The digest of the token that whoever asks has to show; none where everybody may ask.
#[derive(Debug, Clone, Copy)]
struct Door(Option<[u8; 32]>);

impl Door {
    /// Whether it is open to who sends these headers. Digests are compared, so that the time that it takes tells nothing of the token.
    fn admits(self, headers: &HeaderMap) -> bool {
        let Some(token) = self.0 else {
            return true;
        };
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        shown.is_some_and(|(_, shown)| digest(shown.trim()) == token)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

async fn admitted(Shared(door): Shared<Door>, request: Request, next: Next) -> Response {
    if door.admits(request.headers()) {
        return next.run(request).await;
    }
    let wanted = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    let why = "a bearer token is needed: daemon.token in runner.toml\n";
    (StatusCode::UNAUTHORIZED, wanted, why).into_response()
}

async fn ready(
    Shared((readiness, door)): Shared<(Arc<Readiness>, Door)>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    match readiness.why_not().await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        // What goes wrong names hosts and files.
        Some(_) if !door.admits(&headers) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
        }
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn scraped(
    Shared((scrape, gauges)): Shared<(Scrape, Arc<Gauges>)>,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    gauges.refresh().await;
    let text = scrape.text().map_err(|error| {
        let why = format!("the metrics cannot be written: {error}\n");
        (StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    Ok(([(CONTENT_TYPE, Scrape::MEDIA_TYPE)], text))
}
