//! `/healthz` (the process answers) and `/readyz` (the state answers, and the scheduler looks), for whoever restarts containers and
//! sends traffic, and `/metrics`, for Prometheus.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State as Shared,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::gauges::Gauges;
use crate::{state::State, telemetry::Scrape};

/// A scheduler that has not looked for so long does not.
const STALE: Duration = Duration::from_secs(30);

/// How long the state may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the parts of the daemon say about themselves.
#[derive(Default)]
pub(super) struct Health {
    looked_at: Mutex<Option<Instant>>,
}

impl Health {
    /// The scheduler has looked.
    pub(super) fn looked(&self) {
        *self.looked_at.lock() = Some(Instant::now());
    }

    fn looks(&self) -> bool {
        let at = *self.looked_at.lock();
        at.is_some_and(|at| at.elapsed() < STALE)
    }
}

/// Answers until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    state: State,
    health: Arc<Health>,
    metrics: (Scrape, Arc<Gauges>),
) {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state((state, health))
        .route("/metrics", get(scraped).with_state(metrics));
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "the daemon does not answer over HTTP any more");
    }
    std::future::pending().await
}

async fn ready(Shared((state, health)): Shared<(State, Arc<Health>)>) -> (StatusCode, String) {
    let state = tokio::time::timeout(PATIENCE, state.standings()).await;
    let why = match state {
        Err(_) => Some("the state does not answer".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(_)) if !health.looks() => Some("the scheduler does not look".to_owned()),
        Ok(Ok(_)) => None,
    };
    match why {
        None => (StatusCode::OK, "ready\n".to_owned()),
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
