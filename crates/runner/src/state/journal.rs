//! The state as the engine's journal.

use std::collections::BTreeMap;

use async_trait::async_trait;
use onboarding_core::plan::Step;
use serde_json::Value;

use super::State;
use crate::engine::{
    AttemptEnd, AttemptStart, Begun, Journal, JournalError, NewRun, RunEnd, RunKey, StepEnd,
};

#[async_trait]
impl Journal for State {
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        self.insert_run(run).await
    }

    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        self.insert_steps(run, steps, memos).await
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
