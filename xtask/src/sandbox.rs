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

    /// The roles that Spot accounts are linked to, by ARN.
    pub(crate) fn linked_roles(&self) -> Result<Vec<String>> {
        let spot = self.request("GET", "/_sandbox/spot", None)?;
        let accounts = spot["accounts"].as_array().context("no Spot accounts")?;
        let roles = accounts
            .iter()
            .filter_map(|account| account["role"].as_str());
        Ok(roles.map(str::to_owned).collect())
    }

    /// Gives a role an inline policy behind CloudFormation's back, as the administrator of its account.
    pub(crate) fn add_stray_policy(&self, role: &str) -> Result<()> {
        let account = role.split(':').nth(4).context("no account in an ARN")?;
        let name = role.rsplit('/').next().unwrap_or_default();
        let scope = format!("AKIA{account}ROOT/20260101/us-east-1/iam/aws4_request");
        http::form(
            self.endpoint(),
            &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            &format!(
                "Action=PutRolePolicy&Version=2010-05-08&RoleName={name}&PolicyName=stray&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C\
                 %22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D"
            ),
        )?;
        Ok(())
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
