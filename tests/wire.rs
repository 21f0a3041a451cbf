//! Plain requests to AWS's protocols, to put things into an emulator or the sandbox.
//!
//! They are made by hand: were they made with our client, or its SDK, a wrong idea of the wire would be on both sides.

use std::{iter, sync::OnceLock, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;

use crate::tls;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The client of the test process, for plain HTTP. It keeps no connection, so that it serves one runtime after the other; and it reads
/// none of the machine's certificates, which would cost more than all that a test that polls asks for.
///
/// # Errors
/// No client can be made.
pub fn client() -> Result<&'static reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    tls::install();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(iter::empty())
        .pool_max_idle_per_host(0)
        .timeout(LIMIT)
        .build()?;
    Ok(CLIENT.get_or_init(|| client))
}

/// An endpoint, and as whom it is called.
#[derive(Debug, Clone)]
pub struct Wire {
    endpoint: String,
    access_key: String,
    session_token: Option<String>,
}

impl Wire {
    /// Calls `endpoint` with this access key. Requests are not really signed; neither moto nor the sandbox checks.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, access_key: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            access_key: access_key.into(),
            session_token: None,
        }
    }

    /// The same endpoint, called in a session of a role.
    #[must_use]
    pub fn in_session(&self, access_key: &str, token: &str) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            access_key: access_key.to_owned(),
            session_token: Some(token.to_owned()),
        }
    }

    /// Calls an operation of a service with a JSON protocol; `target` is as in the header `X-Amz-Target`.
    ///
    /// # Errors
    /// the call is refused, or is not answered with JSON.
    pub async fn json(&self, service: &str, target: &str, input: &Value) -> Result<Value> {
        let request = self.request(service)?;
        let request = request
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1");
        let text = answer(target, request.body(input.to_string())).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{target} answered {text:?}"))
    }

    /// Calls an operation of a service with the Query protocol, and returns the XML that it answers with.
    ///
    /// # Errors
    /// the call is refused.
    pub async fn query(
        &self,
        service: &str,
        action: &str,
        input: &[(&str, &str)],
    ) -> Result<String> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .extend_pairs(input)
            .finish();
        let request = self
            .request(service)?
            .header("content-type", "application/x-www-form-urlencoded");
        answer(action, request.body(form)).await
    }

    /// A request without a true signature; who is called, and in which Region, is read off its scope.
    fn request(&self, service: &str) -> Result<reqwest::RequestBuilder> {
        let scope = format!(
            "{}/20260101/us-east-1/{service}/aws4_request",
            self.access_key
        );
        let request = client()?.post(&self.endpoint).header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        );
        Ok(match &self.session_token {
            Some(token) => request.header("x-amz-security-token", token),
            None => request,
        })
    }

    /// Reads JSON with GET, or sends JSON with POST: for the sandbox's admin API.
    ///
    /// # Errors
    /// The call is refused, or is not answered with JSON.
    pub async fn admin(&self, path: &str, body: Option<&Value>) -> Result<Value> {
        let method = match body {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let text = answer(path, self.of_admin(method, path, body)?).await?;
        serde_json::from_str(&text).with_context(|| format!("{path} answered {text:?}"))
    }

    /// Takes something away with DELETE: for the sandbox's admin API.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn admin_delete(&self, path: &str) -> Result<()> {
        let request = self.of_admin(Method::DELETE, path, None)?;
        answer(path, request).await.map(drop)
    }

    fn of_admin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder> {
        let url = format!("{}/_sandbox/{path}", self.endpoint);
        let request = client()?.request(method, url);
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }
}

async fn answer(operation: &str, request: reqwest::RequestBuilder) -> Result<String> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{operation}: {status} {text}");
    Ok(text)
}
