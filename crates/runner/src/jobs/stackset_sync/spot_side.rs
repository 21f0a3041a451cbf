//! What is observed and done at Spot alone: Billing Engine for the management account, and who may see the accounts.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use onboarding_core::{
    access::{Accounts, GroupPolicy},
    desired::BillingSource,
    ids::{SpotAccountId, UserGroupId},
    stackset_sync::BillingRegistration,
};
use spot_api::{AccessError, Product, RegistrationStatus, ValidationStep};

use super::StackSetSync;
use crate::{
    engine::{Applied, ErrorClass, JobError, StepError},
    home::spot_error,
};

impl StackSetSync {
    /// The Spot accounts that Billing Engine is switched on for; not asked for unless it is wanted.
    pub(super) async fn billing_engine(
        &self,
    ) -> Result<BTreeMap<SpotAccountId, BillingRegistration>, JobError> {
        if self.desired.billing_engine.is_none() {
            return Ok(BTreeMap::new());
        }
        let registrations = self.home.spot.billing_engine().await.map_err(spot_error)?;
        let since = |date: &str| Some(date.parse::<jiff::Timestamp>().ok()?.as_second());
        let observed = registrations.into_iter().map(|one| {
            let registration = BillingRegistration {
                connected: one.status == RegistrationStatus::Connected,
                since: one.enabled_date.as_deref().and_then(since),
            };
            (one.account_id, registration)
        });
        Ok(observed.collect())
    }

    /// The access policies of the user groups that the profiles name, or why Spot does not tell them.
    pub(super) async fn user_groups(
        &self,
    ) -> Result<BTreeMap<UserGroupId, Result<Vec<GroupPolicy>, String>>, JobError> {
        let profiles = self.desired.profiles.iter();
        let groups: BTreeSet<&UserGroupId> = profiles
            .flat_map(|profile| &profile.access)
            .map(|grant| &grant.user_group)
            .collect();
        let read = groups.into_iter().map(|group| async move {
            let policies = match self.home.spot.user_group(group).await {
                Ok(policies) => Ok(policies),
                // One group that is not there, or not as Spot documents it, is a finding and holds nothing else up.
                Err(error) => match spot_error(error) {
                    error if is_of_the_group(error.class()) => Err(error.to_string()),
                    error => return Err(error),
                },
            };
            Ok((group.clone(), policies))
        });
        Ok(try_join_all(read).await?.into_iter().collect())
    }

    pub(super) async fn grant_access(
        &self,
        group: &UserGroupId,
        policies: &Accounts,
    ) -> Result<Applied, StepError> {
        match self.home.spot.grant_access(group, policies).await {
            Ok(true) => Ok(Applied::Done { note: None }),
            Ok(false) => Ok(Applied::Unchanged),
            Err(AccessError::Spot(error)) => Err(spot_error(error)),
            Err(error @ AccessError::Unknown(_)) => {
                Err(StepError::new(ErrorClass::Failed, error.to_string()))
            }
            Err(error @ AccessError::NotKept(_)) => {
                Err(StepError::new(ErrorClass::Conflict, error.to_string()))
            }
        }
    }

    pub(super) async fn set_up_billing_engine(
        &self,
        account: &SpotAccountId,
        source: &BillingSource,
    ) -> Result<Applied, StepError> {
        let spot = &self.home.spot;
        let product = Product::BillingEngine(source.clone());
        let steps = spot.validate_product(&product, account).await;
        if let Some(failures) = ValidationStep::failures(&steps.map_err(spot_error)?) {
            return Err(StepError::new(
                ErrorClass::Failed,
                format!(
                    "Billing Engine cannot be switched on for {account}: {failures}; look at [billing_engine] and at what \
                     the role of the management account's link may read (docs/billing-engine.md)"
                ),
            ));
        }
        spot.set_up_product(&product, account)
            .await
            .map_err(spot_error)?;
        Ok(Applied::Done {
            note: Some(format!("Billing Engine is on for {account}")),
        })
    }
}

/// Whether an error is about the group that was asked for, and not about Spot or our token.
fn is_of_the_group(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Failed | ErrorClass::Conflict)
}
