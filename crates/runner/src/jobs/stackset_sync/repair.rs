//! What `enroll` does about accounts that have their stack: calls at Spot in the name of that stack, and the last look before a
//! stack is removed.

use std::time::Duration;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::Resource,
    desired::Profile,
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
    stackset_sync::{StackRemoval, SyncAction},
};
use onboarding_provider::{Intents as _, Owner};

use super::{
    StackSetSync,
    at_spot::{AtSpot, Requester, interrupted},
    operation::OperationMemo,
};
use crate::{
    engine::{Applied, ErrorClass, StepContext, StepError},
    home::spot_error,
    state::OperationResults,
};

/// How long something at Spot is tried. The role and its policies have been there for long, so what fails does not pass soon.
const PATIENCE: Duration = Duration::from_secs(120);

impl StackSetSync {
    /// Links, names, or switches a product on.
    pub(super) async fn mend_at_spot(
        &self,
        cx: &StepContext,
        action: &SyncAction,
    ) -> Result<Applied, StepError> {
        let (profile, account, stack, logical_id, resource) = match action {
            SyncAction::LinkSpotAccount {
                profile,
                account,
                stack,
                spot_account,
                role,
            } => {
                let resource = Resource::SpotLinkedCredentials {
                    spot_account: spot_account.clone(),
                    role: role.clone(),
                };
                (profile, *account, stack, "SpotLinkedCredentials", resource)
            }
            SyncAction::RenameSpotAccount {
                profile,
                account,
                stack,
                spot_account,
            } => {
                let resource = Resource::RenamedSpotAccount {
                    spot_account: spot_account.clone(),
                    aws_account: *account,
                };
                (
                    profile,
                    *account,
                    stack,
                    "RenamedSpotAccountByAlias",
                    resource,
                )
            }
            SyncAction::EnableCostIntelligence {
                profile,
                account,
                stack,
                spot_account,
            } => {
                let resource = Resource::CostIntelligence {
                    spot_account: spot_account.clone(),
                };
                (profile, *account, stack, "EnableCostIntelligence", resource)
            }
            _ => {
                return Err(StepError::new(
                    ErrorClass::Bug,
                    format!("{} is nothing that is done at Spot alone", action.name()),
                ));
            }
        };
        let profile = self.profile(profile)?;
        let requester = match stack {
            Some(stack) => Requester {
                profile,
                account,
                stack: stack.clone(),
            },
            None => Requester::direct(profile, account)?,
        };
        let deadline = Timestamp::now()
            .checked_add(PATIENCE)
            .unwrap_or(Timestamp::MAX);
        let asked = self.ask(cx, &requester, deadline, logical_id, resource);
        match asked.await? {
            AtSpot::Done(answer) => {
                self.recovered(cx, profile, account).await?;
                let note = (!answer.reason.is_empty()).then_some(answer.reason);
                Ok(Applied::Done { note })
            }
            AtSpot::Interrupted => Ok(interrupted()),
        }
    }

    /// Stops the retry clock of an account, unless something else of it failed in this run.
    async fn recovered(
        &self,
        cx: &StepContext,
        profile: &Profile,
        account: AwsAccountId,
    ) -> Result<(), StepError> {
        let retries = self.home.state.retries(&profile.name, Some(cx.run_id()));
        match retries.await?.get(&account) {
            Some(retry) if !retry.of_this_run => {
                let results = OperationResults {
                    operation: "",
                    failed: &[],
                    succeeded: &[account],
                };
                self.record(cx, profile, results).await
            }
            _ => Ok(()),
        }
    }

    /// Looks at each account once more by itself: no stack is removed on the word of a listing.
    pub(super) async fn confirm_removals(
        &self,
        cx: &StepContext,
        profile: &Profile,
        accounts: &[AwsAccountId],
        because: StackRemoval,
    ) -> Result<(), StepError> {
        if OperationMemo::of(cx).is_some_and(|memo| memo.submitted) {
            return Ok(());
        }
        for account in accounts {
            let linked = self.home.spot.list_accounts_of(*account).await;
            let linked = linked.map_err(spot_error)?;
            let is_sound = match because {
                StackRemoval::Redeploy => self.uses_a_role_that_is_there(*account, &linked).await?,
                StackRemoval::TakenOver => !self.is_owned_elsewhere(profile, &linked).await?,
            };
            if is_sound {
                return Err(StepError::new(
                    ErrorClass::Failed,
                    format!(
                        "account {account} is linked to Spot through the stack that was to be removed after all; nothing was \
                         removed, run again"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whether Spot is linked to the account and the role that it uses is there. What cannot be read is not known to be gone.
    async fn uses_a_role_that_is_there(
        &self,
        account: AwsAccountId,
        linked: &[SpotAccountRecord],
    ) -> Result<bool, StepError> {
        let [spot] = linked else {
            return Ok(!linked.is_empty());
        };
        let Some(access) = &self.home.access else {
            return Ok(true);
        };
        let role = match self.owner(&spot.id).await? {
            Some(owner) => Some(owner.role),
            None => {
                let stored = self.home.spot.stored_role(&spot.id).await;
                stored.map_err(spot_error)?
            }
        };
        let Some(role) = role.filter(|role| role.account() == Some(account)) else {
            return Ok(true);
        };
        let read = access.role(account, role.role_name()).await;
        let read = read.map_err(|error| {
            StepError::new(
                ErrorClass::Failed,
                format!("the role of account {account} could not be read, and nothing was removed: {error}"),
            )
        })?;
        Ok(read.is_some())
    }

    async fn owner(&self, spot: &SpotAccountId) -> Result<Option<Owner>, StepError> {
        let owner = self.home.state.database().owner(spot).await;
        owner.map_err(|error| {
            StepError::new(ErrorClass::Transient, "the state could not be read").with_source(error)
        })
    }

    /// Whether the stack that owns the link is one of another stack set than this profile's.
    async fn is_owned_elsewhere(
        &self,
        profile: &Profile,
        linked: &[SpotAccountRecord],
    ) -> Result<bool, StepError> {
        let [spot] = linked else { return Ok(false) };
        let own = format!("StackSet-{}-", profile.stack_set);
        let owner = self.owner(&spot.id).await?;
        Ok(owner.is_some_and(|owner| !owner.stack_id.name().starts_with(&own)))
    }
}
