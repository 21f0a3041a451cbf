//! The journal as a run uses it: once the process is to end, a store that does not answer keeps nobody waiting for longer than a moment.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use onboarding_core::plan::{Remembered, Step};
use serde_json::Value;

use super::{
    consent::PlanDocument,
    interrupt::Interrupt,
    journal::{
        AttemptEnd, AttemptStart, Begun, Journal, JournalError, NewRun, RunEnd, RunKey, StepEnd,
    },
};

/// See the module documentation. How long the end of a run may take, which has a row for each account, is a matter of who writes it.
pub(super) struct Patient {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) interrupt: Interrupt,
}

impl Patient {
    async fn answered<T>(
        &self,
        record: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        let answered = self.interrupt.or_end(1, record).await;
        answered.unwrap_or(Err(JournalError::Silent))
    }
}

#[async_trait]
impl Journal for Patient {
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        self.answered(self.journal.begin_run(run)).await
    }

    async fn hold_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError> {
        self.answered(self.journal.hold_plan(run, plan)).await
    }

    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        let planned = self.journal.plan_run(run, steps, memos);
        self.answered(planned).await
    }

    async fn known_findings(
        &self,
        job: &str,
    ) -> Result<BTreeMap<String, Remembered>, JournalError> {
        self.answered(self.journal.known_findings(job)).await
    }

    async fn frozen(&self) -> Result<Option<String>, JournalError> {
        self.answered(self.journal.frozen()).await
    }

    async fn cancelled_by(&self, run: RunKey) -> Result<Option<String>, JournalError> {
        self.answered(self.journal.cancelled_by(run)).await
    }

    async fn begin_attempt(
        &self,
        run: RunKey,
        start: AttemptStart<'_>,
    ) -> Result<(), JournalError> {
        self.answered(self.journal.begin_attempt(run, start)).await
    }

    async fn set_memo(&self, run: RunKey, step: &str, memo: &Value) -> Result<(), JournalError> {
        self.answered(self.journal.set_memo(run, step, memo)).await
    }

    async fn end_attempt(&self, run: RunKey, end: AttemptEnd<'_>) -> Result<(), JournalError> {
        self.answered(self.journal.end_attempt(run, end)).await
    }

    async fn end_step(&self, run: RunKey, end: StepEnd<'_>) -> Result<(), JournalError> {
        self.answered(self.journal.end_step(run, end)).await
    }

    async fn end_run(&self, run: RunKey, end: RunEnd<'_>) -> Result<(), JournalError> {
        self.journal.end_run(run, end).await
    }
}
