//! `runner sandbox` as a child process, and the calls of its admin API that demo and bench make.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http;
use crate::process::Background;

/// How long the sandbox may take to listen.
const START: Duration = Duration::from_secs(20);

/// A running sandbox; dropped, it is stopped.
pub(crate) struct Sandbox {
    listening: Listening,
    process: Background,
}

/// The one line that `runner sandbox` prints when it listens.
#[derive(Deserialize)]
struct Listening {
    endpoint: String,
    environment: BTreeMap<String, String>,
}

impl Sandbox {
    /// Starts it on a free port of the loopback interface; its log goes to `directory`.
    pub(crate) fn start(runner: &Path, scenario: &Path, directory: &Path) -> Result<Self> {
        let log = File::create(directory.join("sandbox.log"))?;
        let mut process = Background::start(
            "runner sandbox",
            Command::new(runner)
                .args(["sandbox", "--listen", "127.0.0.1:0", "--scenario"])
                .arg(scenario)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log),
        )?;
        let line = process.first_line(START)?;
        let listening =
            serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
        Ok(Self { listening, process })
    }

    /// Its base URL.
    pub(crate) fn endpoint(&self) -> &str {
        &self.listening.endpoint
    }

    /// Its greatest resident memory so far, in bytes; none where the operating system does not tell.
    pub(crate) fn peak_rss_bytes(&mut self) -> Option<u64> {
        self.process.memory("VmHWM")
    }

    /// The environment variables that point a program at it.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.listening.environment
    }

    /// The organizational units, the root among them: `id`, `name`, `parent` (none for the root).
    pub(crate) fn units(&self) -> Result<Vec<Value>> {
        self.list("ous")
    }

    /// The accounts: `id`, `name`, `parent`, `state`.
    pub(crate) fn accounts(&self) -> Result<Vec<Value>> {
        self.list("accounts")
    }

    /// Creates an account in an organizational unit and returns its id.
    pub(crate) fn create_account(&self, name: &str, unit: &str) -> Result<String> {
        let account = self.request(
            "POST",
            "/_sandbox/accounts",
            Some(&json!({ "name": name, "ou": unit })),
        )?;
        Ok(account["id"]
            .as_str()
            .context("the new account has no id")?
            .to_owned())
    }

    /// Whether an operation was called, such as `sqs:ReceiveMessage`.
    pub(crate) fn was_called(&self, operation: &str) -> Result<bool> {
        let calls = self.request("GET", "/_sandbox/calls", None)?;
        Ok(!calls["calls"][operation].is_null())
    }

    fn list(&self, what: &str) -> Result<Vec<Value>> {
        match self.request("GET", &format!("/_sandbox/{what}"), None)?[what].take() {
            Value::Array(entries) => Ok(entries),
            other => bail!("the sandbox's {what} are no list: {other}"),
        }
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = http::request(self.endpoint(), method, path, &body)?;
        serde_json::from_str(&answer)
            .with_context(|| format!("{method} {path} answered {answer:?}"))
    }
}
