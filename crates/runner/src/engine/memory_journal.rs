//! A journal in memory for tests, which can fail at a chosen write: before it took effect, or after (an answer that was
//! lost). From then on every write fails, as when the disk is full or the process is gone.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use onboarding_core::{
    notify::Notification,
    plan::{Remembered, Step},
};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    AttemptEnd, AttemptStart, Begun, Hold, Journal, JournalError, NewRun, PlanDocument, RunEnd,
    RunId, RunKey, StepEnd,
};

/// At which write it fails.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    BeforeWrite(usize),
    AfterWrite(usize),
    /// Only so long: the store is there again after that.
    During(Range<usize>),
    /// Another process has taken the run over.
    TakenOver(usize),
}

#[derive(Debug, Clone, Default)]
pub(super) struct StepRow {
    pub(super) state: String,
    pub(super) memo: Option<Value>,
    pub(super) attempts: Vec<(u32, Option<String>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct RunRow {
    pub(super) job: String,
    pub(super) state: String,
    pub(super) steps: BTreeMap<String, StepRow>,
    pub(super) touched: usize,
    pub(super) held: Option<PlanDocument>,
    pub(super) again: bool,
}

#[derive(Debug, Default)]
struct Rows {
    runs: BTreeMap<RunId, RunRow>,
    writes: usize,
    fault: Option<Fault>,
    unfrozen_for: Option<usize>,
    known: BTreeMap<String, i64>,
    told: Vec<Notification>,
    looks: usize,
    hold: Option<Arc<dyn Hold>>,
    hangs_in: &'static str,
    hangs: bool,
}

#[derive(Debug, Default)]
pub(super) struct MemoryJournal(Mutex<Rows>);

impl MemoryJournal {
    pub(super) fn fail_at(&self, fault: Option<Fault>) {
        let mut rows = self.0.lock();
        rows.writes = 0;
        rows.fault = fault;
    }

    /// After so many looks, everything is frozen.
    pub(super) fn freeze_after(&self, looks: usize) {
        self.0.lock().unfrozen_for = Some(looks);
    }

    /// Runs that begin have this lock.
    pub(super) fn lock_with(&self, hold: Arc<dyn Hold>) {
        self.0.lock().hold = Some(hold);
    }

    /// From now on, this never comes back.
    pub(super) fn hang_in(&self, method: &'static str) {
        self.0.lock().hangs_in = method;
    }

    /// Whether somebody waits for what never comes back.
    pub(super) fn hangs(&self) -> bool {
        self.0.lock().hangs
    }

    async fn come_to(&self, method: &'static str) {
        let hangs = {
            let mut rows = self.0.lock();
            rows.hangs |= rows.hangs_in == method;
            rows.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// The run before has had a finding with this id.
    pub(super) fn know(&self, finding: &str) {
        self.0.lock().known.insert(finding.to_owned(), 1);
    }

    /// What targets are told.
    pub(super) fn told(&self) -> Vec<Notification> {
        self.0.lock().told.clone()
    }

    /// How many runs have found all that there is.
    pub(super) fn looks(&self) -> usize {
        self.0.lock().looks
    }

    pub(super) fn writes(&self) -> usize {
        self.0.lock().writes
    }

    pub(super) fn run(&self, id: RunId) -> RunRow {
        self.0.lock().runs[&id].clone()
    }

    pub(super) fn runs(&self) -> Vec<RunRow> {
        self.0.lock().runs.values().cloned().collect()
    }

    fn write<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> Result<T, JournalError> {
        let mut rows = self.0.lock();
        let write = rows.writes;
        rows.writes += 1;
        let full = || JournalError::Write {
            what: "a record",
            source: "disk full".into(),
        };
        match rows.fault.clone() {
            Some(Fault::BeforeWrite(at)) if write >= at => Err(full()),
            Some(Fault::During(writes)) if writes.contains(&write) => Err(full()),
            Some(Fault::TakenOver(at)) if write >= at => Err(JournalError::Fenced(RunId::new())),
            Some(Fault::AfterWrite(at)) if write > at => Err(full()),
            Some(Fault::AfterWrite(at)) if write == at => {
                change(&mut rows);
                Err(full())
            }
            _ => Ok(change(&mut rows)),
        }
    }

    fn step(
        &self,
        run: RunKey,
        step: &str,
        change: impl FnOnce(&mut StepRow),
    ) -> Result<(), JournalError> {
        self.write(|rows| {
            let steps = &mut rows.runs.get_mut(&run.id).unwrap().steps;
            change(steps.get_mut(step).unwrap());
        })
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn begin_run(&self, run: &NewRun) -> Result<Begun, JournalError> {
        self.come_to("begin_run").await;
        self.write(|rows| {
            let mut begun = Begun {
                key: RunKey {
                    id: run.id,
                    fence: 1,
                },
                interrupted: Vec::new(),
                memos: BTreeMap::new(),
                failed_memos: BTreeMap::new(),
                hold: rows.hold.clone(),
            };
            if !run.dry_run {
                for (id, earlier) in rows.runs.iter_mut().filter(|(_, row)| row.job == run.job) {
                    if earlier.state == "running" {
                        earlier.state = "interrupted".to_owned();
                        begun.interrupted.push(*id);
                    }
                    for (step, row) in &earlier.steps {
                        let memos = match row.state.as_str() {
                            "planned" | "running" | "pending" => &mut begun.memos,
                            "failed" | "skipped" => &mut begun.failed_memos,
                            _ => continue,
                        };
                        memos.extend(row.memo.clone().map(|memo| (step.clone(), memo)));
                    }
                }
            }
            let row = RunRow {
                job: run.job.clone(),
                state: "running".to_owned(),
                ..RunRow::default()
            };
            rows.runs.insert(run.id, row);
            begun
        })
    }

    async fn hold_plan(
        &self,
        run: RunKey,
        plan: &PlanDocument,
    ) -> Result<PlanDocument, JournalError> {
        self.write(|rows| {
            rows.runs.get_mut(&run.id).unwrap().held = Some(plan.clone());
            plan.clone()
        })
    }

    async fn plan_run(
        &self,
        run: RunKey,
        steps: &[Step],
        memos: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        self.come_to("plan_run").await;
        self.write(|rows| {
            let job = rows.runs[&run.id].job.clone();
            for earlier in rows.runs.values_mut().filter(|row| row.job == job) {
                for (id, step) in &mut earlier.steps {
                    let is_planned = steps.iter().any(|step| step.id == *id);
                    if is_planned || !memos.contains_key(id) {
                        step.memo = None;
                    }
                }
            }
            let steps = steps.iter().map(|step| {
                let row = StepRow {
                    state: "planned".to_owned(),
                    memo: memos.get(&step.id).cloned(),
                    attempts: Vec::new(),
                };
                (step.id.clone(), row)
            });
            rows.runs.get_mut(&run.id).unwrap().steps = steps.collect();
        })
    }

    async fn known_findings(
        &self,
        _job: &str,
    ) -> Result<BTreeMap<String, Remembered>, JournalError> {
        let known = self.0.lock().known.clone().into_iter();
        Ok(known
            .map(|(id, since)| {
                let known = Remembered::by_id(&id, since, since);
                (id, known)
            })
            .collect())
    }

    async fn frozen(&self) -> Result<Option<String>, JournalError> {
        let mut rows = self.0.lock();
        let reads = rows.unfrozen_for.map(|left| left.saturating_sub(1));
        let is_frozen = rows.unfrozen_for == Some(0);
        rows.unfrozen_for = reads;
        Ok(is_frozen.then(|| "frozen".to_owned()))
    }

    async fn cancelled_by(&self, _: RunKey) -> Result<Option<String>, JournalError> {
        self.come_to("cancelled_by").await;
        Ok(None)
    }

    async fn begin_attempt(
        &self,
        run: RunKey,
        start: AttemptStart<'_>,
    ) -> Result<(), JournalError> {
        self.step(run, start.step, |row| {
            row.state = "running".to_owned();
            row.attempts.push((start.attempt, None));
        })
    }

    async fn set_memo(&self, run: RunKey, step: &str, memo: &Value) -> Result<(), JournalError> {
        self.step(run, step, |row| row.memo = Some(memo.clone()))
    }

    async fn end_attempt(&self, run: RunKey, end: AttemptEnd<'_>) -> Result<(), JournalError> {
        self.step(run, end.step, |row| {
            let ended = end.error.map_or("ok", |class| class.code());
            row.attempts.last_mut().unwrap().1 = Some(ended.to_owned());
        })
    }

    async fn end_step(&self, run: RunKey, end: StepEnd<'_>) -> Result<(), JournalError> {
        self.step(run, end.step, |row| {
            row.state = end.outcome.code().to_owned()
        })
    }

    async fn end_run(&self, run: RunKey, end: RunEnd<'_>) -> Result<(), JournalError> {
        self.come_to("end_run").await;
        self.write(|rows| {
            // One that waited has a row before it begins.
            let row = rows.runs.entry(run.id).or_default();
            row.state = end.status.code().to_owned();
            row.touched = end.accounts.len();
            row.again = end.again;
            rows.told.extend_from_slice(end.notifications);
            rows.looks += usize::from(end.looked);
        })
    }
}
