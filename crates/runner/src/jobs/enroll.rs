//! `enroll`, configured, and what it writes down of its mends. What is decided is [`onboarding_core::enroll`]; the accounts are looked
//! at in [`accounts`](super::accounts), and the steps are applied where `stackset-sync`'s are.

use std::collections::BTreeMap;

use onboarding_core::{
    drift::{Drift, Fix},
    drift_audit::AuditObserved,
    enroll,
    ids::AwsAccountId,
    stackset_sync::{MendKind, SyncObserved},
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
    state::MendFailure,
};

impl OnAccounts {
    /// Configures an enrollment.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn enroll(home: Home, params: &EnrollParams, asked: Asked) -> Result<Self, JobError> {
        let mut sync = StackSetSync::new(home, &params.profiles, asked.retry_failed)?;
        sync.desired.remakes = params
            .remake
            .iter()
            .map(|remake| (*remake).into())
            .collect();
        Ok(Self {
            rule: Rule::Enroll,
            unused_after: None,
            detection: None,
            token_max_age: None,
            sync,
            profiles: params.profiles.clone(),
            depth: params.depth,
            ask_spot: params.ask_spot,
            concurrency: params.concurrency,
            // It mends what it finds, which only the accounts themselves can tell.
            aggregator: None,
            read: Mutex::default(),
            worked_on: Mutex::default(),
            documents: Mutex::default(),
        })
    }

    /// Winds the clocks of accounts whose role was written again and is not as it should be. The others stop as soon as the role is
    /// seen to be fine.
    pub(super) async fn settle_repairs(
        &self,
        sync: &SyncObserved,
        run: RunId,
        before: &BTreeMap<AwsAccountId, Vec<Drift>>,
        after: &BTreeMap<AwsAccountId, Vec<Drift>>,
    ) -> Result<(), JobError> {
        let written = self.sync.rewritten();
        let differs = |drifts: &BTreeMap<AwsAccountId, Vec<Drift>>, account: &AwsAccountId| {
            let mut drifts = drifts.get(account).into_iter().flatten();
            drifts.any(|drift| drift.fix == Fix::ReDeploy)
        };
        for (profile, state) in self.sync.desired.profiles.iter().zip(&sync.profiles) {
            let instances = state.instances.iter().map(|instance| instance.account);
            let failed = instances.filter(|account| {
                written.contains(account) && differs(before, account) && differs(after, account)
            });
            let failures: Vec<_> = failed
                .map(|account| MendFailure {
                    of: (account, MendKind::Rewrite),
                    reason: "the role still differs after it was written again",
                })
                .collect();
            self.sync
                .record_unmended_of(profile, run, &failures, sync.now)
                .await?;
        }
        Ok(())
    }

    /// Stops the clocks of what is as it should be again, and takes the others as they are now.
    pub(super) async fn with_clocks(
        &self,
        observed: &mut AuditObserved,
        run: RunId,
    ) -> Result<(), JobError> {
        let state = &self.sync.home.state;
        let profiles = self.sync.desired.profiles.iter();
        for (profile, seen) in profiles.zip(&mut observed.sync.profiles) {
            seen.mend_retries = state.mend_retries(&profile.name, Some(run)).await?;
        }
        let mended = enroll::mended(observed, &self.sync.desired);
        state.forget_mend_retries(&mended).await?;
        for (profile, seen) in self
            .sync
            .desired
            .profiles
            .iter()
            .zip(&mut observed.sync.profiles)
        {
            seen.mend_retries
                .retain(|of, _| !mended.contains(&(profile.name.clone(), *of)));
        }
        Ok(())
    }
}
