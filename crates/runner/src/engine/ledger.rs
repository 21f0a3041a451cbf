//! Where the steps of a run stand, readable also after the work on them was dropped half-way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use onboarding_core::plan::Step;
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    apply::End,
    report::{StepOutcome, StepRecord},
};

type Memo = Arc<Mutex<Option<Value>>>;

struct Entry {
    record: StepRecord,
    in_flight: bool,
    memo: Memo,
}

/// One entry per step of the plan.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Mutex<Vec<Entry>>,
}

impl Ledger {
    /// Enters the steps, none of them started.
    pub(super) fn enter(&self, steps: &[Step], memos: &mut BTreeMap<String, Value>) {
        let entries = steps.iter().map(|step| Entry {
            record: StepRecord {
                id: step.id.clone(),
                action: step.action.clone(),
                accounts: step.accounts.len(),
                outcome: StepOutcome::Pending,
                note: None,
                error: None,
                attempts: 0,
                duration_ms: 0,
            },
            in_flight: false,
            memo: Arc::new(Mutex::new(memos.remove(&step.id))),
        });
        *self.entries.lock() = entries.collect();
    }

    pub(super) fn memo(&self, step: &str) -> Memo {
        self.with(step, |entry| entry.memo.clone())
            .unwrap_or_default()
    }

    pub(super) fn started(&self, step: &str, attempt: u32) {
        self.with(step, |entry| {
            entry.in_flight = true;
            entry.record.attempts = attempt;
        });
    }

    pub(super) fn ended(&self, step: &str, end: End, duration: Duration) {
        self.with(step, |entry| {
            entry.in_flight = false;
            entry.record.outcome = end.outcome;
            entry.record.note = end.note;
            entry.record.error = end.error;
            entry.record.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        });
    }

    /// The first step that this one builds on (a precondition `step:<id>`) and that did not succeed.
    pub(super) fn unmet_precondition(&self, step: &Step) -> Option<String> {
        let entries = self.entries.lock();
        let needed = step
            .preconditions
            .iter()
            .filter_map(|precondition| precondition.strip_prefix("step:"));
        let mut unmet = needed.filter(|id| {
            entries.iter().any(|entry| {
                entry.record.id == **id
                    && !matches!(
                        entry.record.outcome,
                        StepOutcome::Changed | StepOutcome::Unchanged
                    )
            })
        });
        unmet.next().map(str::to_owned)
    }

    /// The steps that are in flight, with their memos.
    pub(super) fn in_flight(&self) -> Vec<(String, Option<Value>)> {
        let entries = self.entries.lock();
        let in_flight = entries.iter().filter(|entry| entry.in_flight);
        in_flight
            .map(|entry| (entry.record.id.clone(), entry.memo.lock().clone()))
            .collect()
    }

    pub(super) fn records(self) -> Vec<StepRecord> {
        let entries = self.entries.into_inner();
        entries.into_iter().map(|entry| entry.record).collect()
    }

    fn with<T>(&self, step: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entries = self.entries.lock();
        entries
            .iter_mut()
            .find(|entry| entry.record.id == step)
            .map(change)
    }
}
