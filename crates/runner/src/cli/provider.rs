//! `runner provider`: serves the custom resources of the stacks until a signal.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Failure, Global, load, telemetry};
use crate::{config::ProviderKind, engine::Interrupt, home::Home, provider};

/// Serve the custom resources of the stacks from the provider's queue, until a signal.
#[derive(Debug, clap::Args)]
pub struct Provider {}

impl Provider {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        if config.runner.enrollment.provider != ProviderKind::Queue {
            return Err(Failure::Config(
                "enrollment.provider is not \"queue\", so there is no queue to serve; Spot's own Lambda functions answer".to_owned(),
            ));
        }
        let guard = telemetry(global, &config)?;
        let interrupt = Interrupt::on_signals()
            .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
        let home = Home::connect(Arc::new(config)).await?;
        provider::check(&home).await?;
        let serving = provider::Serving::prepare(&home, None).await?;
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let signals = async {
            interrupt.draining().await;
            drain.cancel();
            interrupt.abandoned().await;
            abort.cancel();
        };
        tokio::select! {
            () = serving.run(&drain, &abort) => {}
            () = async { signals.await; std::future::pending().await } => {}
        }
        guard.shutdown().await;
        Ok(0)
    }
}
