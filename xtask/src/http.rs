//! One HTTP request to a program of ours on the loopback interface; xtask needs no HTTP client for more.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Sends it on a connection of its own, with a body of JSON or none, and returns the body of the answer; fails unless its status is
/// one of success.
pub(crate) fn request(endpoint: &str, method: &str, path: &str, body: &str) -> Result<String> {
    let headers = "Content-Type: application/json";
    send(endpoint, &format!("{method} {path}"), headers, body)
}

/// Posts a form to the root, with a header that says who asks.
pub(crate) fn form(endpoint: &str, authorization: &str, body: &str) -> Result<String> {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let headers = format!("{kind}\r\nAuthorization: {authorization}");
    send(endpoint, "POST /", &headers, body)
}

fn send(endpoint: &str, request: &str, headers: &str, body: &str) -> Result<String> {
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut stream =
        TcpStream::connect(host).with_context(|| format!("could not connect to {host}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "{request} HTTP/1.0\r\nHost: {host}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{host} sent no HTTP answer"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("{request}: {status} {body}");
    }
    Ok(body.to_owned())
}
