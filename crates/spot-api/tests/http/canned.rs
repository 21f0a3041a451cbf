//! A server whose answers are a function of the request, and a client that talks to it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use onboarding_core::{governor::spot::GovernorSettings, secret::SecretText};
use serde_json::{Value, json};
use spot_api::{SpotClient, SpotSettings};

pub(crate) const TOKEN: &str = "canarytoken4711";

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) call: String,
    pub(crate) body: Value,
    pub(crate) authorization: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Serves `answer(call number, request)`.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Seen) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), Arc::clone(&log));
            async move {
                let call = format!("{} {}", request.method(), request.uri());
                let header = request.headers().get("authorization").cloned();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20)
                    .await
                    .unwrap();
                let seen = Seen {
                    call,
                    body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                    authorization: header.map_or(String::new(), |h| h.to_str().unwrap().to_owned()),
                };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(seen.clone());
                    log.len()
                };
                answer(number, &seen)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    pub(crate) fn client(&self) -> SpotClient {
        client(self.address)
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.call.clone())
            .collect()
    }
}

pub(crate) fn settings(address: SocketAddr) -> SpotSettings {
    SpotSettings {
        base_url: format!("http://{address}"),
        call_timeout: Duration::from_secs(10),
        retry_initial: Duration::from_millis(1),
        access_recheck: Duration::from_millis(1),
        governor: GovernorSettings {
            window: Duration::from_millis(300),
            margin: Duration::from_millis(20),
        },
        ..SpotSettings::default()
    }
}

pub(crate) fn client(address: SocketAddr) -> SpotClient {
    SpotClient::new(settings(address), Arc::new(SecretText::new(TOKEN)), None).unwrap()
}

/// Spot's envelope around items.
pub(crate) fn items(items: Value) -> Response {
    json_answer(
        200,
        json!({"request": {"id": "req-1"}, "response": {"status": {"code": 200}, "items": items}}),
    )
}

/// Spot's envelope around an error.
pub(crate) fn refused(status: u16, code: &str, message: &str) -> Response {
    json_answer(
        status,
        json!({"request": {"id": "req-1"}, "response": {"errors": [{"code": code, "message": message, "field": "name"}]}}),
    )
}

pub(crate) fn json_answer(status: u16, body: Value) -> Response {
    raw(status, body.to_string())
}

pub(crate) fn raw(status: u16, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

/// An answer whose body breaks off: the request took effect, the connection dropped.
pub(crate) fn dropped() -> Response {
    Response::builder()
        .status(200)
        .header("content-length", "1000")
        .body(Body::from_stream(futures_util::stream::iter([
            Ok::<_, std::io::Error>("{\"response\""),
            Err(std::io::Error::other("dropped")),
        ])))
        .unwrap()
}
