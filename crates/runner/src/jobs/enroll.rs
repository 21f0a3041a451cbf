//! `enroll`, configured, and what it writes down of its mends. What is decided is [`onboarding_core::enroll`]; the accounts are looked
//! at in [`accounts`](super::accounts), and the steps are applied where `stackset-sync`'s are.

use std::collections::BTreeMap;

use onboarding_core::{
    drift::{Drift, Fix},
    ids::AwsAccountId,
    stackset_sync::SyncObserved,
};
use parking_lot::Mutex;

use super::{
    accounts::{OnAccounts, Rule},
    stackset_sync::StackSetSync,
};
use crate::{
    config::EnrollParams,
    engine::{Asked, JobError, RunId},
    home::Home,
    state::OperationResults,
};

impl OnAccounts {
    /// Configures an enrollment.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn enroll(home: Home, params: &EnrollParams, asked: Asked) -> Result<Self, JobError> {
        Ok(Self {
            rule: Rule::Enroll,
            unused_after: None,
            sync: StackSetSync::new(home, &params.profiles, asked.retry_failed)?,
            profiles: params.profiles.clone(),
            depth: params.depth,
            ask_spot: params.ask_spot,
            concurrency: params.concurrency,
            read: Mutex::default(),
        })
    }

    /// Winds the clocks of accounts whose role was written again, by what IAM says of it since.
    pub(super) async fn settle_repairs(
        &self,
        sync: &SyncObserved,
        run: RunId,
        before: &BTreeMap<AwsAccountId, Vec<Drift>>,
        after: &BTreeMap<AwsAccountId, Vec<Drift>>,
    ) -> Result<(), JobError> {
        let is_repairable = |drifts: &BTreeMap<AwsAccountId, Vec<Drift>>,
                             account: &AwsAccountId| {
            let mut drifts = drifts.get(account).into_iter().flatten();
            drifts.any(|drift| drift.fix == Fix::ReDeploy)
        };
        let operation = format!("repair in run {run}");
        for (profile, state) in self.sync.desired.profiles.iter().zip(&sync.profiles) {
            let instances = state.instances.iter().map(|instance| instance.account);
            let repaired = instances.filter(|account| is_repairable(before, account));
            let (failed, succeeded): (Vec<_>, Vec<_>) =
                repaired.partition(|account| is_repairable(after, account));
            let why = Some("the role still differs after it was written again");
            let failed: Vec<_> = failed.into_iter().map(|account| (account, why)).collect();
            let results = OperationResults {
                operation: &operation,
                failed: &failed,
                succeeded: &succeeded,
            };
            self.sync.record_of(profile, run, results, sync.now).await?;
        }
        Ok(())
    }

    /// The observation with the retry clocks as they are now.
    pub(super) async fn with_clocks(
        &self,
        mut sync: SyncObserved,
        run: RunId,
    ) -> Result<SyncObserved, JobError> {
        for (profile, state) in self.sync.desired.profiles.iter().zip(&mut sync.profiles) {
            let retries = self.sync.home.state.retries(&profile.name, Some(run));
            state.retries = retries.await?;
        }
        Ok(sync)
    }
}
