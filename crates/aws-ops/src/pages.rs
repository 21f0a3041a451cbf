//! Following page tokens safely: the token alone says whether there is more, and one that repeats is an error (the SDK's
//! paginators would end silently there, and the listing would be short).

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use crate::error::{AwsError, ErrorClass};

/// The tokens of one listing, as hashes: an Organizations token may have 100,000 characters.
pub(crate) struct Pages {
    operation: &'static str,
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Pages {
    pub(crate) fn of(operation: &'static str) -> Self {
        Self {
            operation,
            hasher: RandomState::new(),
            seen: HashSet::new(),
        }
    }

    /// The token of the next page; none at the end. An empty page with a token is not the end.
    pub(crate) fn next(&mut self, token: Option<String>) -> Result<Option<String>, AwsError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        if !self.seen.insert(self.hasher.hash_one(&token)) {
            return Err(AwsError::new(
                self.operation,
                ErrorClass::Unexpected,
                "AWS repeated a page token, so the listing would be incomplete; run again",
            ));
        }
        Ok(Some(token))
    }
}
