//! What is done about accounts that have their stack: calls at Spot in the name of that stack (`enroll`), and the last look before
//! a stack is removed (`enroll`, `orphan-cleanup`).

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use onboarding_core::{
    custom_resource::Resource,
    desired::Profile,
    ids::{AwsAccountId, SpotAccountId, StackId},
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
    provider,
    state::OperationResults,
};

/// How long after its link an account is left alone: Spot lists a new account late.
const SETTLED: SignedDuration = SignedDuration::from_mins(10);

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

    /// Looks at each account once more by itself, and leaves out those whose stack must not go: no stack is removed on the word
    /// of a listing.
    pub(super) async fn confirmed_removals(
        &self,
        cx: &StepContext,
        profile: &Profile,
        accounts: &[AwsAccountId],
        stacks: &BTreeMap<AwsAccountId, StackId>,
        because: StackRemoval,
    ) -> Result<Vec<AwsAccountId>, StepError> {
        if OperationMemo::of(cx).is_some_and(|memo| memo.submitted) {
            return Ok(accounts.to_vec());
        }
        let mut confirmed = Vec::with_capacity(accounts.len());
        for account in accounts {
            let kept = match because {
                StackRemoval::Redeploy => self.why_it_works(*account).await,
                StackRemoval::TakenOver => {
                    self.why_it_is_needed(*account, stacks.get(account)).await
                }
                StackRemoval::OutsideTargets => self.why_it_is_targeted(*account).await,
            };
            let why = match kept {
                Ok(None) => {
                    confirmed.push(*account);
                    continue;
                }
                Ok(Some(why)) => why,
                Err(error) => error.to_string(),
            };
            tracing::warn!(cloud.account.id = %account, why, "a stack was not removed");
            if because == StackRemoval::Redeploy {
                let at = format!("removal in run {}", cx.run_id());
                let why = format!("its stack was not removed: {why}");
                self.record_failure(cx, profile, *account, &at, &why)
                    .await?;
            }
        }
        Ok(confirmed)
    }

    /// Why a stack that is to be made anew may be in use after all; none when it is not. What cannot be read is not known to be
    /// gone.
    async fn why_it_works(&self, account: AwsAccountId) -> Result<Option<String>, StepError> {
        let spot = &self.home.spot;
        let linked = spot.list_accounts_of(account).await.map_err(spot_error)?;
        let links = self.home.state.spot_links().await?;
        let ours = links.owned.get(&account);
        let owner = match ours {
            Some(ours) => self.owner(ours).await?,
            None => None,
        };
        let Some(owner) = owner else {
            return Ok(Some("the state does not know its link".to_owned()));
        };
        match (&linked[..], ours) {
            ([], _) if Timestamp::now().duration_since(owner.linked_at) < SETTLED => {
                Ok(Some("it was linked a moment ago".to_owned()))
            }
            ([], Some(ours)) => {
                let there = spot.account(ours).await.map_err(spot_error)?;
                Ok(there.map(|_| {
                    format!("Spot account {ours} is there, although Spot did not list it")
                }))
            }
            ([one], Some(ours)) if one.id == *ours => {
                let Some(access) = &self.home.access else {
                    return Ok(Some("nobody can look at its role".to_owned()));
                };
                let read = access.role(account, owner.role.role_name()).await;
                let read = read.map_err(|error| {
                    let what = format!("its role could not be read: {error}");
                    StepError::new(ErrorClass::Failed, what)
                })?;
                Ok(read.map(|_| format!("its role {} is there", owner.role)))
            }
            _ => Ok(Some("other Spot accounts are linked to it".to_owned())),
        }
    }

    /// Why a stack that another profile's took over may be needed after all; none when it is not.
    async fn why_it_is_needed(
        &self,
        account: AwsAccountId,
        stack: Option<&StackId>,
    ) -> Result<Option<String>, StepError> {
        let linked = self.home.spot.list_accounts_of(account).await;
        let linked = linked.map_err(spot_error)?;
        let [spot] = &linked[..] else {
            return Ok(Some("not one Spot account is linked to it".to_owned()));
        };
        let owner = self.owner(&spot.id).await?;
        Ok(match (owner, stack) {
            (Some(owner), Some(stack)) if owner.stack_id != *stack => None,
            _ => Some("no other stack has taken its Spot account over".to_owned()),
        })
    }

    /// Why the stack of an account that no profile targets may be needed after all; none when it is not.
    async fn why_it_is_targeted(&self, account: AwsAccountId) -> Result<Option<String>, StepError> {
        let is_in_scope = provider::is_in_scope(&self.home, account).await?;
        Ok(is_in_scope.then(|| "a profile targets it again".to_owned()))
    }

    async fn owner(&self, spot: &SpotAccountId) -> Result<Option<Owner>, StepError> {
        let owner = self.home.state.database().owner(spot).await;
        owner.map_err(|error| {
            StepError::new(ErrorClass::Transient, "the state could not be read").with_source(error)
        })
    }
}
