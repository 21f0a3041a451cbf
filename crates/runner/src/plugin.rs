//! Plugins: executables that are job kinds of their own, spoken to over stdin and stdout, one JSON document a line.
//!
//! - `protocol`: what is said, from which the JSON Schemas are made; `docs/plugins.md` tells it;
//! - `process`: the process, in a process group of its own, and its end;
//! - `scratch`: its directory, and those that killed runners left behind;
//! - `environment`: what it sees of ours, which is nothing but what it was granted;
//! - `redactor`: takes what was granted out of its words;
//! - `lines`: what it writes to stdout, as far as its limits go;
//! - `said`: what it writes to stderr, in our log;
//! - `session`: requests and answers;
//! - `description`: what it says of itself, and whether that can be used;
//! - `pool`: the processes of one run.
//!
//! Guarantees: each wait has an end, each buffer a limit; a process is given nothing that was not granted, and is gone, with what it
//! started in its group, when its session is. What it says is never trusted: `onboarding_core::external` judges what it plans.

mod description;
mod environment;
mod error;
mod lines;
mod pool;
mod process;
pub mod protocol;
mod redactor;
mod said;
mod scratch;
mod session;

use std::{path::PathBuf, time::Duration};

pub use description::Description;
use environment::Environment;
pub(crate) use environment::Granted;
pub use error::PluginError;
pub(crate) use pool::Pool;

use crate::{
    config::{ExternalJob, PluginsConfig},
    engine::Interrupt,
};

/// A plugin, and what bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its kind.
    pub kind: String,
    /// The executable.
    pub program: PathBuf,
    pub(crate) limits: Limits,
}

/// What bounds a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) start: Duration,
    pub(crate) call: Duration,
    pub(crate) grace: Duration,
    pub(crate) steps: usize,
    pub(crate) line: usize,
    pub(crate) answer: usize,
}

impl Plugin {
    /// A plugin under the limits of the configuration.
    #[must_use]
    pub fn new(kind: &str, program: PathBuf, config: &PluginsConfig) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            kind: kind.to_owned(),
            program,
            limits: Limits {
                start: config.start_timeout.get(),
                call: config.call_timeout.get(),
                grace: config.cancel_grace.get(),
                steps: size(config.max_steps),
                line: size(config.max_line_bytes),
                answer: size(config.max_answer_bytes),
            },
        }
    }

    /// The plugin of a job.
    #[must_use]
    pub fn of(job: &ExternalJob, config: &PluginsConfig) -> Self {
        Self::new(&job.kind, job.program.clone(), config)
    }

    /// Asks it what it is, in a process that is granted nothing and ended afterwards.
    ///
    /// # Errors
    /// It cannot be started, does not answer as it must, or describes what cannot be used.
    pub async fn describe(&self, interrupt: &Interrupt) -> Result<Description, PluginError> {
        let mut session = session::Session::start(self, &Environment::default())?;
        let described = session.describe(interrupt).await;
        session.end().await;
        described
    }
}
