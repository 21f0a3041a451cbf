//! A small world in memory, and a job that enrolls its accounts: one step per account, or one operation for all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::BoxFuture};
use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Finding, Plan, Refusal, Risk, Step},
    status::{Reason, Standing},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::engine::{
    Applied, ErrorClass, Interrupt, Job, JobError, Memos, Phase, RetryPolicy, RunContext,
    RunOptions, StepContext, StepError, memory_journal::MemoryJournal,
};

/// What outlives the process: the "cloud".
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) enrolled: BTreeSet<AwsAccountId>,
    /// Every effect that was ever made.
    pub(super) effects: Vec<String>,
    /// Operations by id, with the looks that are left until they end.
    pub(super) operations: BTreeMap<String, u32>,
    pub(super) stopped: Vec<String>,
    /// What the next attempts of a step answer instead of doing it.
    pub(super) script: BTreeMap<String, VecDeque<Scripted>>,
    pub(super) observe_failures: VecDeque<ErrorClass>,
    /// `observe` or `plan` panics.
    pub(super) panics_in: &'static str,
    pub(super) looks: Vec<Phase>,
    pub(super) at_work: usize,
    pub(super) most_at_work: usize,
    pub(super) background: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) enum Scripted {
    Fail(ErrorClass),
    Panic,
    Requeue(Duration),
    /// A second signal while it is at work, and an answer that never comes.
    Hang,
}

/// How the job works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A step per account; the effect is made at once.
    PerAccount,
    /// One step that starts one operation and follows it.
    Operation,
    /// The same, but what is written down is kept for whoever asks for the step again, and nothing is followed.
    Kept,
}

pub(super) struct TestJob {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) accounts: u64,
    pub(super) mode: Mode,
    pub(super) refusals: Vec<Refusal>,
    pub(super) findings: Vec<Finding>,
    /// Guard rails take all steps out.
    pub(super) withholds: bool,
    pub(super) most_at_once: usize,
    /// What steps write down is kept, and nothing is followed, also where each account has a step.
    pub(super) keeps_memos: bool,
    /// After which time an operation is looked at again.
    pub(super) requeued_for: Duration,
    /// Signals this after so many looks at an operation.
    pub(super) interrupt_after: Option<(u32, Interrupt)>,
}

impl TestJob {
    pub(super) fn new(mode: Mode, accounts: u64) -> Self {
        Self {
            world: Arc::default(),
            accounts,
            mode,
            refusals: Vec::new(),
            findings: Vec::new(),
            withholds: false,
            most_at_once: usize::MAX,
            keeps_memos: false,
            requeued_for: Duration::from_millis(1),
            interrupt_after: None,
        }
    }

    /// The same world, seen by a new process.
    pub(super) fn restarted(&self) -> Self {
        Self {
            world: self.world.clone(),
            ..Self::new(self.mode, self.accounts)
        }
    }

    pub(super) fn script(&self, step: &str, answers: impl IntoIterator<Item = Scripted>) {
        let answers = answers.into_iter().collect();
        self.world.lock().script.insert(step.to_owned(), answers);
    }

    pub(super) async fn run(&self, journal: &Arc<MemoryJournal>) -> crate::engine::RunReport {
        self.run_with(journal, options()).await
    }

    pub(super) async fn run_with(
        &self,
        journal: &Arc<MemoryJournal>,
        options: RunOptions,
    ) -> crate::engine::RunReport {
        let report = crate::engine::execute(self, journal.clone(), options).await;
        assert!(report.summary().adds_up(), "{:?}", report.summary());
        report
    }

    fn is_enrolled(&self, account: AwsAccountId) -> bool {
        self.world.lock().enrolled.contains(&account)
    }

    async fn apply_operation(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        let id = match cx.memo().and_then(|memo| memo.as_str().map(str::to_owned)) {
            Some(id) => id,
            None => {
                let id = format!("operation of run {}", cx.run_id());
                cx.set_memo(json!(id)).await?;
                id
            }
        };
        let mut world = self.world.lock();
        let World {
            operations,
            effects,
            stopped,
            enrolled,
            ..
        } = &mut *world;
        if !operations.contains_key(&id) {
            if cx.is_ending() {
                return Ok(Applied::Stopped { note: None });
            }
            effects.push(id.clone());
            operations.insert(id.clone(), 5);
        }
        let left = operations.get_mut(&id).unwrap();
        *left = left.saturating_sub(1);
        if let Some((looks, interrupt)) = &self.interrupt_after
            && 5 - *left == *looks
        {
            interrupt.signal();
        }
        match (stopped.contains(&id), *left) {
            (true, 0) => Ok(Applied::Stopped {
                note: Some("stopped".to_owned()),
            }),
            (false, 0) => {
                enrolled.extend(step.accounts.iter().copied());
                Ok(Applied::Done { note: None })
            }
            _ => Ok(Applied::Requeue {
                after: self.requeued_for,
                progress: None,
            }),
        }
    }
}

