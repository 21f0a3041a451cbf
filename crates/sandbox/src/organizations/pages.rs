//! Page tokens: opaque, bound to their listing, and never the same twice.
//!
//! The Rust SDK's paginator ends silently when a token repeats, so an answer never carries the token
//! of its own request.

use serde_json::Value;

use super::input::{invalid_input, optional};
use super::tree::Organization;
use crate::wire::errors::AwsError;

/// Where a page starts and how long it may be.
pub(super) struct Page {
    /// The first slot or index of the page.
    pub(super) start: u32,
    /// The most entries it may have.
    pub(super) size: usize,
    listing: u32,
}

impl Page {
    /// Reads `NextToken` and `MaxResults` (1 to 20, default 20) of a request for `listing`.
    pub(super) fn of(input: &Value, listing: &str) -> Result<Self, AwsError> {
        let listing = fingerprint(listing);
        let size = match input.get("MaxResults") {
            None | Some(Value::Null) => 20,
            Some(value) => match value.as_u64() {
                Some(0) | None => {
                    return Err(invalid_input(
                        "MIN_VALUE_EXCEEDED",
                        "You provided a value that is below the minimum for MaxResults.",
                    ));
                }
                Some(size @ 1..=20) => size as usize,
                Some(_) => {
                    return Err(invalid_input(
                        "MAX_VALUE_EXCEEDED",
                        "You provided a value that exceeds the maximum for MaxResults.",
                    ));
                }
            },
        };
        let start = match optional(input, "NextToken")? {
            None => 0,
            Some(token) => decode(token)
                .filter(|(of, _)| *of == listing)
                .map(|(_, at)| at)
                .ok_or_else(|| {
                    invalid_input("INVALID_NEXT_TOKEN", "You provided an invalid next token.")
                })?,
        };
        Ok(Self {
            start,
            size,
            listing,
        })
    }

    /// The token for a page that starts at `start`.
    pub(super) fn token(&self, organization: &mut Organization, start: u32) -> String {
        organization.tokens += 1;
        // Neighbouring tokens look unrelated, so that nobody computes with them.
        let nonce = organization.tokens.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mask = nonce as u32;
        let text = format!(
            "{nonce:016x}{:08x}{:08x}",
            self.listing ^ mask,
            start ^ mask.rotate_left(7)
        );
        format!("eyJ{text}")
    }
}

fn decode(token: &str) -> Option<(u32, u32)> {
    let text = token
        .strip_prefix("eyJ")
        .filter(|text| text.len() == 32 && text.is_ascii())?;
    let mask = u64::from_str_radix(&text[..16], 16).ok()? as u32;
    let listing = u32::from_str_radix(&text[16..24], 16).ok()? ^ mask;
    let start = u32::from_str_radix(&text[24..], 16).ok()? ^ mask.rotate_left(7);
    Some((listing, start))
}

fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
