//! The pages of AWS Config's lists: tokens are opaque and bound to their request.

use serde_json::Value;

use crate::wire::errors::AwsError;

/// Where a page starts and how long it may be.
pub(super) struct Page {
    start: usize,
    size: usize,
    listing: u64,
}

impl Page {
    /// Reads `Limit` and `NextToken` of a request: a page has so many entries by default, and at most.
    pub(super) fn of(input: &Value, (default, most): (usize, usize)) -> Result<Self, AwsError> {
        let limit = [&input["Limit"], &input["MaxResults"]];
        let limit = limit.into_iter().find_map(Value::as_u64).unwrap_or(0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit > most {
            return Err(AwsError::new(
                400,
                "InvalidLimitException",
                format!(
                    "Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value less than or equal to {most}"
                ),
            ));
        }
        let listing = fingerprint(input);
        let start = match input["NextToken"].as_str() {
            None => 0,
            Some(token) => start(token, listing).ok_or_else(|| {
                AwsError::new(
                    400,
                    "InvalidNextTokenException",
                    "The nextToken provided is invalid",
                )
            })?,
        };
        Ok(Self {
            start,
            size: if limit == 0 { default } else { limit },
            listing,
        })
    }

    /// The entries of this page, and the token of the next.
    pub(super) fn cut<T>(&self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let end = self.start.saturating_add(self.size);
        let next = (end < all.len()).then(|| format!("{:016x}{end:08x}", self.listing));
        let page = all.into_iter().skip(self.start).take(self.size);
        (page.collect(), next)
    }
}

fn start(token: &str, listing: u64) -> Option<usize> {
    let (of, start) = token.split_at_checked(16)?;
    let is_of_it = u64::from_str_radix(of, 16).ok()? == listing;
    usize::from_str_radix(start, 16).ok().filter(|_| is_of_it)
}

/// What a token is bound to: everything of the request but the page.
fn fingerprint(input: &Value) -> u64 {
    let mut request = input.clone();
    if let Value::Object(members) = &mut request {
        for page in ["NextToken", "Limit", "MaxResults"] {
            members.remove(page);
        }
    }
    let text = request.to_string();
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
