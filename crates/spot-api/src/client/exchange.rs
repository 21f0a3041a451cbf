//! One request and its whole answer: the place that touches the network.

use std::{error::Error as _, time::Duration};

use onboarding_core::{
    governor::spot::{Outcome, RateHeaders},
    ids::{SpotAccountId, UserGroupId},
    secret::SecretText,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::{Inner, envelope, gate::Pass, route::Route};
use crate::{error::SpotError, observe::CallEvent};

/// The longest answer that is read. 100,000 accounts are about 20 MB.
const LONGEST_BODY: usize = 256 << 20;

/// One call, before it is sent.
pub(crate) struct Call<'a> {
    pub(crate) route: Route,
    /// The Spot account: sent as `accountId`, and put into the template.
    pub(crate) account: Option<&'a SpotAccountId>,
    /// The user group: put into the template.
    pub(crate) user_group: Option<&'a UserGroupId>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(route: Route) -> Self {
        Self {
            route,
            account: None,
            user_group: None,
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn of(route: Route, account: &'a SpotAccountId) -> Self {
        Self {
            account: Some(account),
            ..Self::new(route)
        }
    }

    pub(crate) fn body(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        let account = self.account.map_or("", SpotAccountId::as_str);
        let path = self.route.template.replace("{accountId}", account);
        let group = self.user_group.map_or("", UserGroupId::as_str);
        let path = path.replace("{userGroupId}", group);
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        {
            let mut query = url.query_pairs_mut();
            if self.account.is_some() {
                query.append_pair("accountId", account);
            }
            for (name, value) in &self.query {
                query.append_pair(name, value);
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }
}

impl Inner {
    /// Sends a request and reads the whole answer; a 2xx body is returned.
    pub(crate) async fn exchange(
        &self,
        call: &Call<'_>,
        mut pass: Pass,
        token: &SecretText,
    ) -> Result<(u16, Vec<u8>), SpotError> {
        let route = call.route;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| setup("the Spot API token has characters that a header cannot carry"))?;
        bearer.set_sensitive(true);
        let method = reqwest::Method::from_bytes(route.method.as_bytes())
            .map_err(|_| setup("a route has no valid method"))?;
        let mut request = self
            .http
            .request(method, call.url(&self.base))
            .header(AUTHORIZATION, bearer);
        for (name, value) in self.observer.iter().flat_map(|observer| observer.headers()) {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        *self.calls.lock().entry(route).or_default() += 1;
        pass.sending();
        let sent = Instant::now();
        let ended = |status| CallEvent::Ended {
            route,
            status,
            took: sent.elapsed(),
        };
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.failure(route, error);
                let unsent = matches!(error, SpotError::Unreachable { .. });
                pass.finish(if unsent {
                    Outcome::NotSent
                } else {
                    Outcome::Lost
                })
                .await;
                self.observe(ended(None));
                return Err(error);
            }
        };
        let status = answer.status().as_u16();
        let rate = rate_headers(answer.headers());
        pass.finish(match status {
            429 => Outcome::Throttled(rate),
            _ => Outcome::Answered(rate),
        })
        .await;
        let mut body = Vec::new();
        let read = loop {
            match answer.chunk().await {
                Ok(None) => break Ok(()),
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    break Err(SpotError::Unexpected {
                        route,
                        status,
                        request_id: None,
                        reason: format!("it is longer than {LONGEST_BODY} bytes"),
                    });
                }
                Err(error) => break Err(self.failure(route, error)),
            }
        };
        self.observe(ended(Some(status)));
        let refusal = || Box::new(envelope::refusal(status, &body, token.expose()));
        match status {
            200..=299 => read.map(|()| (status, body)),
            429 => Err(SpotError::Throttled {
                route,
                refusal: refusal(),
            }),
            500..=599 => Err(SpotError::Server {
                route,
                refusal: refusal(),
            }),
            400..=499 => Err(SpotError::Refused {
                route,
                refusal: refusal(),
            }),
            _ => Err(SpotError::Unexpected {
                route,
                status,
                request_id: envelope::request_id(&body),
                reason: "the status is none that Spot documents; a proxy may have answered"
                    .to_owned(),
            }),
        }
    }
}

impl Inner {
    /// What a failed request means. Only a failed connection is sure to have sent nothing.
    fn failure(&self, route: Route, error: reqwest::Error) -> SpotError {
        let error = error.without_url();
        if error.is_connect() {
            SpotError::Unreachable {
                route,
                address: self.base.origin().ascii_serialization(),
                reason: causes(&error),
            }
        } else if error.is_timeout() {
            SpotError::TimedOut {
                route,
                after: self.settings.call_timeout,
            }
        } else if error.is_builder() {
            setup(&causes(&error))
        } else {
            SpotError::Lost {
                route,
                reason: causes(&error),
            }
        }
    }
}

fn setup(reason: &str) -> SpotError {
    SpotError::Setup {
        reason: reason.to_owned(),
    }
}

/// The last cause of an error, which says more than the outer ones.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        last = cause.to_string();
        source = cause.source();
    }
    last
}

/// The X-RateLimit-* headers (Spot's help, "API rate limits"); the reset is in seconds.
fn rate_headers(headers: &HeaderMap) -> RateHeaders {
    let number = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?;
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite() && *n >= 0.0)
    };
    // A float cast saturates.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be positive; saturates"
    )]
    let whole = |name: &str| number(name).map(|n| n as u32);
    RateHeaders {
        limit: whole("x-ratelimit-limit"),
        remaining: whole("x-ratelimit-remaining"),
        reset: number("x-ratelimit-reset").and_then(|n| Duration::try_from_secs_f64(n).ok()),
    }
}
