//! The HTTP server: finds out which service a request is for, and adds latency, rates and faults.
//!
//! The world's lock is held only while a handler computes its answer, never while waiting.

mod aws;
mod parse;
pub(crate) mod reply;
mod spot;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use tokio::time::{Duration, Instant, sleep_until};

use self::reply::plain;
use crate::world::SharedWorld;
use crate::{admin, stacks};

/// The largest body that is read: a template of 1 MB, form-encoded.
const MAX_BODY: usize = 8 << 20;

/// What is known of a request before it is routed.
pub(crate) struct Incoming {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: axum::body::Bytes,
}

impl Incoming {
    /// A header as text; empty when absent or not text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// The one handler behind every path.
pub(crate) async fn serve(State(world): State<SharedWorld>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return plain(413, "the body is too large, or did not arrive");
    };
    let incoming = Incoming {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    if let Some(token) = incoming.path.strip_prefix("/_cloudformation/response/") {
        return custom_resource(&world, &incoming, token);
    }
    if incoming.path.starts_with("/_sandbox") {
        return admin::handle(&world, &incoming);
    }
    if spot::is_route(&incoming.path) {
        return spot::serve(&world, &incoming).await;
    }
    aws::serve(&world, &incoming).await
}

/// Waits until a moment, if it is ahead. The timer rounds up to its next tick, and so does the kernel's poll under it: a
/// tick and a half less comes out nearest.
async fn until(moment: Instant) {
    const LATE: Duration = Duration::from_micros(1_500);
    let moment = moment - LATE;
    if moment > Instant::now() {
        sleep_until(moment).await;
    }
}

/// The presigned URL of a custom resource: S3 refuses a Content-Type that was not signed.
fn custom_resource(world: &SharedWorld, incoming: &Incoming, token: &str) -> Response {
    if incoming.method != Method::PUT {
        return plain(405, "MethodNotAllowed");
    }
    let content_type = incoming
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let status =
        stacks::custom_resource_response(&mut world.lock(), token, content_type, &incoming.body);
    let body = if status == 403 {
        "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided.</Message></Error>"
    } else {
        ""
    };
    reply::with_body(status, "application/xml", Body::from(body))
}
