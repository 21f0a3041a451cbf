//! `runner daemon`: runs jobs when they are due and serves the provider's queue, until a signal.

use std::{net::SocketAddr, sync::Arc};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, load, print, start_telemetry};
use crate::{daemon, engine::Interrupt, home::Home, report::Output};

/// Run jobs when they are due and serve the provider's queue, until a signal.
///
/// The first SIGINT or SIGTERM takes nothing new, ends what runs as it would end a run by hand, and answers the custom resources
/// that were taken up; the second leaves at once. SIGHUP reads the job definitions and the Spot token again.
#[derive(Debug, clap::Args)]
pub struct Daemon {}

impl Daemon {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        // It says what it does: nobody sits beside it.
        let talkative = Global {
            verbose: global.verbose.max(u8::from(!global.quiet)),
            ..global.clone()
        };
        let guard = start_telemetry(&talkative, &config, true)?;
        let unheard = |error| Failure::Failed(format!("signals cannot be listened to: {error}"));
        let interrupt = Interrupt::on_signals().map_err(unheard)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
        let home = tokio::select! {
            home = Home::connect(Arc::new(config)) => home?,
            () = interrupt.draining() => {
                guard.shutdown().await;
                return Ok(0);
            }
        };
        let forgetful = home.clone();
        let hangups = Arc::new(tokio::sync::Notify::new());
        let heard = Arc::clone(&hangups);
        let listening = async move {
            while hangup.recv().await.is_some() {
                forgetful.forget_spot_token().await;
                heard.notify_one();
            }
            std::future::pending::<()>().await;
        };
        let scrape = guard.scrape().ok_or_else(|| {
            Failure::Failed("there are no metrics to serve; please report this".to_owned())
        })?;
        let output = global.output;
        let listens = |address: SocketAddr| match output {
            Output::Json => print(&format!(
                "{}\n",
                json!({ "endpoint": format!("http://{address}") })
            )),
            Output::Table => print(&format!("listening on http://{address}\n")),
        };
        let ran = tokio::select! {
            ran = daemon::run(home, global.set.clone(), scrape, &interrupt, || hangups.notified(), listens) => ran,
            () = listening => Ok(()),
        };
        guard.shutdown().await;
        ran?;
        Ok(0)
    }
}
