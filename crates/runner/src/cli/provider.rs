//! `runner provider`: serves the custom resources of the stacks until a signal, and looks after those that nobody answered.

mod dead_letters;

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, Global, load, telemetry};
use crate::{
    config::{Loaded, ProviderKind, ServedBy},
    engine::Interrupt,
    home::Home,
    provider::{self, Serving, dead_letters::find},
};

use dead_letters::DeadLetters;

/// What to serve.
enum Work {
    /// What comes to the provider's queue.
    Queue,
    /// What is in the provider's queue now.
    QueueOnce,
    /// What is in a dead-letter queue now: this one, or the one behind the provider's queue.
    DeadLetters(Option<String>),
}

/// Serve the custom resources of the stacks from the provider's queue, until a signal.
///
/// The first SIGINT or SIGTERM takes nothing new and answers what was taken up, the second leaves at once. SIGHUP reads the
/// Spot token again.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Provider {
    /// End when the queue is empty and everything is answered.
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the requests that ended in the dead-letter queue, or serve those that can still be answered.
    DeadLetters(DeadLetters),
}

impl Provider {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        if config.runner.enrollment.provider != ProviderKind::Queue {
            return Err(Failure::Config(
                "enrollment.provider is not \"queue\", so there is no queue to serve".to_owned(),
            ));
        }
        let only_lists =
            matches!(&self.action, Some(Action::DeadLetters(command)) if !command.serves());
        let only_the_function = config.runner.enrollment.served_by == ServedBy::Lambda
            && !config.runner.shares_state_with_function();
        if only_the_function && !only_lists {
            return Err(Failure::Config(
                "enrollment.served_by is \"lambda\": without one state, two kinds of consumers do not know of each other's work, \
                 so only the function serves; give both the same PostgreSQL state (bootstrap.lambda.state), or take served_by \
                 away to serve here, and the function's event source away with it"
                    .to_owned(),
            ));
        }
        match self.action {
            Some(Action::DeadLetters(command)) => Box::pin(command.run(global, config)).await,
            None if self.once => serve(global, config, Work::QueueOnce).await,
            None => serve(global, config, Work::Queue).await,
        }
    }
}

/// Serves until a signal, or until there is nothing left when that is asked for.
async fn serve(global: &Global, config: Loaded, work: Work) -> Result<u8, Failure> {
    let guard = telemetry(global, &config)?;
    let unheard = |error| Failure::Failed(format!("signals cannot be listened to: {error}"));
    let interrupt = Interrupt::on_signals().map_err(unheard)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
    let home = Home::connect(Arc::new(config)).await?;
    provider::check(&home).await?;
    let serving = Serving::prepare(&home, None).await?;
    let (serving, live) = match work {
        Work::Queue => (serving, Some(home.state.serve().await?)),
        Work::QueueOnce => (serving.until_empty(), None),
        Work::DeadLetters(url) => {
            let url = match url {
                Some(url) => url,
                None => find(&home).await?,
            };
            (serving.from_queue(&home, url).until_empty(), None)
        }
    };
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let signals = async {
        tokio::select! {
            () = interrupt.draining() => {}
            () = drain.cancelled() => {}
        }
        // What comes now is for others.
        drop(live);
        drain.cancel();
        interrupt.abandoned().await;
        abort.cancel();
    };
    let rotations = async {
        while hangup.recv().await.is_some() {
            home.forget_spot_token().await;
        }
    };
    let served = tokio::select! {
        served = serving.run(&drain, &abort) => served,
        served = async { tokio::join!(signals, rotations); std::future::pending().await } => served,
    };
    guard.shutdown().await;
    served?;
    Ok(0)
}
