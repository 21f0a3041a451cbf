//! Taking stack instances out before their Spot accounts go. The steps are those of `stackset-sync`; what speaks against them is
//! asked once more, of each account by itself, before CloudFormation is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::TombstoneReason,
    ids::{AwsAccountId, SpotAccountId, StackId},
    orphan_cleanup::{OutsideEvidence, still_outside},
    plan::Step,
    stackset_sync::SyncAction,
};
use onboarding_provider::{Intents as _, Tombstone};
use spot_api::{SpotError, Workload};

use super::{super::stackset_sync::operation::OperationMemo, OrphanCleanup, delete::state_error};
use crate::{
    engine::{Applied, ErrorClass, Job as _, StepContext, StepError},
    home::{aws_error, spot_error},
    provider,
};

impl OrphanCleanup {
    pub(super) async fn take_out(
        &self,
        cx: &StepContext,
        step: &Step,
    ) -> Result<Applied, StepError> {
        let action: SyncAction = serde_json::from_value(step.payload.clone()).map_err(|error| {
            StepError::new(
                ErrorClass::Bug,
                format!(
                    "step {} has a payload that this version cannot read; plan again",
                    step.id
                ),
            )
            .with_source(error)
        })?;
        // What CloudFormation has begun is followed to its end.
        if !OperationMemo::of(cx).is_some_and(|memo| memo.submitted) {
            for account in &step.accounts {
                self.confirm_removal(*account, &action).await?;
            }
        }
        let applied = self.sync.apply(cx, step).await?;
        if let Applied::Done { .. } = applied
            && let SyncAction::DeleteStacks { stacks, .. } = &action
        {
            self.note_deleted_stacks(stacks).await?;
        }
        Ok(applied)
    }

    /// That an account is gone, `stackset-sync` asks itself.
    async fn confirm_removal(
        &self,
        account: AwsAccountId,
        action: &SyncAction,
    ) -> Result<(), StepError> {
        let home = self.home();
        let member = home.aws.member(account).await.map_err(aws_error)?;
        let linked = home.spot.list_accounts_of(account).await;
        let linked = linked.map_err(spot_error)?;
        let names: Vec<&str> = linked.iter().map(|one| &*one.name).collect();
        let protected = self.protected(account, &names, member.as_ref()).await?;
        let judged = match action {
            SyncAction::DeleteStacks { .. } => {
                let mut running = Vec::new();
                for one in &linked {
                    running.extend(self.workloads(&one.id).await.map_err(spot_error)?);
                }
                let evidence = OutsideEvidence {
                    protected,
                    state: member.map(|member| member.state),
                    in_scope: provider::is_in_scope(home, account).await?,
                    running,
                };
                still_outside(account, &evidence)
            }
            _ => match protected {
                Some(by) => Err(format!("AWS account {account} is protected: {by}")),
                None => Ok(()),
            },
        };
        judged.map_err(|reason| {
            StepError::new(
                ErrorClass::Failed,
                format!("{reason}; nothing was taken out, run again"),
            )
        })
    }

    /// The names of what runs in a Spot account.
    pub(super) async fn workloads(&self, id: &SpotAccountId) -> Result<Vec<String>, SpotError> {
        let spot = &self.home().spot;
        let (groups, clusters) = tokio::try_join!(spot.elastigroups(id), spot.ocean_clusters(id))?;
        let named = |kind: &'static str| {
            move |one: Workload| format!("{kind} {}", one.name.unwrap_or(one.id))
        };
        let groups = groups.into_iter().map(named("Elastigroup"));
        let clusters = clusters.into_iter().map(named("Ocean cluster"));
        Ok(groups.chain(clusters).collect())
    }

    /// These stacks are deleted with their instances. The Spot accounts that they own stay until they are deleted, too; in case
    /// that does not happen in this run, a tombstone tells that the stack is gone.
    pub(super) async fn note_deleted_stacks(
        &self,
        stacks: &BTreeMap<AwsAccountId, StackId>,
    ) -> Result<(), StepError> {
        let state = &self.home().state;
        let known = state.known_spot_accounts().await?;
        for (account, stack) in stacks {
            if self.instance_of(*account).await?.is_some() {
                continue;
            }
            for (spot_account, known) in &known {
                let owner = known.owner.as_ref().map(|owner| &owner.stack);
                if known.account != Some(*account) || owner != Some(stack) {
                    continue;
                }
                let tombstone = Tombstone {
                    spot_account: spot_account.clone(),
                    account: *account,
                    stack_id: stack.clone(),
                    at: Timestamp::now(),
                    reason: TombstoneReason::Reconcile,
                };
                let left = state.database().leave_tombstone(&tombstone).await;
                left.map_err(state_error)?;
            }
        }
        Ok(())
    }
}