pub(super) fn account(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

pub(super) fn options() -> RunOptions {
    RunOptions {
        retry: RetryPolicy {
            attempts: 3,
            initial: Duration::from_micros(10),
            max: Duration::from_millis(1),
        },
        end_patience: Duration::ZERO,
        ..RunOptions::new("test-job")
    }
}

fn step(id: String, accounts: Vec<AwsAccountId>, order: u32) -> Step {
    Step {
        id,
        kind: "test".to_owned(),
        action: "enroll".to_owned(),
        accounts,
        reason: "not enrolled".to_owned(),
        risk: Risk::Low,
        order,
        changes: Vec::new(),
        estimate: onboarding_core::plan::Estimate::default(),
        preconditions: Vec::new(),
        payload: json!({}),
    }
}

#[async_trait]
impl Job for TestJob {
    type Observed = BTreeSet<AwsAccountId>;

    fn kind(&self) -> &'static str {
        "test"
    }

    async fn observe(&self, cx: &RunContext) -> Result<Self::Observed, JobError> {
        let mut world = self.world.lock();
        world.looks.push(cx.phase());
        assert_ne!(world.panics_in, "observe", "scripted");
        match world.observe_failures.pop_front() {
            Some(class) => Err(JobError::new(class, "listing failed")),
            None => Ok(world.enrolled.clone()),
        }
    }

    fn plan(&self, _cx: &RunContext, enrolled: &Self::Observed) -> Result<Plan, JobError> {
        assert_ne!(self.world.lock().panics_in, "plan", "scripted");
        let accounts: Vec<_> = (1..=self.accounts).map(account).collect();
        let due: Vec<_> = accounts
            .iter()
            .copied()
            .filter(|id| !enrolled.contains(id))
            .collect();
        let steps = match self.mode {
            _ if due.is_empty() => Vec::new(),
            // Odd accounts come after even ones.
            Mode::PerAccount => (0_u32..)
                .zip(due.iter())
                .map(|(index, id)| step(format!("enroll:{id}"), vec![*id], index % 2))
                .collect(),
            Mode::Operation | Mode::Kept => vec![step("enroll-all".to_owned(), due, 0)],
        };
        let (steps, withheld) = match self.withholds {
            true => (Vec::new(), steps.into_iter().map(|step| step.id).collect()),
            false => (steps, BTreeSet::new()),
        };
        let row = |account: AwsAccountId| {
            let (standing, reason) = if enrolled.contains(&account) {
                (Standing::Ok, Reason::Enrolled)
            } else {
                (Standing::Due, Reason::MissingInstance)
            };
            AccountRow {
                account,
                name: "name".into(),
                ou_path: "Root".into(),
                profile: "default".into(),
                targeted: true,
                standing,
                reason,
                detail: None,
                spot_account: None,
                policy_version: None,
                live_role: None,
            }
        };
        Ok(Plan {
            accounts: accounts.into_iter().map(row).collect(),
            steps,
            findings: self.findings.clone(),
            refusals: self.refusals.clone(),
            withheld,
            ..Plan::default()
        })
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        let scripted = {
            let mut world = self.world.lock();
            world.script.get_mut(&step.id).and_then(VecDeque::pop_front)
        };
        match scripted {
            Some(Scripted::Fail(class)) => return Err(JobError::new(class, "scripted")),
            Some(Scripted::Panic) => panic!("scripted"),
            Some(Scripted::Requeue(after)) => {
                return Ok(Applied::Requeue {
                    after,
                    progress: None,
                });
            }
            Some(Scripted::Hang) => {
                cx.interrupt().signal();
                cx.interrupt().signal();
                std::future::pending::<()>().await;
            }
            None => {}
        }
        if self.mode != Mode::PerAccount {
            return self.apply_operation(cx, step).await;
        }
        {
            let mut world = self.world.lock();
            world.at_work += 1;
            world.most_at_work = world.most_at_work.max(world.at_work);
        }
        tokio::task::yield_now().await;
        let mut world = self.world.lock();
        world.at_work -= 1;
        let account = step.accounts[0];
        if !world.enrolled.insert(account) {
            return Ok(Applied::Unchanged);
        }
        world.effects.push(step.id.clone());
        Ok(Applied::Done { note: None })
    }

    fn memos(&self) -> Memos {
        match self.keeps_memos || self.mode == Mode::Kept {
            true => Memos::Kept,
            false => Memos::Followed,
        }
    }

    fn most_at_once(&self) -> usize {
        self.most_at_once
    }

    async fn stop(&self, cx: &StepContext, _step: &Step) -> Result<(), StepError> {
        if let Some(id) = cx.memo().and_then(|memo| memo.as_str().map(str::to_owned)) {
            self.world.lock().stopped.push(id);
        }
        Ok(())
    }

    fn background(&self, cx: &RunContext) -> Option<BoxFuture<'static, ()>> {
        let (world, token) = (self.world.clone(), cx.background_token());
        world.lock().background.push("started");
        let work = async move {
            token.cancelled().await;
            world.lock().background.push("ended");
        };
        Some(work.boxed())
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        let looks = self.world.lock().looks.len();
        BTreeMap::from([("test:Look".to_owned(), u64::try_from(looks).unwrap())])
    }
}

impl TestJob {
    /// Every account is enrolled, and every effect was made once.
    pub(super) fn assert_enrolled_once(&self) {
        for number in 1..=self.accounts {
            assert!(
                self.is_enrolled(account(number)),
                "{number} is not enrolled"
            );
        }
        let effects = self.world.lock().effects.clone();
        let different: BTreeSet<_> = effects.iter().collect();
        let expected = match self.mode {
            Mode::PerAccount => usize::try_from(self.accounts).unwrap(),
            Mode::Operation | Mode::Kept => 1,
        };
        assert_eq!(
            (different.len(), effects.len()),
            (expected, expected),
            "{effects:?}"
        );
    }
}
