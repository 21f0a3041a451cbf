//! What a plugin did wrong, in words that name it and say where.

use std::{fmt, time::Duration};

use onboarding_core::external::AnswerError;

use super::protocol::{VERSION, WrittenClass};
use crate::engine::{ErrorClass, JobError};

/// What went wrong with a plugin.
#[derive(Debug)]
pub struct PluginError {
    pub(super) plugin: String,
    pub(super) doing: Doing,
    pub(super) wrong: Box<Wrong>,
    /// Its last lines on stderr.
    pub(super) said: Vec<String>,
}

/// What a plugin was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    Describe,
    Plan,
    /// A step, by its id.
    Apply(String),
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Describe => f.write_str("while it described itself"),
            Self::Plan => f.write_str("while it planned"),
            Self::Apply(step) => write!(f, "while it did step {step}"),
        }
    }
}

/// What it did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(
        "could not be started ({0}); it must be an executable whose interpreter, if it has one, is there"
    )]
    NotStarted(std::io::Error),
    #[error(
        "could not be given a directory of its own ({0}); look at the directory for temporary files"
    )]
    NoScratch(std::io::Error),
    #[error("ended {doing}: {how}")]
    Ended { doing: Doing, how: String },
    #[error(
        "did not answer within {limit} {doing}, nor {grace} after it was told to cancel, and was killed; raise {setting} in runner.toml \
         if it needs longer", limit = humantime::format_duration(*.limit), grace = humantime::format_duration(*.grace)
    )]
    Hung {
        doing: Doing,
        limit: Duration,
        grace: Duration,
        setting: &'static str,
    },
    #[error(
        "stopped {doing}, as it was told to after {limit}; raise {setting} in runner.toml if it needs longer",
        limit = humantime::format_duration(*.limit)
    )]
    Stopped {
        doing: Doing,
        limit: Duration,
        setting: &'static str,
    },
    #[error("was told to cancel {doing}, and did")]
    Cancelled { doing: Doing },
    #[error("did not end {grace} after it was told to cancel {doing}, and was killed", grace = humantime::format_duration(*.grace))]
    Interrupted { doing: Doing, grace: Duration },
    #[error(
        "wrote more than {limit} bytes without the end of a line (line {line} of its stdout) {doing}, and was killed"
    )]
    LongLine {
        line: u64,
        limit: usize,
        doing: Doing,
    },
    #[error(
        "wrote more than {limit} bytes (up to line {line} of its stdout) {doing}, and was killed"
    )]
    TooMuch {
        line: u64,
        limit: usize,
        doing: Doing,
    },
    #[error("ended before it could be asked ({how})")]
    Unheard { how: String },
    #[error(
        "planned more than {limit} {what}, and was killed; raise plugins.max_steps in runner.toml if that is meant"
    )]
    TooMany { what: &'static str, limit: usize },
    #[error("left out more than the {limit} accounts that it was given, and was killed")]
    TooManySkips { limit: usize },
    #[error("put something that it was granted into {0}, which is kept and shown, and was killed")]
    Told(String),
    #[error(
        "wrote line {line} of its stdout, {excerpt:?}, which is not JSON ({why}); logs belong on stderr"
    )]
    NotJson {
        line: u64,
        excerpt: String,
        why: String,
    },
    #[error("wrote line {line} of its stdout, {excerpt:?}, which is no answer: {why}")]
    NoAnswer {
        line: u64,
        excerpt: String,
        why: String,
    },
    #[error(
        "answered request {said} in line {line} of its stdout, {excerpt:?}; asked was request {asked}"
    )]
    NotAsked {
        line: u64,
        excerpt: String,
        said: u64,
        asked: u64,
    },
    #[error(
        "answered {answer:?} in line {line} of its stdout, {excerpt:?}, which answers nothing {doing}"
    )]
    OutOfPlace {
        line: u64,
        excerpt: String,
        answer: &'static str,
        doing: Doing,
    },
    #[error("speaks version {0} of the protocol, and this runner speaks version {VERSION}")]
    Version(u64),
    #[error("says that it is the kind {0:?}, which is not what its name says")]
    Kind(String),
    #[error("describes itself in a way that cannot be used: {0}")]
    Description(String),
    #[error("planned what cannot be acted on: {0}")]
    Lie(#[from] AnswerError),
    #[error("failed {doing}: {message}")]
    Failed {
        doing: Doing,
        class: WrittenClass,
        message: String,
        retry_after: Option<Duration>,
    },
}

impl PluginError {
    /// What kind of failure it was.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match &*self.wrong {
            Wrong::NotStarted(_) => ErrorClass::Prerequisite,
            // Nothing was begun.
            Wrong::NoScratch(_) | Wrong::Unheard { .. } => ErrorClass::Transient,
            Wrong::Failed { class, .. } => (*class).into(),
            Wrong::Version(_) | Wrong::Kind(_) | Wrong::Description(_) => ErrorClass::Invalid,
            Wrong::Stopped { .. } | Wrong::Cancelled { .. } => ErrorClass::Failed,
            _ => match self.doing {
                // Nobody knows how far it came.
                Doing::Apply(_) => ErrorClass::Ambiguous,
                Doing::Describe | Doing::Plan => ErrorClass::Failed,
            },
        }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plugin {} {}", self.plugin, self.wrong)?;
        if !self.said.is_empty() {
            write!(f, "; its last words on stderr: {}", self.said.join(" / "))?;
        }
        Ok(())
    }
}

impl std::error::Error for PluginError {}

impl From<PluginError> for JobError {
    fn from(error: PluginError) -> Self {
        let retry_after = match &*error.wrong {
            Wrong::Failed { retry_after, .. } => *retry_after,
            _ => None,
        };
        let told = Self::new(error.class(), error.to_string());
        match retry_after {
            Some(after) => told.with_retry_after(after),
            None => told,
        }
    }
}
