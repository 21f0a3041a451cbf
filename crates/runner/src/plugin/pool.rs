//! The processes of a plugin in one run: as many as work side by side, each kept for the next request.

use onboarding_core::external::Answer;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::{
    Plugin,
    description::Description,
    environment::Environment,
    error::{Doing, PluginError, Wrong},
    protocol::PlanRequest,
    session::Session,
};
use crate::engine::{ErrorClass, Interrupt, JobError};

/// See the module documentation.
pub(crate) struct Pool {
    plugin: Plugin,
    pub(crate) description: Description,
    environment: Environment,
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
    pub(crate) fn new(plugin: Plugin, description: Description, environment: Environment) -> Self {
        Self {
            plugin,
            description,
            environment,
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// A process that waits for a request.
    pub(crate) async fn take(&self) -> Result<Session, PluginError> {
        if let Some(session) = self.idle.lock().pop() {
            return Ok(session);
        }
        let mut session = Session::start(&self.plugin, &self.environment)?;
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
        })
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
