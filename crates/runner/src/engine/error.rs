//! Errors of jobs and their steps, and the classes that decide what is retried.

use std::{error::Error, time::Duration};

/// What kind of failure it was. Retries, exit codes and metrics go by this, never by message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// It may work when tried again: a timeout of a read, a reset, a server error.
    Transient,
    /// We were told to slow down.
    Throttled,
    /// Permissions or an organization policy deny it.
    Denied,
    /// The configuration or a request asks for something that cannot be.
    Invalid,
    /// Something else is working on the same thing right now.
    Conflict,
    /// A prerequisite is missing: credentials, trusted access, a role, an admin token.
    Prerequisite,
    /// It is unknown whether the effect happened. Only a new observation can tell.
    Ambiguous,
    /// It failed for good, for a reason outside this program: a quota, something that is not there.
    Failed,
    /// A defect of this program.
    Bug,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Transient,
        Self::Throttled,
        Self::Denied,
        Self::Invalid,
        Self::Conflict,
        Self::Prerequisite,
        Self::Ambiguous,
        Self::Failed,
        Self::Bug,
    ];

    /// Whether trying the same thing again is right.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled | Self::Conflict)
    }

    /// The class as text, in kebab case, as in reports, metrics and the journal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Prerequisite => "prerequisite",
            Self::Ambiguous => "ambiguous",
            Self::Failed => "failed",
            Self::Bug => "bug",
        }
    }
}

impl std::fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a job could not observe, plan or apply.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    class: ErrorClass,
    message: String,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a step failed. The same type, so that one conversion from a client's error serves both.
pub type StepError = JobError;

impl JobError {
    /// An error of this class. The message says what was tried and what to do.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// With the error that caused it; the message must not repeat it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With the earliest moment at which trying again is sensible, as the other side told.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// When trying again is sensible, when the other side told.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The message with its causes, joined by `: `.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transient_throttled_and_conflict_are_retried() {
        let retried: Vec<_> = ErrorClass::ALL
            .into_iter()
            .filter(|class| class.is_retryable())
            .collect();
        assert_eq!(
            retried,
            [
                ErrorClass::Transient,
                ErrorClass::Throttled,
                ErrorClass::Conflict
            ]
        );
    }

    #[test]
    fn codes_are_the_serialized_form() {
        for class in ErrorClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.code());
        }
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = JobError::new(ErrorClass::Transient, "listing accounts failed")
            .with_source(std::io::Error::other("connection reset"));
        assert_eq!(error.to_string(), "listing accounts failed");
        assert_eq!(error.chain(), "listing accounts failed: connection reset");
    }
}
