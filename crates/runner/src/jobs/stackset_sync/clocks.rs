//! Retry clocks, as an observation finds them: failures that nobody has counted yet start one, and those of accounts that are enrolled
//! by now, or that nobody enrolls any more, stop. What counts is decided in the core.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    desired::Profile,
    ids::AwsAccountId,
    inventory::InstanceDetailedStatus,
    retry_clock,
    stackset_sync::{ObservedProfile, RetryState, SyncObserved, clocks},
};

use super::StackSetSync;
use crate::{
    engine::{JobError, RunId},
    state::OperationResults,
};

impl StackSetSync {
    /// Winds the clocks of what was observed; outside of a run that may change something, nothing is written down.
    pub(super) async fn wind_clocks(
        &self,
        observed: &mut SyncObserved,
        run: Option<RunId>,
    ) -> Result<(), JobError> {
        // Planning says why not.
        let Ok(unsettled) = clocks::unsettled(observed, &self.desired) else {
            return Ok(());
        };
        let stops = run.is_some() && clocks::tells_of_absence(observed, &self.desired);
        let now = observed.now;
        let remediation = self.desired.remediation.as_ref();
        let roles = [
            self.desired.audit.as_ref().zip(observed.audit.as_mut()),
            remediation
                .map(|remediation| &remediation.profile)
                .zip(observed.remediation.as_mut()),
        ];
        let profiles = self.desired.profiles.iter().zip(&mut observed.profiles);
        for (profile, seen) in profiles.chain(roles.into_iter().flatten()) {
            // Whose accounts stand how nobody can say: its clocks go on as they are.
            let Some(unsettled) = unsettled.get(profile.name.as_str()) else {
                continue;
            };
            if stops {
                self.stop_clocks(profile, seen, unsettled).await?;
            }
            self.first_failures(profile, seen, unsettled, now, run)
                .await?;
        }
        if stops {
            let profiles = clocks::profiles(&self.desired);
            self.home.state.forget_clocks_of_others(&profiles).await?;
        }
        Ok(())
    }

    async fn stop_clocks(
        &self,
        profile: &Profile,
        seen: &mut ObservedProfile,
        unsettled: &BTreeSet<AwsAccountId>,
    ) -> Result<(), JobError> {
        let wound = seen.retries.keys();
        let stopped: Vec<_> = wound
            .filter(|account| !unsettled.contains(account))
            .copied()
            .collect();
        self.home
            .state
            .forget_retries(&profile.name, &stopped)
            .await?;
        seen.retries
            .retain(|account, _| unsettled.contains(account));
        Ok(())
    }

    /// Instances that failed in an operation that was not ours to follow (auto-deployment) get a retry clock as soon as
    /// they are seen: nothing is tried again at once.
    async fn first_failures(
        &self,
        profile: &Profile,
        seen: &mut ObservedProfile,
        unsettled: &BTreeSet<AwsAccountId>,
        now: i64,
        run: Option<RunId>,
    ) -> Result<(), JobError> {
        let first_wait = self.home.config.runner.retry_failed.first.get().as_secs();
        let first_wait = i64::try_from(first_wait).unwrap_or(i64::MAX);
        let mut failures: BTreeMap<&str, Vec<(AwsAccountId, Option<&str>)>> = BTreeMap::new();
        for instance in &seen.instances {
            let failed = instance.detailed_status == InstanceDetailedStatus::Failed;
            let counts = unsettled.contains(&instance.account);
            if !failed || !counts || seen.retries.contains_key(&instance.account) {
                continue;
            }
            let operation = instance.last_operation_id.as_deref().unwrap_or("unknown");
            failures
                .entry(operation)
                .or_default()
                .push((instance.account, instance.status_reason.as_deref()));
            let clock = RetryState {
                // Asked to try all failed ones now, this run does so with what it finds, too.
                of_this_run: !self.desired.retry_failed,
                reason: instance.status_reason.clone(),
                ..retry_clock::after_failure(None, first_wait, now)
            };
            seen.retries.insert(instance.account, clock);
        }
        let Some(run) = run else { return Ok(()) };
        for (operation, failed) in &failures {
            let results = OperationResults {
                operation,
                failed,
                succeeded: &[],
            };
            self.home
                .state
                .record_results(&profile.name, run, results, first_wait, now)
                .await?;
        }
        Ok(())
    }
}
