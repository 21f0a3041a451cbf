//! Runs a sandbox until SIGTERM or SIGINT, as `runner sandbox` does.
//!
//! `serve --scenario FILE --listen 127.0.0.1:0` prints one line of JSON on stdout:
//! `{"endpoint": "http://…", "environment": {…}}`.

use std::net::SocketAddr;
use std::path::PathBuf;

use sandbox::{Sandbox, Scenario};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut scenario = Scenario::default();
    let mut listen: SocketAddr = "127.0.0.1:0".parse()?;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--scenario" => scenario = Scenario::read(&PathBuf::from(value))?,
            "--listen" => listen = value.parse()?,
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let sandbox = Sandbox::start(scenario, listen).await?;
    println!(
        "{}",
        serde_json::json!({ "endpoint": sandbox.endpoint(), "environment": sandbox.environment() })
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.shutdown().await;
    Ok(())
}
