//! Sends answers to CloudFormation: one PUT to a presigned S3 address, repeated until the deadline.
//!
//! The signature covers an empty content type, so the header is sent, and empty; a length is always sent; redirects are
//! not followed. The address is a permission, so it is in no log and no error.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use onboarding_core::secret::SecretText;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use url::Url;

use crate::{provider::time_until, response_hosts::is_this_machine};

/// The answer did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponderError {
    /// The address is none that an answer may be sent to.
    #[error("the ResponseURL is refused: {0}")]
    Address(&'static str),
    /// The other side refused for good (403: the address has expired, or the stack is gone).
    #[error("CloudFormation's bucket refused the answer with status {0}")]
    Refused(u16),
    /// It did not work until the deadline.
    #[error("the answer could not be delivered in time: {0}")]
    TooLate(String),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client for answers: {0}; is a CA certificate store installed?")]
    Setup(String),
}

/// Sends answers.
#[derive(Debug, Clone)]
pub struct Responder {
    user_agent: String,
    http: OnceLock<reqwest::Client>,
    /// For addresses on this machine, which no proxy reaches.
    direct: OnceLock<reqwest::Client>,
}

impl Responder {
    /// A responder whose TLS is ready.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(user_agent: &str) -> Result<Self, ResponderError> {
        let responder = Self::when_needed(user_agent);
        responder.client(false)?;
        Ok(responder)
    }

    /// A responder that sets up TLS with its first answer: that takes time which a cold start does not have.
    #[must_use]
    pub fn when_needed(user_agent: &str) -> Self {
        Self {
            user_agent: user_agent.to_owned(),
            http: OnceLock::new(),
            direct: OnceLock::new(),
        }
    }

    fn client(&self, loopback: bool) -> Result<&reqwest::Client, ResponderError> {
        let place = if loopback { &self.direct } else { &self.http };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let builder = if loopback {
            builder.no_proxy()
        } else {
            builder
        };
        let client = builder
            .build()
            .map_err(|error| ResponderError::Setup(error.to_string()))?;
        Ok(place.get_or_init(|| client))
    }

    /// Sends an answer, at least once, and again after failures that may pass, until the deadline.
    ///
    /// # Errors
    /// When the address is refused, the other side refuses, the deadline passes, or TLS cannot be set up.
    pub async fn put(
        &self,
        address: &SecretText,
        body: &str,
        deadline: Timestamp,
    ) -> Result<(), ResponderError> {
        let (url, loopback) = checked(address.expose())?;
        let http = self.client(loopback)?;
        let mut pause = Duration::from_millis(500);
        loop {
            let sent = http
                .put(url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static(""))
                .body(body.to_owned())
                .send()
                .await;
            let trouble = match sent.map(|answer| answer.status().as_u16()) {
                Ok(200..=299) => return Ok(()),
                Ok(status @ (300..=399 | 400..=407 | 409..=428 | 430..=499)) => {
                    return Err(ResponderError::Refused(status));
                }
                Ok(status) => format!("status {status}"),
                Err(error) => error.without_url().to_string(),
            };
            let left = time_until(deadline);
            if left <= pause {
                return Err(ResponderError::TooLate(trouble));
            }
            tracing::info!(trouble, "answer sent again");
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(15));
        }
    }
}

/// Only https, or http to this machine. Says whether it is this machine.
fn checked(address: &str) -> Result<(Url, bool), ResponderError> {
    let url = Url::parse(address).map_err(|_| ResponderError::Address("it is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ResponderError::Address("it has a user or password"));
    }
    let loopback = match url.host() {
        Some(host) => is_this_machine(&host),
        None => return Err(ResponderError::Address("it has no host")),
    };
    match url.scheme() {
        "https" => Ok((url, loopback)),
        "http" if loopback => Ok((url, loopback)),
        _ => Err(ResponderError::Address("it is not https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_this_machine_is_answered() {
        assert!(checked("https://bucket.s3.amazonaws.com/key?Signature=x%2By").is_ok());
        assert!(checked("http://127.0.0.1:9/x").is_ok());
        for bad in [
            "http://example.com/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "https://u:p@example.com/",
            "x",
            "",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
