//! Spot's envelope around every answer, and the errors that come before a route's own.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::SpotError;
use crate::wire::json::push_string;

/// What `response` carries beside its status.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A status only.
    Nothing,
    /// Items, as JSON text of the array, their number, and perhaps the key of the next page.
    Items {
        /// `kind`.
        kind: &'static str,
        /// The array.
        items: String,
        /// Its length.
        count: usize,
        /// `paginationInfo`.
        pagination: Option<Value>,
    },
}

/// Writes the whole document of an answer.
pub(crate) fn envelope(
    request_id: &str,
    method: &str,
    url: &str,
    timestamp: &str,
    answer: &Result<Payload, SpotError>,
) -> (u16, String) {
    let status = match answer {
        Ok(_) => 200,
        Err(error) => error.status,
    };
    let mut out = String::from("{\"request\":{\"id\":");
    push_string(&mut out, request_id);
    out.push_str(",\"url\":");
    push_string(&mut out, url);
    out.push_str(",\"method\":");
    push_string(&mut out, method);
    out.push_str(",\"timestamp\":");
    push_string(&mut out, timestamp);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "}},\"response\":{{\"status\":{{\"code\":{status},\"message\":\"{}\"}}",
        reason(status)
    );
    match answer {
        Ok(Payload::Nothing) => {}
        Ok(Payload::Items {
            kind,
            items,
            count,
            pagination,
        }) => {
            let _ = write!(
                out,
                ",\"kind\":\"{kind}\",\"items\":{items},\"count\":{count}"
            );
            if let Some(pagination) = pagination {
                let _ = write!(out, ",\"paginationInfo\":{pagination}");
            }
        }
        // The body of 429 has no errors list.
        Err(error) if error.status == 429 => out.push_str(",\"data\":\"Rate limit exceeded\""),
        Err(error) => {
            let mut entry = json!({ "code": error.code, "message": error.message });
            if let Some(field) = error.field {
                entry["field"] = field.into();
            }
            let _ = write!(out, ",\"errors\":[{entry}]");
        }
    }
    out.push_str("}}");
    (status, out)
}

fn reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

/// 404 for a route that does not exist.
pub(crate) fn no_route() -> SpotError {
    SpotError::new(404, "NOT_FOUND", "the requested resource does not exist")
}

/// 401 for a token that is missing or unknown.
pub(crate) fn unauthorized() -> SpotError {
    SpotError::new(401, "UNAUTHORIZED", "the token is missing or not valid")
}

/// 429.
pub(crate) fn rate_limited() -> SpotError {
    SpotError::new(429, "", "Rate limit exceeded")
}

/// 500.
pub(crate) fn broken() -> SpotError {
    SpotError::new(500, "INTERNAL_SERVER_ERROR", "an unexpected error occurred")
}
