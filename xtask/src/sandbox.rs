//! `runner sandbox` as a child process, and the calls of its admin API that demo and bench make.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::Background;

/// How long the sandbox may take to listen.
const START: Duration = Duration::from_secs(20);
/// How long the admin API may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

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
        let stdout = process
            .child()
            .stdout
            .take()
            .context("the sandbox has no stdout")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // The receiver is gone when we have given up on the sandbox.
            drop(sender.send(read.map(|_| line)));
        });
        let line = receiver
            .recv_timeout(START)
            .context("the sandbox did not say where it listens")??;
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
        let status = format!("/proc/{}/status", self.process.child().id());
        let status = fs::read_to_string(status).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
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

    /// One HTTP/1.1 request on a connection of its own; xtask needs no HTTP client for more.
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let host = self
            .endpoint()
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream =
            TcpStream::connect(host).with_context(|| format!("could not connect to {host}"))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("the sandbox sent no HTTP answer")?;
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{method} {path}: {status} {body}");
        }
        serde_json::from_str(body).with_context(|| format!("{method} {path} answered {body:?}"))
    }
}
