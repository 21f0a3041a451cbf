//! Whether the daemon is ready: the state answers, the scheduler looks, runs that wait are taken up, and custom resources are answered
//! where this process should. That they are not is no reason to restart it, which would mend none of it: `/healthz` does not tell.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{provider::Served, state::State};

/// A scheduler that has not looked for so long does not.
const SCHEDULER: Duration = Duration::from_secs(30);

/// An executor that has not looked for so long does not: it also looks for what died, which takes longer.
const EXECUTOR: Duration = Duration::from_secs(90);

/// A provider that has not served for so long was begun again more than once meanwhile.
const PROVIDER: Duration = Duration::from_secs(30);

/// How long the state may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long an answer is good: everybody may ask, and the state has other things to do.
const REMEMBERED: Duration = Duration::from_secs(1);

/// When the parts of the daemon looked last.
#[derive(Default)]
pub(super) struct Health {
    looked_at: Mutex<Option<Instant>>,
    took_up_at: Mutex<Option<Instant>>,
}

impl Health {
    /// The scheduler has looked.
    pub(super) fn looked(&self) {
        *self.looked_at.lock() = Some(Instant::now());
    }

    /// The executor has looked for runs that wait.
    pub(super) fn took_up(&self) {
        *self.took_up_at.lock() = Some(Instant::now());
    }
}

/// See the module documentation.
pub(super) struct Readiness {
    state: State,
    health: Arc<Health>,
    served: Arc<Served>,
    /// What was said last, and when.
    said: tokio::sync::Mutex<Option<(Instant, Option<String>)>>,
    remembered: Duration,
}

impl Readiness {
    pub(super) fn new(state: State, health: Arc<Health>, served: Arc<Served>) -> Self {
        Self {
            state,
            health,
            served,
            said: tokio::sync::Mutex::default(),
            remembered: REMEMBERED,
        }
    }

    /// Why it is not ready; none when it is. Who asks while another one is told waits for the same answer.
    pub(super) async fn why_not(&self) -> Option<String> {
        let mut said = self.said.lock().await;
        if let Some((at, why)) = &*said
            && at.elapsed() < self.remembered
        {
            return why.clone();
        }
        let why = self.look().await;
        *said = Some((Instant::now(), why.clone()));
        why
    }

    async fn look(&self) -> Option<String> {
        match timeout(PATIENCE, self.state.standings()).await {
            Err(_) => Some("the state does not answer".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(_)) => self.silent().trouble().map(str::to_owned),
        }
    }

    fn silent(&self) -> Silent {
        let since = |at: &Mutex<Option<Instant>>| at.lock().map(|at| at.elapsed());
        Silent {
            scheduler: since(&self.health.looked_at),
            executor: since(&self.health.took_up_at),
            provider: self.served.unserved_since().map(|at| at.elapsed()),
        }
    }
}

/// For how long the parts have not done what they are there for. None: the scheduler and the executor not yet, the provider has.
#[derive(Debug, Clone, Copy)]
struct Silent {
    scheduler: Option<Duration>,
    executor: Option<Duration>,
    provider: Option<Duration>,
}

impl Silent {
    fn trouble(self) -> Option<&'static str> {
        if self.scheduler.is_none_or(|silent| silent >= SCHEDULER) {
            return Some("the scheduler does not look");
        }
        if self.executor.is_none_or(|silent| silent >= EXECUTOR) {
            return Some("runs that wait are not taken up");
        }
        let unserved = self.provider.is_some_and(|silent| silent >= PROVIDER);
        unserved.then_some("custom resources are not answered: the provider's queue is not served")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn readiness(directory: &tempfile::TempDir) -> Readiness {
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        Readiness::new(state, Arc::default(), Arc::default())
    }

    #[test]
    fn each_part_that_is_silent_for_too_long_is_told() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (scheduler, executor, provider, told) in [
            (seconds(2), seconds(2), None, None),
            (seconds(29), seconds(89), seconds(29), None),
            (None, None, None, Some("scheduler")),
            (seconds(30), seconds(2), None, Some("scheduler")),
            (seconds(2), None, None, Some("taken up")),
            (seconds(2), seconds(90), None, Some("taken up")),
            (seconds(2), seconds(2), seconds(30), Some("queue")),
        ] {
            let silent = Silent {
                scheduler,
                executor,
                provider,
            };
            match (silent.trouble(), told) {
                (None, None) => {}
                (Some(why), Some(told)) => assert!(why.contains(told), "{silent:?}: {why}"),
                (why, told) => panic!("{silent:?}: {why:?}, not {told:?}"),
            }
        }
    }

    #[tokio::test]
    async fn it_is_ready_when_all_parts_have_said_so_and_the_queue_is_served_or_another_ones() {
        let directory = tempfile::tempdir().unwrap();
        let readiness = Readiness {
            remembered: Duration::ZERO,
            ..readiness(&directory).await
        };
        assert!(readiness.why_not().await.unwrap().contains("scheduler"));
        readiness.health.looked();
        assert!(readiness.why_not().await.unwrap().contains("taken up"));
        readiness.health.took_up();
        assert_eq!(readiness.why_not().await, None);
        readiness.served.set(false);
        assert!(readiness.silent().provider.is_some());
        readiness.served.set(true);
        assert_eq!(readiness.silent().provider, None);
    }

    #[tokio::test]
    async fn whoever_asks_again_at_once_asks_the_state_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let readiness = Readiness {
            remembered: Duration::from_secs(3600),
            ..readiness(&directory).await
        };
        readiness.health.looked();
        readiness.health.took_up();
        assert_eq!(readiness.why_not().await, None);
        readiness.state.close().await;
        assert_eq!(readiness.why_not().await, None);
        let asks_again = Readiness {
            remembered: Duration::ZERO,
            ..readiness
        };
        assert!(asks_again.why_not().await.is_some());
    }
}
