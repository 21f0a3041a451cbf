//! `runner sandbox`: a simulated AWS Organization and Spot on loopback.

use std::{net::SocketAddr, path::PathBuf};

use super::{Failure, print};

/// Start a simulated AWS Organization and a simulated Spot on this machine, for rehearsal.
///
/// Prints one JSON line with the endpoint and the environment variables that point the runner, the AWS CLI and every
/// AWS SDK at it, and runs until SIGINT or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Sandbox {
    /// What the organization and Spot look like and how they behave (TOML, docs/sandbox.md). Without it, a small default.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one. Loopback only: it has no authentication worth the name.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Sandbox {
    pub(super) async fn run(self) -> Result<u8, Failure> {
        if !self.listen.ip().is_loopback() {
            return Err(Failure::Config(format!(
                "the sandbox listens on loopback addresses only, and {} is none; use 127.0.0.1:PORT",
                self.listen
            )));
        }
        let scenario = match &self.scenario {
            None => sandbox::Scenario::default(),
            Some(file) => sandbox::Scenario::read(file)
                .map_err(|error| Failure::Config(format!("{}: {error}", file.display())))?,
        };
        // Before listening, so that a signal right after the first line is not lost.
        let interrupt = crate::engine::Interrupt::on_signals()
            .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
        let server = sandbox::Sandbox::start(scenario, self.listen)
            .await
            .map_err(|error| {
                let cause = std::error::Error::source(&error)
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                Failure::Failed(format!(
                    "{error}{cause}; choose another --listen, or port 0 for a free one"
                ))
            })?;
        let ready = serde_json::json!({ "endpoint": server.endpoint(), "environment": server.environment() });
        print(&format!("{ready}\n"));
        interrupt.draining().await;
        server.shutdown().await;
        Ok(0)
    }
}
