//! The processes of a plugin in one run: as many as work side by side, each kept for the next request.

use onboarding_core::external::Answer;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::{
    Plugin,
    description::Description,
    environment::Environments,
    error::{Doing, PluginError, Wrong},
    protocol::PlanRequest,
    session::Session,
};
use crate::engine::{ErrorClass, Interrupt, JobError};

/// See the module documentation.
pub(crate) struct Pool {
    plugin: Plugin,
    pub(crate) description: Description,
    environments: Box<dyn Environments>,
    idle: Mutex<Vec<Session>>,
    /// What must come to its end before the run is over.
    tasks: TaskTracker,
}

/// Tells what goes on to end, when nobody waits for it any more.
struct EndsWith(Interrupt);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.signal();
    }
}

impl Pool {
    pub(crate) fn new(
        plugin: Plugin,
        description: Description,
        environments: impl Environments + 'static,
    ) -> Self {
        Self {
            plugin,
            description,
            environments: Box::new(environments),
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// A process that waits for a request.
    pub(crate) async fn take(&self) -> Result<Session, JobError> {
        if let Some(session) = self.idle() {
            return Ok(session);
        }
        let environment = self.environments.now().await?;
        let mut session = Session::start(&self.plugin, &environment)?;
        let described = session.describe(&Interrupt::default()).await?;
        if described == self.description {
            return Ok(session);
        }
        session.end().await;
        Err(PluginError {
            plugin: self.plugin.kind.clone(),
            doing: Doing::Describe,
            wrong: Box::new(Wrong::Description(
                "it says something else than when the run began; was it replaced?".to_owned(),
            )),
            said: Vec::new(),
        }
        .into())
    }

    /// One that has been asked before and can be asked more. Those that cannot are ended.
    fn idle(&self) -> Option<Session> {
        let lifetime = self.environments.lifetime();
        let mut idle = self.idle.lock();
        while let Some(session) = idle.pop() {
            let is_old = lifetime.is_some_and(|lifetime| session.age() >= lifetime);
            if !is_old && !session.has_ended() {
                return Some(session);
            }
            self.tasks.spawn(session.end());
        }
        None
    }

    /// Takes a process back, and ends it unless it can be asked more.
    pub(crate) async fn give(&self, session: Session) {
        if session.is_idle() {
            self.idle.lock().push(session);
        } else {
            session.end().await;
        }
    }

    /// Has one of them plan. Dropped half-way, the plugin is told to cancel; [`Pool::close`] waits for that.
    pub(crate) async fn plan(&self, request: PlanRequest) -> Result<Answer, JobError> {
        let mut session = self.take().await?;
        let interrupt = Interrupt::default();
        let _asked = EndsWith(interrupt.clone());
        let planning = async move {
            let answer = session.plan(request, &interrupt).await;
            if interrupt.is_draining() {
                session.end().await;
                return (None, answer);
            }
            (Some(session), answer)
        };
        let planning = planning.instrument(tracing::Span::current());
        let (session, answer) = self.tasks.spawn(planning).await.map_err(|_panic| {
            JobError::new(
                ErrorClass::Bug,
                "asking a plugin for a plan panicked; please report this with the log",
            )
        })?;
        if let Some(session) = session {
            self.give(session).await;
        }
        Ok(answer?)
    }

    /// What is wrong with a plan.
    pub(crate) fn lie(&self, wrong: onboarding_core::external::AnswerError) -> JobError {
        PluginError {
            plugin: self.plugin.kind.clone(),
            doing: Doing::Plan,
            wrong: Box::new(wrong.into()),
            said: Vec::new(),
        }
        .into()
    }

    /// Ends all of them.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        for session in idle {
            self.tasks.spawn(session.end());
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::{Duration, Instant},
    };

    use async_trait::async_trait;
    use e2e::components;

    use super::*;
    use crate::{
        config::PluginsConfig,
        plugin::{
            Environment,
            protocol::{PhaseView, RunView},
        },
    };

    /// Counts the processes that are started.
    struct Counting {
        started: Arc<AtomicUsize>,
        lifetime: Option<Duration>,
    }

    #[async_trait]
    impl Environments for Counting {
        async fn now(&self) -> Result<Environment, JobError> {
            self.started.fetch_add(1, Ordering::Relaxed);
            Ok(Environment::default())
        }

        fn lifetime(&self) -> Option<Duration> {
            self.lifetime
        }
    }

    /// A pool of the plugin for tests, with how many processes it has started, and its directory.
    async fn pool(lifetime: Option<Duration>) -> (Pool, Arc<AtomicUsize>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("runner-job-rogue-fine");
        let rogue = components::checkout().join("tests/plugins/runner-job-rogue");
        symlink(rogue, &program).unwrap();
        let plugin = Plugin::new("rogue-fine", program, &PluginsConfig::default());
        let description = plugin.describe(&Interrupt::default()).await.unwrap();
        let started = Arc::new(AtomicUsize::default());
        let environments = Counting {
            started: Arc::clone(&started),
            lifetime,
        };
        let pool = Pool::new(plugin, description, environments);
        (pool, started, directory)
    }

    async fn until_ended(session: &Session) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !session.has_ended() {
            assert!(Instant::now() < deadline, "it does not end");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_environment_is_made_when_a_process_starts_and_an_old_process_is_asked_no_more() {
        for (lifetime, processes) in [
            (None, 1),
            (Some(Duration::from_secs(600)), 1),
            (Some(Duration::ZERO), 3),
        ] {
            let (pool, started, _directory) = pool(lifetime).await;
            assert_eq!(started.load(Ordering::Relaxed), 0);
            for _ in 0..3 {
                let session = pool.take().await.unwrap();
                pool.give(session).await;
            }
            assert_eq!(started.load(Ordering::Relaxed), processes, "{lifetime:?}");
            pool.close().await;
        }
    }

    #[tokio::test]
    async fn a_process_that_has_ended_is_not_handed_out() {
        let (pool, started, _directory) = pool(None).await;
        let session = pool.take().await.unwrap();
        session.kill();
        until_ended(&session).await;
        pool.give(session).await;
        let session = pool.take().await.unwrap();
        assert!(!session.has_ended());
        assert_eq!(started.load(Ordering::Relaxed), 2);
        pool.give(session).await;
        pool.close().await;
    }

    #[tokio::test]
    async fn what_a_process_that_had_ended_was_not_asked_is_asked_again() {
        let (pool, _, _directory) = pool(None).await;
        let mut session = pool.take().await.unwrap();
        session.kill();
        until_ended(&session).await;
        let request = PlanRequest {
            run: RunView {
                id: "run".to_owned(),
                job: "job".to_owned(),
                dry_run: false,
            },
            phase: PhaseView::Observe,
            settings: serde_json::Map::new(),
            accounts: Vec::new(),
            protected_accounts: Vec::new(),
            memos: Default::default(),
        };
        let error = session.plan(request, &Interrupt::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        assert!(error.to_string().contains("signal 9"), "{error}");
        pool.close().await;
    }
}
