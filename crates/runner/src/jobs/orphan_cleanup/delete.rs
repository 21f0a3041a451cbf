//! The steps of the clean-up that are not those of `stackset-sync`, and deleting one Spot account: everything about it is read once more, then it is written down, then it is deleted.

use std::collections::{BTreeMap, BTreeSet};

use aws_ops::organizations::Member;
use onboarding_core::{
    access::PolicyAccounts,
    custom_resource::ServedStacks,
    ids::{AccessPolicyId, AwsAccountId, SpotAccountId, StackSetName, UserGroupId},
    inventory::SpotAccountRecord,
    orphan_cleanup::{CleanupAction, Evidence, Place, Why, still_orphan, undo::DeletionRecord},
    plan::Step,
};
use onboarding_provider::{CleanUpError, Intents as _, IntentsError, Orphan, Provider};

use super::{OrphanCleanup, leftover::Left};
use crate::{
    engine::{Applied, ErrorClass, StepContext, StepError},
    home::{aws_error, spot_error},
    provider,
};

impl OrphanCleanup {
    pub(super) async fn clean(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        let action = serde_json::from_value(step.payload.clone()).map_err(|error| {
            StepError::new(
                ErrorClass::Bug,
                format!(
                    "step {} has a payload that this version cannot read; plan again",
                    step.id
                ),
            )
            .with_source(error)
        })?;
        let (spot_account, account, account_name, why, first_seen, owner) = match action {
            CleanupAction::DeleteSpotAccount {
                spot_account,
                account,
                account_name,
                why,
                first_seen,
                owner,
                ..
            } => (spot_account, account, account_name, why, first_seen, owner),
            CleanupAction::DeleteLeftoverStack {
                stack,
                role,
                account,
                account_name,
                spot_account,
                first_seen,
            } => {
                let left = Left {
                    stack,
                    role,
                    account,
                    account_name,
                    spot_account,
                    first_seen,
                };
                return self.delete_leftover(cx, left).await;
            }
        };
        let orphan = Orphan {
            spot_account: spot_account.clone(),
            account,
            owner,
            may_be_linked: why != Why::NeverLinked,
            is_account_gone: matches!(why, Why::Departed | Why::Closed),
        };
        let state = &self.home().state;
        let most_a_day = self.looked()?.most_a_day;
        let now = || cx.now().div_euclid(1000);
        let before = |listed: SpotAccountRecord| async move {
            self.confirm(why, &listed, account).await?;
            let record = self
                .record(&listed, account, account_name, why, first_seen)
                .await?;
            // Before anything is written down: what is frozen uses nothing up.
            if let Some(freeze) = state.database().frozen().await.map_err(state_error)? {
                return Err(StepError::new(ErrorClass::Conflict, freeze.to_string()));
            }
            let run = cx.run_id().to_string();
            state
                .begin_deletion(&run, &record, most_a_day, now())
                .await?;
            Ok::<(), StepError>(())
        };
        let cleaned = self.lifecycle().await?.clean_up(&orphan, before).await;
        let deleted = cleaned.map_err(step_error)?;
        // Somebody else has deleted it, when all that a run of ours has begun with is its stack.
        let is_others = !deleted && state.end_try(&spot_account).await?;
        let is_ours = !is_others && state.end_deletion(&spot_account, now()).await?;
        if !deleted && !is_ours {
            return Ok(Applied::Unchanged);
        }
        tracing::warn!(%spot_account, cloud.account.id = %account, why = why.code(), "Spot account deleted");
        Ok(Applied::Done {
            note: Some(format!(
                "Spot account {spot_account} is deleted; undo: runner runs undo {}",
                cx.run_id()
            )),
        })
    }

    /// Nothing is deleted on the word of a listing: what decides is read for this account alone.
    async fn confirm(
        &self,
        why: Why,
        listed: &SpotAccountRecord,
        account: AwsAccountId,
    ) -> Result<(), StepError> {
        let spot_account = &listed.id;
        let evidence = self.evidence(listed, account).await?;
        still_orphan(why, spot_account, account, &evidence).map_err(|reason| {
            StepError::new(
                ErrorClass::Failed,
                format!("Spot account {spot_account} is not deleted: {reason}; run again"),
            )
        })
    }

    /// What decides, read for this account alone.
    pub(super) async fn evidence(
        &self,
        listed: &SpotAccountRecord,
        account: AwsAccountId,
    ) -> Result<Evidence, StepError> {
        let home = self.home();
        let member = home.aws.member(account).await.map_err(aws_error)?;
        Ok(Evidence {
            protected: self
                .protected(account, &[&*listed.name], member.as_ref())
                .await?,
            state: member.map(|member| member.state),
            in_scope: provider::is_in_scope(home, account).await?,
            instance: self.instance_of(account).await?,
            linked: home
                .spot
                .list_accounts_of(account)
                .await
                .map_err(spot_error)?,
        })
    }

