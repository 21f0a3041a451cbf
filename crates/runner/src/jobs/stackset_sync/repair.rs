//! What is done about accounts that have their stack: calls at Spot in the name of that stack (`enroll`), and the last look before
//! a stack is removed (`enroll`, `orphan-cleanup`).

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use onboarding_core::{
    custom_resource::Resource,
    desired::Profile,
    ids::{AwsAccountId, SpotAccountId, StackId},
    stackset_sync::{MendKind, StackRemoval, SyncAction},
    template::{POLICY_VERSION_PARAMETER, REPAIR_NONCE_PARAMETER},
};
use onboarding_provider::{Intents as _, Owner};

use super::{
    StackSetSync,
    at_spot::{AtSpot, Requester, interrupted},
    operation::OperationMemo,
};
use crate::{
    engine::{Applied, ErrorClass, StepContext, StepError},
    home::{aws_error, spot_error},
    provider,
};

/// How long after its link an account is left alone: Spot lists a new account late.
const SETTLED: SignedDuration = SignedDuration::from_mins(10);

/// Why nothing is removed of an account that is not ours to know.
const UNKNOWN_LINK: &str = "the state does not know its link";

/// How long something at Spot is tried. The role and its policies have been there for long, so what fails does not pass soon.
const PATIENCE: Duration = Duration::from_secs(120);

impl StackSetSync {
    /// Links, names, or switches a product on.
    pub(super) async fn mend_at_spot(
        &self,
        cx: &StepContext,
        action: &SyncAction,
    ) -> Result<Applied, StepError> {
        let (profile, account, stack, kind, resource) = match action {
            SyncAction::LinkSpotAccount {
                profile,
                account,
                stack,
                spot_account,
                role,
                relinks,
            } => {
                let resource = Resource::SpotLinkedCredentials {
                    spot_account: spot_account.clone(),
                    role: role.clone(),
                };
                let kind = match relinks {
                    true => MendKind::Relink,
                    false => MendKind::Link,
                };
                (profile, *account, stack, kind, resource)
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
                (profile, *account, stack, MendKind::Rename, resource)
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
                let kind = MendKind::CostIntelligence;
                (profile, *account, stack, kind, resource)
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
                mends: Some(kind),
            },
            None => Requester {
                mends: Some(kind),
                ..Requester::direct(profile, account)?
            },
        };
        let logical_id = match kind {
            MendKind::Rename => "RenamedSpotAccountByAlias",
            MendKind::CostIntelligence => "EnableCostIntelligence",
            _ => "SpotLinkedCredentials",
        };
        let deadline = Timestamp::now()
            .checked_add(PATIENCE)
            .unwrap_or(Timestamp::MAX);
        let asked = self.ask(cx, &requester, deadline, logical_id, resource);
        match asked.await? {
            AtSpot::Done(answer) => {
                let note = (!answer.reason.is_empty()).then_some(answer.reason);
                Ok(Applied::Done { note })
            }
            AtSpot::Interrupted => Ok(interrupted()),
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
                StackRemoval::RoleGone => self.why_its_role_works(*account).await,
                StackRemoval::SpotAccountGone => self.why_it_has_a_spot_account(*account).await,
                StackRemoval::TakenOver => {
                    self.why_it_is_needed(*account, stacks.get(account)).await
                }
                StackRemoval::OutsideTargets => self.why_it_is_targeted(*account).await,
            };
            let kept = match kept {
                Ok(None) if because.is_remake() => {
                    self.why_it_would_differ(profile, *account).await
                }
                known => known,
            };
            let why = match kept {
                Ok(None) => {
                    // From now on, at the latest, Spot has no way in, until the new stack is linked.
                    if let Some(stack) = stacks.get(account).filter(|_| because.is_remake()) {
                        let state = &self.home.state;
                        state.note_broken_link(stack, cx.now()).await?;
                    }
                    confirmed.push(*account);
                    continue;
                }
                Ok(Some(why)) => why,
                Err(error) => error.to_string(),
            };
            tracing::warn!(cloud.account.id = %account, why, "a stack was not removed");
            if because.is_remake() {
                let why = format!("its stack was not removed: {why}");
                self.record_unmended(cx, profile, (*account, because.into()), &why)
                    .await?;
            }
        }
        Ok(confirmed)
    }

    /// Why the stack after it would be another one; none when it would not. A new instance overrides nothing.
    async fn why_it_would_differ(
        &self,
        profile: &Profile,
        account: AwsAccountId,
    ) -> Result<Option<String>, StepError> {
        let aws = &self.home.aws;
        let read = aws.instance_overrides(&profile.stack_set, account, &profile.region);
        let names = read.await.map_err(aws_error)?.unwrap_or_default();
        let others: Vec<String> = names
            .into_keys()
            .filter(|name| name != REPAIR_NONCE_PARAMETER && name != POLICY_VERSION_PARAMETER)
            .collect();
        Ok((!others.is_empty()).then(|| {
            format!(
                "its stack instance overrides {}, which the one after it would not; take that override away, or make the stack anew \
                 by hand and give it again",
                others.join(", ")
            )
        }))
    }

    /// Why a stack whose role is gone may be in use after all; none when it is not. What cannot be read is not known to be gone.
    async fn why_its_role_works(&self, account: AwsAccountId) -> Result<Option<String>, StepError> {
        let spot = &self.home.spot;
        let linked = spot.list_accounts_of(account).await.map_err(spot_error)?;
        let Some((ours, owner)) = self.our_link(account).await? else {
            return Ok(Some(UNKNOWN_LINK.to_owned()));
        };
        if linked.iter().any(|one| one.id != ours) {
            return Ok(Some("other Spot accounts are linked to it".to_owned()));
        }
        if linked.is_empty() && spot.account(&ours).await.map_err(spot_error)?.is_none() {
            return Ok(Some(format!("its Spot account {ours} is gone, too")));
        }
        let stored = spot.stored_role(&ours).await.map_err(spot_error)?;
        if let Some(stored) = stored.filter(|stored| *stored != owner.role) {
            return Ok(Some(format!("Spot uses another role, {stored}")));
        }
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

    /// Why a stack whose Spot account is gone may have one after all; none when it has not.
    async fn why_it_has_a_spot_account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<String>, StepError> {
        let spot = &self.home.spot;
        let linked = spot.list_accounts_of(account).await.map_err(spot_error)?;
        let Some((ours, owner)) = self.our_link(account).await? else {
            return Ok(Some(UNKNOWN_LINK.to_owned()));
        };
        if let Some(one) = linked.first() {
            return Ok(Some(format!("Spot account {} is linked to it", one.id)));
        }
        if Timestamp::now().duration_since(owner.linked_at) < SETTLED {
            return Ok(Some("it was linked a moment ago".to_owned()));
        }
        let there = spot.account(&ours).await.map_err(spot_error)?;
        Ok(there.map(|_| format!("Spot account {ours} is there, although Spot did not list it")))
    }

    /// The Spot account that we linked to an account, and for which stack.
    async fn our_link(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<(SpotAccountId, Owner)>, StepError> {
        let mut links = self.home.state.spot_links().await?;
        let Some(ours) = links.owned.remove(&account) else {
            return Ok(None);
        };
        let owner = self.owner(&ours).await?;
        Ok(owner.map(|owner| (ours, owner)))
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
