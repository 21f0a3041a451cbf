//! The enrollment provider inside the daemon: serves the queue for as long as the daemon lives, where the configuration says that a
//! provider does. Trouble is logged, and it is begun again.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{ProviderKind, ServedBy},
    engine::{ErrorClass, Interrupt, JobError},
    home::Home,
    provider::{self, Served, Serving},
};

/// The pause before serving is begun again.
const PAUSE: Duration = Duration::from_secs(10);

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
    provider::check(home).await?;
    let serving = Serving::prepare(home, None).await?;
    let serving = serving.saying_so(Arc::clone(served));
    let live = home.state.serve().await?;
    served.set(true);
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let signals = async {
        interrupt.draining().await;
        // What comes now is for others.
        drop(live);
        drain.cancel();
        interrupt.abandoned().await;
        abort.cancel();
        std::future::pending().await
    };
    tokio::select! {
        served = serving.run(&drain, &abort) => served,
        () = signals => Ok(()),
    }
}
