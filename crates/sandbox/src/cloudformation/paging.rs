//! Page tokens: opaque to clients, bound to their listing, and never the token of the request itself.

use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::Xml;

/// Largest page of the stack set listings.
const MAX_RESULTS: usize = 100;

/// The page that a request asks for.
pub(super) struct Page {
    listing: String,
    /// Where the page before ended.
    pub(super) after: Option<String>,
    /// Most entries.
    pub(super) size: usize,
}

impl Page {
    /// Reads `NextToken` and `MaxResults` (1 to 100). `listing` names the listing with all that selects its entries.
    pub(super) fn of(request: &QueryRequest, listing: &str) -> Result<Self, AwsError> {
        let size = match request.number("MaxResults")? {
            None => MAX_RESULTS,
            Some(size) => usize::try_from(size).ok().filter(|size| (1..=MAX_RESULTS).contains(size)).ok_or_else(|| {
                AwsError::validation(format!(
                    "1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy constraint: Member must have value between 1 and {MAX_RESULTS}"
                ))
            })?,
        };
        let after = match request.get("NextToken") {
            None => None,
            Some(token) => Some(
                hex::decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .and_then(|text| {
                        text.strip_prefix(listing)?
                            .strip_prefix('|')
                            .map(str::to_owned)
                    })
                    .ok_or_else(|| AwsError::validation("The pagination token is not valid"))?,
            ),
        };
        Ok(Self {
            listing: listing.to_owned(),
            after,
            size,
        })
    }

    /// Where a listing by position goes on.
    pub(super) fn start(&self) -> usize {
        self.after
            .as_deref()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Writes the token of the next page, which begins after `last`.
    pub(super) fn next(&self, xml: &mut Xml, last: Option<String>) {
        if let Some(last) = last {
            xml.text("NextToken", hex::encode(format!("{}|{last}", self.listing)));
        }
    }
}

/// Writes one page of a list that is there as a whole.
pub(super) fn list<T>(
    xml: &mut Xml,
    page: &Page,
    name: &str,
    items: &[T],
    mut write: impl FnMut(&mut Xml, &T),
) {
    let start = page.start().min(items.len());
    let end = items.len().min(start + page.size);
    xml.list(name, &items[start..end], &mut write);
    page.next(xml, (end < items.len()).then(|| end.to_string()));
}
