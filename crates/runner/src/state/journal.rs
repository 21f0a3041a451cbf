//! The state as the engine's journal. Each record comes back in time: a run whose server has vanished must not keep its place.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use onboarding_core::plan::{Remembered, Step};
use serde_json::Value;

use super::{State, error::write};
use crate::engine::{
    AttemptEnd, AttemptStart, Begun, Journal, JournalError, NewRun, PlanDocument, RunEnd, RunKey,
    StepEnd,
};

/// How long what has a row for each step or account may take.
const LONG: Duration = Duration::from_secs(300);

#[async_trait]
impl Journal for State {
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        self.in_time(self.insert_run(run)).await
    }

    async fn hold_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError> {
        self.within(LONG, self.insert_plan(run, plan)).await
    }

    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        let planned = self.insert_steps(run, steps, memos);
        self.within(LONG, planned).await
    }

    async fn known_findings(
        &self,
        job: &str,
    ) -> Result<BTreeMap<String, Remembered>, JournalError> {
        let known = self.in_time(self.known_findings(job)).await;
        known.map_err(write("since when findings are there"))
    }

    async fn frozen(&self) -> Result<Option<String>, JournalError> {
        let frozen = async {
            let freeze = self.database().freeze().await;
            let freeze = freeze.map_err(write("a look at the freeze"))?;
            Ok(freeze.map(|freeze| freeze.to_string()))
        };
        self.in_time(frozen).await
    }

    async fn cancelled_by(&self, run: RunKey) -> Result<Option<String>, JournalError> {
        self.in_time(self.cancelled_by(run)).await
    }

    async fn begin_attempt(
        &self,
        run: RunKey,
        start: AttemptStart<'_>,
    ) -> Result<(), JournalError> {
        self.in_time(self.insert_attempt(run, start)).await
    }

    async fn set_memo(&self, run: RunKey, step: &str, memo: &Value) -> Result<(), JournalError> {
        self.in_time(self.update_memo(run, step, memo)).await
    }

    async fn end_attempt(&self, run: RunKey, end: AttemptEnd<'_>) -> Result<(), JournalError> {
        self.in_time(self.update_attempt(run, end)).await
    }

    async fn end_step(&self, run: RunKey, end: StepEnd<'_>) -> Result<(), JournalError> {
        self.in_time(self.update_step(run, end)).await
    }

    async fn end_run(&self, run: RunKey, end: RunEnd<'_>) -> Result<(), JournalError> {
        self.within(LONG, self.update_run(run, end)).await
    }
}
