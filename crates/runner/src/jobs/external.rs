//! A job whose kind is a plugin. The accounts are looked at as `stackset-sync` does; what is to be done with them is the plugin's word, judged by
//! [`onboarding_core::external`]; and the plugin does it, one step at a time for each of its processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use onboarding_core::{
    external::{self, Guards, Offer, SameStep},
    ids::AwsAccountId,
    inventory::AccountTags,
    plan::{AccountRow, Plan, Step, consent::Consent},
    stackset_sync::SyncObserved,
};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::stackset_sync::StackSetSync;
use crate::{
    config::{ExternalJob, Grant, Text},
    engine::{
        Applied, ErrorClass, Interrupt, Job, JobError, Memos, RunContext, StepContext, StepError,
    },
    home::Home,
    plugin::{
        Granted, Plugin, Pool,
        protocol::{AccountView, ApplyRequest, PhaseView, PlanRequest, RunView, WrittenStep},
    },
};

/// The job, configured.
pub struct External {
    sync: StackSetSync,
    job: ExternalJob,
    plugin: Plugin,
    interrupt: Interrupt,
    pool: OnceCell<Pool>,
    /// The steps that failed in this run, with why.
    failed: Mutex<BTreeMap<String, String>>,
}

/// What a look came to.
pub struct Looked {
    accounts: Vec<AccountRow>,
    answer: external::Answer,
    previous_account_count: Option<usize>,
    account_count: usize,
}

impl External {
    /// Configures the job.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn new(home: Home, job: &ExternalJob, interrupt: Interrupt) -> Result<Self, JobError> {
        let plugin = Plugin::of(job, &home.config.runner.plugins);
        Ok(Self {
            sync: StackSetSync::new(home, &job.params.profiles, false)?,
            job: job.clone(),
            plugin,
            interrupt,
            pool: OnceCell::new(),
            failed: Mutex::default(),
        })
    }

    /// Ends the plugin's processes, after the run.
    pub async fn close(&self) {
        let Some(pool) = self.pool.get() else {
            return;
        };
        tokio::select! {
            () = pool.close() => {}
            // What is left is killed with us.
            () = self.interrupt.abandoned() => {}
        }
    }

    /// The plugin's processes; first it is asked what it is, and whether the job's file fits that.
    async fn pool(&self) -> Result<&Pool, JobError> {
        let begin = || async {
            let description = self.plugin.describe(&self.interrupt).await?;
            self.job
                .check(&description.asking)
                .map_err(|errors| JobError::new(ErrorClass::Invalid, errors.to_string()))?;
            let granted = description.granted(self.job.grants());
            let granted = Granted::new(self.sync.home.clone(), granted);
            Ok::<_, JobError>(Pool::new(self.plugin.clone(), description, granted))
        };
        self.pool.get_or_try_init(begin).await
    }

    fn offer<'a>(
        &'a self,
        pool: &'a Pool,
        looked: &'a Looked,
        failed: &'a BTreeMap<String, String>,
    ) -> Offer<'a> {
        let desired = &self.sync.desired;
        Offer {
            kind: &self.job.kind,
            actions: &pool.description.asking.actions,
            accounts: &looked.accounts,
            guards: Guards {
                protected: &desired.protected_accounts,
                removal: &desired.removal,
                applies_removals: self.job.params.apply_removals,
                previous_account_count: looked.previous_account_count,
                account_count: looked.account_count,
            },
            failed,
        }
    }

    fn run_view(cx: &RunContext) -> RunView {
        RunView {
            id: cx.run_id().to_string(),
            job: cx.job().to_owned(),
            dry_run: cx.is_dry_run(),
        }
    }

    async fn tags(
        &self,
        observed: &SyncObserved,
        accounts: &[AccountRow],
    ) -> Result<Option<Arc<AccountTags>>, JobError> {
        if !self.job.grants().contains(&Grant::AccountTags) {
            return Ok(None);
        }
        let ids: BTreeSet<AwsAccountId> = accounts.iter().map(|row| row.account).collect();
        let organization = &observed.organization;
        let tags = self.sync.tags_of(organization, ids, observed.now).await?;
        Ok(Some(tags))
    }
}

