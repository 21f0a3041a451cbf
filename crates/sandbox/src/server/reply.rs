//! Small HTTP answers.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

/// An answer with a body.
pub(crate) fn with_body(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(
        CONTENT_TYPE,
        axum::http::HeaderValue::from_static(content_type),
    );
    response
}

/// Plain text.
pub(crate) fn plain(status: u16, text: &'static str) -> Response {
    with_body(status, "text/plain", Body::from(text))
}

/// JSON text.
pub(crate) fn json(status: u16, text: String) -> Response {
    with_body(status, "application/json", Body::from(text))
}

/// What a proxy answers when the service behind it is gone: HTML, which no client can parse.
pub(crate) fn html_error() -> Response {
    with_body(
        502,
        "text/html",
        Body::from(
            "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n",
        ),
    )
}

/// Ends the connection without an answer: the body fails before its first byte, so hyper gives the
/// connection up before it has sent the head.
pub(crate) fn dropped() -> Response {
    let failure = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "simulated");
    Response::new(Body::from_stream(futures_util::stream::once(async move {
        Err::<axum::body::Bytes, _>(failure)
    })))
}
