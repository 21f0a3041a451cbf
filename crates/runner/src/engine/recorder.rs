//! The engine's way to the journal: once a record could not be written, the run may have no further effect.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    error::{ErrorClass, JobError},
    journal::{AttemptEnd, AttemptStart, Journal, JournalError, RunKey, StepEnd},
};

pub(super) struct Recorder {
    journal: Arc<dyn Journal>,
    key: RunKey,
    lost: CancellationToken,
    cause: OnceLock<String>,
    /// Whether that was because another process has the run.
    is_fenced: AtomicBool,
}

impl Recorder {
    pub(super) fn new(journal: Arc<dyn Journal>, key: RunKey) -> Self {
        Self {
            journal,
            key,
            lost: CancellationToken::new(),
            cause: OnceLock::new(),
            is_fenced: AtomicBool::new(false),
        }
    }

    /// Whether a record could not be written.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Whether another process has taken the run over, as a record told that could not be written.
    pub(super) fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Relaxed)
    }

    /// Ends when a record could not be written.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// The failure that stopped the effects.
    pub(super) fn loss(&self) -> JobError {
        let cause = self.cause.get().map_or("the journal is lost", |c| c);
        JobError::new(
            ErrorClass::Transient,
            format!("no further effect was started: {cause}"),
        )
    }

    /// Notes a failure that happened elsewhere, such as when the plan was recorded.
    pub(super) fn fail(&self, error: &JournalError) -> JobError {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text.push_str(": ");
            text.push_str(&source.to_string());
        }
        tracing::error!(error = %text, "journal write failed; no further effect is started");
        if matches!(error, JournalError::Fenced(_)) {
            self.is_fenced.store(true, Ordering::Relaxed);
        }
        // Only the first cause is told; later writes fail because of it.
        let _ = self.cause.set(text);
        self.lost.cancel();
        self.loss()
    }

    /// Why nothing may be changed now.
    pub(super) async fn frozen(&self) -> Result<Option<String>, JobError> {
        self.check()?;
        let looked = self.journal.frozen().await;
        looked.map_err(|error| self.fail(&error))
    }

    pub(super) async fn begin_attempt(&self, start: AttemptStart<'_>) -> Result<(), JobError> {
        self.check()?;
        let written = self.journal.begin_attempt(self.key, start).await;
        written.map_err(|error| self.fail(&error))
    }

    pub(super) async fn set_memo(&self, step: &str, memo: &Value) -> Result<(), JobError> {
        self.check()?;
        let written = self.journal.set_memo(self.key, step, memo).await;
        written.map_err(|error| self.fail(&error))
    }

    pub(super) async fn end_attempt(&self, end: AttemptEnd<'_>) -> Result<(), JobError> {
        self.check()?;
        let written = self.journal.end_attempt(self.key, end).await;
        written.map_err(|error| self.fail(&error))
    }

    pub(super) async fn end_step(&self, end: StepEnd<'_>) -> Result<(), JobError> {
        self.check()?;
        let written = self.journal.end_step(self.key, end).await;
        written.map_err(|error| self.fail(&error))
    }

    fn check(&self) -> Result<(), JobError> {
        if self.is_lost() {
            Err(self.loss())
        } else {
            Ok(())
        }
    }
}
