//! Following page tokens safely: the token alone says whether there is more, and one that repeats is an error (the SDK's
//! paginators would end silently there, and the listing would be short).

use std::{
    collections::HashSet,
    error::Error,
    hash::{BuildHasher, RandomState},
};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use crate::{
    error::{AwsError, ErrorClass},
    governed::Governed,
};

impl Governed {
    /// Reads a listing page by page. `send` asks for the page of a token; `take` keeps what it holds and gives the token
    /// of the next page, or none when there is no more or no need for more.
    pub(crate) async fn pages<T, E, F>(
        &self,
        operation: &'static str,
        send: impl Fn(Option<String>) -> F,
        mut take: impl FnMut(T) -> Result<Option<String>, AwsError>,
    ) -> Result<(), AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
        T: RequestId,
    {
        let (mut pages, mut token) = (Pages::of(operation), None);
        loop {
            let page = self.call(operation, || send(token.clone())).await?;
            token = pages.next(take(page)?)?;
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

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
