//! The enrollment provider inside the daemon: serves the queue for as long as the daemon lives, where the configuration says that a
//! provider does. Trouble is logged, and it is begun again.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use onboarding_provider::Intents as _;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{ProviderKind, ServedBy},
    engine::{ErrorClass, Interrupt, JobError},
    home::Home,
    provider::{self, Served, Serving},
    state::State,
};

/// The pause before serving is begun again.
const PAUSE: Duration = Duration::from_secs(10);

/// The time between two looks whether the state answers, once this process is to end.
const LOOK: Duration = Duration::from_secs(1);

/// Serves until `interrupt` drains and what was taken up is answered, and says whether it does. Only waits where nobody of ours serves
/// all the time.
pub(super) async fn serve(home: &Home, interrupt: &Interrupt, served: &Arc<Served>) {
    let enrollment = &home.config.runner.enrollment;
    if enrollment.provider != ProviderKind::Queue || enrollment.served_by != ServedBy::Provider {
        interrupt.draining().await;
        return;
    }
    // Not yet.
    served.set(false);
    while !interrupt.is_draining() {
        let serving = AssertUnwindSafe(until_drained(home, interrupt, served)).catch_unwind();
        match serving.await.unwrap_or_else(|_panic| Err(panicked())) {
            Ok(()) => return,
            Err(error) => {
                served.set(false);
                let error = error.chain();
                tracing::error!(
                    error,
                    "custom resources are not answered; it is tried again"
                );
                tokio::select! {
                    () = interrupt.draining() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

fn panicked() -> JobError {
    JobError::new(
        ErrorClass::Bug,
        "serving the queue panicked; please report this with the log",
    )
}

async fn until_drained(
    home: &Home,
    interrupt: &Interrupt,
    served: &Arc<Served>,
) -> Result<(), JobError> {
    let prepared = async {
        provider::check(home).await?;
        let serving = Serving::prepare(home, None).await?;
        Ok::<_, JobError>((serving, home.state.serve().await?))
    };
    let (serving, live) = tokio::select! {
        biased;
        () = interrupt.draining() => return Ok(()),
        prepared = prepared => prepared?,
    };
    let serving = serving.saying_so(Arc::clone(served));
    served.set(true);
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let signals = async {
        interrupt.draining().await;
        // What comes now is for others.
        drop(live);
        drain.cancel();
        tokio::select! {
            () = interrupt.abandoned() => {}
            () = silenced(&home.state, interrupt) => tracing::warn!(
                "the state does not answer: custom resources that were taken up are left to whoever serves next"
            ),
        }
        abort.cancel();
        std::future::pending().await
    };
    tokio::select! {
        served = serving.run(&drain, &abort) => served,
        () = signals => Ok(()),
    }
}

/// Ends when the process is to end and the state does not answer: none of what was taken up can be done without it.
async fn silenced(state: &State, interrupt: &Interrupt) {
    interrupt.ending().await;
    while interrupt
        .or_end(1, state.database().is_current())
        .await
        .is_some()
    {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_that_does_not_answer_keeps_nobody_who_is_to_end() {
        let Some(silent) = State::silent("_sqlx_migrations").await else {
            return;
        };
        let interrupt = Interrupt::with_moments_of(Duration::from_millis(100));
        let silenced = silenced(&silent.state, &interrupt);
        let at_once = tokio::time::timeout(Duration::from_millis(300), silenced);
        assert!(at_once.await.is_err(), "nobody has told it to end");
        interrupt.signal();
        let silenced = super::silenced(&silent.state, &interrupt);
        silent.comes_back(silenced).await;
    }
}
