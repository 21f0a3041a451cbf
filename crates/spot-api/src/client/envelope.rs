//! Spot's envelope around every answer, read leniently: what is not needed is not looked at.
//!
//! No error of this module tells any content of a body.

use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};

use crate::error::Refusal;

/// The longest text of Spot's that goes into an error.
const LONGEST_TEXT: usize = 300;

/// The items of one answer.
#[derive(Debug)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// Why these may not be all: Spot's own count differs, or there is no list at all.
    pub(crate) incomplete: Option<String>,
    pub(crate) next_key: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    request: Option<RequestPart>,
    response: Option<ResponsePart<T>>,
}

#[derive(Deserialize)]
struct RequestPart {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct ResponsePart<T> {
    items: Option<Vec<T>>,
    count: Option<u64>,
    errors: Option<Vec<ErrorPart>>,
    #[serde(rename = "paginationInfo")]
    pagination: Option<PaginationPart>,
}

#[derive(Deserialize)]
struct ErrorPart {
    code: Option<String>,
    message: Option<String>,
    field: Option<String>,
}

#[derive(Deserialize)]
struct PaginationPart {
    #[serde(rename = "nextKey")]
    next_key: Option<String>,
}

/// Reads a successful answer.
///
/// # Errors
/// What is wrong with the body, and where, without its content.
pub(crate) fn items<T: DeserializeOwned>(body: &[u8]) -> Result<Items<T>, String> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|error| {
        // The error's own text quotes values.
        format!(
            "{:?} error at line {}, column {} of {} bytes",
            error.classify(),
            error.line(),
            error.column(),
            body.len()
        )
    })?;
    let response = envelope.response.ok_or("it has no `response`")?;
    let incomplete = match (&response.items, response.count) {
        (None, _) => Some("it has no `items`".to_owned()),
        (Some(items), Some(count)) if items.len() as u64 != count => Some(format!(
            "it has {} items, but says that it has {count}",
            items.len()
        )),
        _ => None,
    };
    Ok(Items {
        incomplete,
        items: response.items.unwrap_or_default(),
        next_key: response
            .pagination
            .and_then(|pagination| pagination.next_key)
            .filter(|key| !key.is_empty()),
    })
}

/// Spot's id of the request, when the body tells.
pub(crate) fn request_id(body: &[u8]) -> Option<String> {
    let envelope: Envelope<IgnoredAny> = serde_json::from_slice(body).ok()?;
    envelope.request?.id.map(|id| plain(&id, ""))
}

/// Reads a refusal; a body that is not Spot's envelope gives one without words.
pub(crate) fn refusal(status: u16, body: &[u8], token: &str) -> Refusal {
    let envelope: Option<Envelope<IgnoredAny>> = serde_json::from_slice(body).ok();
    let (request, response) = envelope.map_or((None, None), |envelope| {
        (envelope.request, envelope.response)
    });
    let first = response
        .and_then(|response| response.errors)
        .and_then(|errors| errors.into_iter().next());
    let (code, message, field) = first.map_or((None, None, None), |e| (e.code, e.message, e.field));
    Refusal {
        status,
        request_id: request
            .and_then(|request| request.id)
            .map(|id| plain(&id, token)),
        code: plain(&code.unwrap_or_default(), token),
        message: plain(&message.unwrap_or_default(), token),
        field: field.map(|field| plain(&field, token)),
    }
}

/// One line of at most [`LONGEST_TEXT`] characters, in which the token does not appear even if Spot repeats it.
fn plain(text: &str, token: &str) -> String {
    let text = if token.is_empty() {
        text.to_owned()
    } else {
        text.replace(token, "[redacted]")
    };
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_the_next_key_are_read() {
        let body =
            br#"{"request":{"id":"r1"},"response":{"status":{"code":200},"items":[1,2],"count":2,
            "paginationInfo":{"totalCount":4,"nextKey":"k"}}}"#;
        let page = items::<u32>(body).unwrap();
        assert_eq!((page.items, page.next_key), (vec![1, 2], Some("k".into())));
        assert_eq!(request_id(body).as_deref(), Some("r1"));
    }

    #[test]
    fn a_list_that_is_not_whole_is_marked() {
        let incomplete = |response: &str| {
            let body = format!(r#"{{"response":{response}}}"#);
            items::<u32>(body.as_bytes()).unwrap().incomplete
        };
        for whole in [
            r#"{"items":[1,2]}"#,
            r#"{"items":[1,2],"count":2}"#,
            r#"{"items":[],"count":0}"#,
        ] {
            assert_eq!(incomplete(whole), None, "{whole}");
        }
        for part in [r#"{"items":[1,2],"count":3}"#, r#"{"count":0}"#, "{}"] {
            assert!(incomplete(part).is_some(), "{part}");
        }
    }

    #[test]
    fn a_broken_body_is_described_by_its_place_only() {
        for body in [
            &br#"{"response":{"items":["canary"]}}"#[..],
            br#"{"response":{"items":[ canary"#,
            br#"{"canary":1}"#,
            b"<html>canary</html>",
        ] {
            let reason = items::<u32>(body).unwrap_err();
            assert!(!reason.contains("canary"), "{reason}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_the_token() {
        let body = br#"{"request":{"id":"r"},"response":{"errors":[{"code":"E\n1","message":"bad token abc123"}]}}"#;
        let refusal = refusal(401, body, "abc123");
        assert_eq!(
            refusal.to_string(),
            "status 401, E 1: bad token [redacted] [request r]"
        );
    }
}