/// The accounts of the organization that a profile of the job targets, sorted.
fn given(plan: Plan, observed: &SyncObserved) -> Vec<AccountRow> {
    let mut rows = plan.accounts;
    rows.retain(|row| {
        let is_there = observed.organization.account(row.account).is_some();
        row.targeted && is_there && !row.reason.is_left_out()
    });
    rows.sort_by_key(|row| row.account);
    rows
}

/// An account, as the plugin sees it.
fn view(
    row: &AccountRow,
    observed: &SyncObserved,
    protected: &BTreeSet<AwsAccountId>,
    tags: Option<&AccountTags>,
) -> AccountView {
    let state = observed
        .organization
        .account(row.account)
        .and_then(|account| serde_json::to_value(account.state).ok());
    AccountView {
        account: Text(row.account),
        name: row.name.to_string(),
        state: state
            .as_ref()
            .and_then(|state| state.as_str())
            .unwrap_or_default()
            .to_owned(),
        ou_path: row.ou_path.to_string(),
        profile: row.profile.to_string(),
        enrollment: row.reason.code().to_owned(),
        spot_account: row.spot_account.as_ref().map(ToString::to_string),
        protected: protected.contains(&row.account),
        tags: tags.map(|tags| tags.get(&row.account).cloned().unwrap_or_default()),
    }
}

#[async_trait]
impl Job for External {
    type Observed = Looked;

    fn kind(&self) -> &str {
        &self.job.kind
    }

    async fn observe(&self, cx: &RunContext) -> Result<Looked, JobError> {
        let pool = self.pool().await?;
        let observed = self
            .sync
            .observe_at(cx.now().div_euclid(1000), None)
            .await?;
        let accounts = given(self.sync.plan_of(&observed)?, &observed);
        let tags = self.tags(&observed, &accounts).await?;
        let protected = &self.sync.desired.protected_accounts;
        let request = PlanRequest {
            run: Self::run_view(cx),
            phase: PhaseView::of(cx.phase()),
            settings: self.job.params.settings.clone(),
            accounts: accounts
                .iter()
                .map(|row| view(row, &observed, protected, tags.as_deref()))
                .collect(),
            protected_accounts: protected.iter().copied().map(Text).collect(),
            memos: cx.memos().clone(),
        };
        Ok(Looked {
            accounts,
            answer: pool.plan(request).await?,
            previous_account_count: observed.previous_account_count,
            account_count: observed.organization.accounts.len(),
        })
    }

    fn plan(&self, _cx: &RunContext, looked: &Looked) -> Result<Plan, JobError> {
        let pool = self.pool.get().ok_or_else(|| {
            JobError::new(
                ErrorClass::Bug,
                "a plan is made before anything was looked at",
            )
        })?;
        let failed = self.failed.lock().clone();
        let offer = self.offer(pool, looked, &failed);
        external::plan(&offer, looked.answer.clone()).map_err(|wrong| pool.lie(wrong))
    }

    fn consent(&self) -> &dyn Consent {
        &SameStep
    }

    fn memos(&self) -> Memos {
        Memos::Kept
    }

    fn most_at_once(&self) -> usize {
        self.pool.get().map_or(1, |pool| pool.description.parallel)
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        let applied = async {
            let pool = self.pool().await?;
            let mut session = pool.take().await?;
            let request = ApplyRequest {
                run: Self::run_view(cx),
                settings: self.job.params.settings.clone(),
                step: WrittenStep::from(step),
                attempt: cx.attempt(),
                memo: cx.memo(),
            };
            let applied = session.apply(request, cx).await;
            pool.give(session).await;
            applied
        };
        let applied = applied.await;
        let mut failed = self.failed.lock();
        match &applied {
            Ok(_) => failed.remove(&step.id),
            Err(error) => failed.insert(step.id.clone(), error.chain()),
        };
        applied
    }

    fn left_behind(&self, step: &Step, _memo: Option<&serde_json::Value>) -> String {
        format!(
            "the plugin {} was killed in the middle of step {}; the next run asks it what is left to be done",
            self.job.kind, step.id
        )
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.sync.home.api_calls()
    }
}
