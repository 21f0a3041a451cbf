//! The state as the engine's journal.

use std::collections::BTreeMap;

use async_trait::async_trait;
use onboarding_core::plan::{Remembered, Step};
use serde_json::Value;

use super::{State, error::write};
use crate::engine::{
    AttemptEnd, AttemptStart, Begun, Journal, JournalError, NewRun, PlanDocument, RunEnd, RunKey,
    StepEnd,
};

#[async_trait]
impl Journal for State {
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        self.insert_run(run).await
    }

    async fn hold_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError> {
        self.insert_plan(run, plan).await
    }

    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        self.insert_steps(run, steps, memos).await
    }

    async fn known_findings(
        &self,
        job: &str,
    ) -> Result<BTreeMap<String, Remembered>, JournalError> {
        let known = self.known_findings(job).await;
        known.map_err(write("since when findings are there"))
    }

    async fn frozen(&self) -> Result<Option<String>, JournalError> {
        let freeze = self
            .database()
            .freeze()
            .await
            .map_err(write("a look at the freeze"))?;
        Ok(freeze.map(|freeze| freeze.to_string()))
    }

    async fn cancelled_by(&self, run: RunKey) -> Result<Option<String>, JournalError> {
        self.cancelled_by(run).await
    }

    async fn begin_attempt(
        &self,
        run: RunKey,
        start: AttemptStart<'_>,
    ) -> Result<(), JournalError> {
        self.insert_attempt(run, start).await
    }

    async fn set_memo(&self, run: RunKey, step: &str, memo: &Value) -> Result<(), JournalError> {
        self.update_memo(run, step, memo).await
    }

    async fn end_attempt(&self, run: RunKey, end: AttemptEnd<'_>) -> Result<(), JournalError> {
        self.update_attempt(run, end).await
    }

    async fn end_step(&self, run: RunKey, end: StepEnd<'_>) -> Result<(), JournalError> {
        self.update_step(run, end).await
    }

    async fn end_run(&self, run: RunKey, end: RunEnd<'_>) -> Result<(), JournalError> {
        self.update_run(run, end).await
    }
}
