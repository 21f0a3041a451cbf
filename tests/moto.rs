//! moto: an AWS that we did not write, and plain requests that put things into it.
//!
//! The requests are made by hand: were they made with our client, or its SDK, a wrong idea of the wire would be on both
//! sides.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::components;
use crate::process::{Background, until};
use crate::tls;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// A `moto_server` of our own; dropped, it ends.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _process: Background,
}

impl Moto {
    /// Starts it with nothing in it; `None` when it is not installed here, see [`components::venv`].
    ///
    /// # Errors
    /// It cannot be started, or the tests must not run without it.
    pub fn start() -> Result<Option<Self>> {
        let Some(venv) = components::venv()? else {
            return Ok(None);
        };
        // Free until moto takes it. Should another program be quicker, moto ends and says so.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut process = Background::start(Command::new(venv.join("bin/moto_server")).args([
            "-H",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
        ]))?;
        until(START, "moto listens", || {
            process.check()?;
            Ok(TcpStream::connect(address).ok())
        })?;
        Ok(Some(Self {
            address,
            _process: process,
        }))
    }

    /// Its base URL, for every service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls an operation of a service with a JSON protocol; `target` is as in the header `X-Amz-Target`.
    ///
    /// # Errors
    /// moto refuses, or does not answer with JSON.
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
    /// moto refuses.
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

    /// A request whose signature moto does not check; it reads the service and the Region off it.
    fn request(&self, service: &str) -> Result<reqwest::RequestBuilder> {
        tls::install();
        let scope = format!("AKIATEST/20260101/us-east-1/{service}/aws4_request");
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(START)
            .build()?;
        Ok(client.post(self.endpoint()).header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        ))
    }
}

async fn answer(operation: &str, request: reqwest::RequestBuilder) -> Result<String> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{operation}: {status} {text}");
    Ok(text)
}