    /// Why nothing of an account is removed, by its name and place as they are now, or were last.
    pub(super) async fn protected(
        &self,
        account: AwsAccountId,
        spot_names: &[&str],
        member: Option<&Member>,
    ) -> Result<Option<String>, StepError> {
        let place = match member {
            Some(member) => Some(Place {
                name: member.name.clone(),
                units: member.lineage.clone(),
                path: String::new(),
            }),
            None => self.home().state.places().await?.remove(&account),
        };
        let looked = self.looked()?;
        Ok(looked.protection.of(account, spot_names, place.as_ref()))
    }

    /// A stack set of ours that has an instance of an account.
    pub(super) async fn instance_of(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<StackSetName>, StepError> {
        for profile in &self.sync.desired.profiles {
            let aws = &self.home().aws;
            let overrides = aws.instance_overrides(&profile.stack_set, account, &profile.region);
            if overrides.await.map_err(aws_error)?.is_some() {
                return Ok(Some(profile.stack_set.clone()));
            }
        }
        Ok(None)
    }

    /// All that is needed to make the Spot account again.
    pub(super) async fn record(
        &self,
        listed: &SpotAccountRecord,
        account: AwsAccountId,
        account_name: Option<String>,
        why: Why,
        first_seen: i64,
    ) -> Result<DeletionRecord, StepError> {
        let (home, id) = (self.home(), &listed.id);
        let database = home.state.database();
        // The stack may have gone in a run before this one.
        let earlier = home.state.unsettled_deletions().await?;
        let earlier = earlier
            .into_iter()
            .find(|row| row.record.spot_account == *id);
        // Of a stack, it may have deleted a part.
        let tried = earlier.as_ref().filter(|row| row.record.only_stack);
        let tried_before = tried.map(|row| row.written_at);
        let earlier = earlier.map(|row| row.record);
        let mut gone = home.state.tombstones().await?.into_iter();
        let gone = gone.find(|tombstone| tombstone.spot_account == *id);
        let gone = gone.map(|tombstone| tombstone.stack_id);
        let owner = database.owner(id).await.map_err(state_error)?;
        let remembered = database.external_id(id).await.map_err(state_error)?;
        let (role, external_id, cost_intelligence) = tokio::try_join!(
            home.spot.stored_role(id),
            home.spot.external_id(id),
            home.spot.cost_intelligence(),
        )
        .map_err(spot_error)?;
        Ok(DeletionRecord {
            spot_account: id.clone(),
            name: listed.name.to_string(),
            account,
            account_name,
            role: role.or_else(|| owner.as_ref().map(|owner| owner.role.clone())),
            external_id: external_id
                .or_else(|| remembered.map(|remembered| remembered.external_id)),
            stack: owner.map(|owner| owner.stack_id),
            deleted_stack: earlier.and_then(|earlier| earlier.stack_before(why, gone.as_ref())),
            only_stack: false,
            stack_failed_at: None,
            tried_before,
            by_others: false,
            cost_intelligence: cost_intelligence.iter().any(|one| one.account_id == *id),
            user_groups: self.user_groups_of(id).await?,
            why,
            first_seen,
            by: home.identity.arn.clone(),
            deleted_at: None,
            undone: None,
        })
    }

    /// The user groups that see a Spot account by its id, of those that profiles name, with the policies that they have in it.
    async fn user_groups_of(
        &self,
        id: &SpotAccountId,
    ) -> Result<BTreeMap<UserGroupId, BTreeSet<AccessPolicyId>>, StepError> {
        let grants = self.sync.desired.profiles.iter();
        let named: BTreeSet<&UserGroupId> = grants
            .flat_map(|profile| &profile.access)
            .map(|grant| &grant.user_group)
            .collect();
        let mut groups = BTreeMap::new();
        for group in named {
            let policies = self
                .home()
                .spot
                .user_group(group)
                .await
                .map_err(spot_error)?;
            let names_it = |accounts: &PolicyAccounts| match accounts {
                PolicyAccounts::These(accounts) => accounts.contains(id.as_str()),
                _ => false,
            };
            let policies = policies.iter().filter(|policy| names_it(&policy.accounts));
            let policies: BTreeSet<AccessPolicyId> = policies
                .filter_map(|policy| policy.policy.parse().ok())
                .collect();
            if !policies.is_empty() {
                groups.insert(group.clone(), policies);
            }
        }
        Ok(groups)
    }

    pub(super) async fn lifecycle(&self) -> Result<&Provider, StepError> {
        self.lifecycle
            .get_or_try_init(|| provider::lifecycle(self.home(), None, ServedStacks::default()))
            .await
    }
}

pub(in crate::jobs) fn state_error(error: IntentsError) -> StepError {
    StepError::new(
        ErrorClass::Transient,
        "the state of a Spot account could not be read or written",
    )
    .with_source(error)
}

pub(super) fn step_error(error: CleanUpError<StepError>) -> StepError {
    match error {
        CleanUpError::Before(error) => error,
        CleanUpError::Spot(error) => spot_error(error),
        CleanUpError::State(error) => state_error(error),
        refused @ CleanUpError::Refused { .. } => {
            StepError::new(ErrorClass::Failed, refused.to_string())
        }
        busy @ CleanUpError::Busy { .. } => StepError::new(ErrorClass::Conflict, busy.to_string()),
    }
}
