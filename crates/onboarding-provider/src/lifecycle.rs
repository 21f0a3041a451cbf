//! One attempt at one request: who asks, may it, and what is to be done for its resource.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        AdoptRule, Holder, RequestType, Resource, ResourceRequest, ResourceResponse, Standing,
    },
    ids::{AwsAccountId, SpotAccountId},
};
use spot_api::{ErrorClass, SpotError};
use tokio::time::Instant;

use crate::{
    directory::{AccountDetails, DirectoryError},
    intents::{Intent, IntentsError, Owner},
    provider::Provider,
    refusal::Refusal,
};

pub(crate) mod access;
mod alone;
mod claim;
pub(crate) mod clean_up;
mod cost_intelligence;
mod credentials;
mod deletion;
mod external_id;
mod name;
mod spot_account;
mod stack_state;
pub(crate) mod unsettled;

/// Why an attempt did not end with an answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It never will: the request fails, with this reason.
    Refused(String),
    /// It passes by itself.
    Passing(String),
    /// It may pass by itself, but not for long.
    PassingFor(String, Patience),
}

/// What may pass by itself for a limited time, from when it was first met; [`crate::ProviderSettings`] has the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Patience {
    /// Spot refuses a token that was just renewed, or an account that was just created; or a proxy answered.
    Refusal,
    /// Cost Intelligence finds something wrong.
    Validation,
}

impl From<SpotError> for Trouble {
    fn from(error: SpotError) -> Self {
        match error.class() {
            ErrorClass::Transient
            | ErrorClass::Throttled
            | ErrorClass::Unreachable
            | ErrorClass::Ambiguous => Self::Passing(error.to_string()),
            ErrorClass::Denied | ErrorClass::NotFound | ErrorClass::Bug => {
                Self::PassingFor(error.to_string(), Patience::Refusal)
            }
            ErrorClass::Invalid | ErrorClass::Conflict => Self::Refused(error.to_string()),
        }
    }
}

impl From<IntentsError> for Trouble {
    fn from(error: IntentsError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "provider state");
        Self::Passing(error.to_string())
    }
}

impl From<DirectoryError> for Trouble {
    fn from(error: DirectoryError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// A Spot account that a request names, and that its AWS account may ask about.
pub(crate) struct Named<'a> {
    pub(crate) id: &'a SpotAccountId,
    /// Its name as last listed; none while Spot does not list it yet.
    pub(crate) name: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) linked: bool,
    /// Whether somebody else had linked it before us.
    pub(crate) adopted: bool,
}

impl Provider {
    /// One attempt at a request.
    pub(crate) async fn attempt(
        &self,
        request: &ResourceRequest,
    ) -> Result<ResourceResponse, Trouble> {
        let stack = &request.stack_id;
        if let Some(answer) = self.intents.answer(stack, &request.request_id).await? {
            return Ok(answer);
        }
        if !self.settings.stacks.include(stack) {
            self.refused(request, Refusal::Stack);
            return not_of_ours(request);
        }
        let frozen = self.intents.frozen().await?;
        let frozen = frozen.map(|freeze| format!("nothing was changed at Spot: {freeze}"));
        // An Update may be the one that takes another back, and that must not fail.
        if let Some(reason) = frozen.clone()
            && request.request_type != RequestType::Update
        {
            return Err(Trouble::Refused(reason));
        }
        if request.request_type == RequestType::Delete {
            return self.delete(request).await;
        }
        let refused = |refusal: Refusal, reason: String| {
            self.refused(request, refusal);
            Err(Trouble::Refused(reason))
        };
        let resource = match &request.resource {
            Ok(resource) => resource,
            Err(invalid) => return refused(Refusal::Resource, invalid.to_string()),
        };
        let account = request.account;
        if let Some(asked_for) = resource
            .aws_account()
            .filter(|asked_for| *asked_for != account)
        {
            return refused(
                Refusal::OtherAccount,
                format!(
                    "a stack in AWS account {account} may not ask about AWS account {asked_for}"
                ),
            );
        }
        if request.request_type == RequestType::Update {
            self.check_before(request, resource).await?;
        }
        if let Some(unchanged) = unchanged(request, resource) {
            return Ok(unchanged);
        }
        if let Some(reason) = frozen {
            return self.frozen_update(request, resource, reason).await;
        }
        let Some(details) = self.directory.account(account).await? else {
            return self.out_of_scope(request, resource).await;
        };
        let named = match resource.spot_account() {
            None => return self.spot_account(request, &details).await,
            Some(id) => self.named(request, id).await?,
        };
        if let Some(kept) = kept(request, resource, &named, &details)? {
            return Ok(kept);
        }
        match resource {
            Resource::SpotAccount { .. } => self.spot_account(request, &details).await,
            Resource::SpotExternalId { .. } => self.external_id(request, &named, &details).await,
            Resource::SpotLinkedCredentials { role, .. } => {
                self.link(request, &named, role, &details.access).await
            }
            Resource::RenamedSpotAccount { .. } => self.rename(request, &named, &details).await,
            Resource::CostIntelligence { .. } => {
                self.enable_cost_intelligence(request, &named).await
            }
        }
    }

    /// An Update while everything is frozen. It changes nothing and succeeds: it may be a rollback's, and one of those that fails
    /// leaves its stack beyond repair. But a role that is not the one that is linked would be made for nothing, and the linked
    /// one deleted: that fails, and the rollback, which comes with the linked role again, succeeds.
    async fn frozen_update(
        &self,
        request: &ResourceRequest,
        resource: &Resource,
        reason: String,
    ) -> Result<ResourceResponse, Trouble> {
        if let Resource::SpotLinkedCredentials {
            spot_account, role, ..
        } = resource
        {
            let owner = self.owner_of(request.account, spot_account).await?;
            if owner.is_some_and(|owner| owner.role != *role) {
                return Err(Trouble::Refused(reason));
            }
        }
        Ok(as_it_is(request, resource, &reason))
    }

    /// A request of an account that no profile targets. An Update of its stack, which it had from before, must not fail:
    /// its rollback would as well, and the stack could not be changed any more. So it changes nothing, but for a new role,
    /// without which the link that we made would be lost.
    async fn out_of_scope(
        &self,
        request: &ResourceRequest,
        resource: &Resource,
    ) -> Result<ResourceResponse, Trouble> {
        let account = request.account;
        let reason = format!("AWS account {account} is not in the scope of this provider");
        if request.request_type != RequestType::Update {
            self.refused(request, Refusal::OutOfScope);
            return Err(Trouble::Refused(reason));
        }
        if let Resource::SpotLinkedCredentials {
            spot_account, role, ..
        } = resource
        {
            match self.named(request, spot_account).await {
                Ok(named) if named.standing == Standing::Ours => {
                    return self.link(request, &named, role, &BTreeSet::new()).await;
                }
                // Somebody else's, gone, or never seen: nothing of ours to keep.
                Ok(_) | Err(Trouble::Refused(_)) => {}
                Err(passing) => return Err(passing),
            }
        }
        Ok(as_it_is(request, resource, &reason))
    }

    /// Checks the Spot accounts that an Update has from before, in its PhysicalResourceId and its old properties. One that is
    /// gone from Spot is nobody's: who has it is let through, or its stack could neither be changed any more nor rolled back.
    async fn check_before(
        &self,
        request: &ResourceRequest,
        resource: &Resource,
    ) -> Result<(), Trouble> {
        let account = request.account;
        let physical = match resource {
            Resource::SpotExternalId { .. } => None,
            _ => {
                let id = request.physical_id.as_deref();
                id.map(|id| id.parse::<SpotAccountId>().ok())
            }
        };
        let stands_for = matches!(resource, Resource::SpotAccount { .. });
        if stands_for && physical.as_ref().is_none_or(Option::is_none) {
            self.refused(request, Refusal::Resource);
            return Err(Trouble::Refused(
                "its PhysicalResourceId is not a Spot account".to_owned(),
            ));
        }
        let old = request.old_resource.as_ref();
        let old = old.and_then(Resource::spot_account).cloned();
        for id in physical.flatten().into_iter().chain(old) {
            if self.belongs(request, &id).await? == Some(false) {
                self.refused(request, Refusal::ForeignSpotAccount);
                return Err(Trouble::Refused(format!(
                    "Spot account {id}, which is its PhysicalResourceId or in its old properties, is not linked to AWS \
                     account {account}, and was not created for it"
                )));
            }
        }
        Ok(())
    }

    /// Whether a Spot account is or was that of the requesting AWS account; none when Spot does not list it and our state does
    /// not know it.
    async fn belongs(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
    ) -> Result<Option<bool>, Trouble> {
        let account = request.account;
        let intent = self.intents.intent(account).await?;
        let known = [&intent.assigned, &intent.removed];
        if known.into_iter().flatten().any(|known| known == id)
            || self.owner_of(account, id).await?.is_some()
        {
            return Ok(Some(true));
        }
        let mut listing = self.listings.recent().await?;
        // A refusal needs a listing from now.
        for last in [false, true] {
            if let Some(record) = listing.known.get(id) {
                let standing = Standing::of(record, account, None, false);
                let standing = match standing {
                    Standing::Foreign => self.standing_at_spot(request, record, standing).await?,
                    standing => standing,
                };
                if standing != Standing::Foreign {
                    return Ok(Some(true));
                }
            }
            if !last {
                listing = self.listings.since(Instant::now()).await?;
            }
        }
        Ok(listing.known.get(id).map(|_| false))
    }

    /// Checks that a Create is not one whose resource has been deleted since it was asked for.
    fn check_not_late(&self, request: &ResourceRequest, intent: &Intent) -> Result<(), Trouble> {
        let is_create = request.request_type == RequestType::Create;
        if is_create && intent.is_late(&Holder::of(request), asked_at(request)) {
            self.refused(request, Refusal::StackEnded);
            return Err(Trouble::Refused(
                "its resource was deleted before this request came; nothing was changed at Spot"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Checks that a Spot account is linked to, or was created for, the requesting AWS account.
    async fn named<'a>(
        &self,
        request: &ResourceRequest,
        id: &'a SpotAccountId,
    ) -> Result<Named<'a>, Trouble> {
        let account = request.account;
        let intent = self.intents.intent(account).await?;
        if intent.is_departed(&request.stack_id) {
            self.refused(request, Refusal::StackEnded);
            return Err(Trouble::Refused(
                "its stack was deleted before this request came; nothing was changed at Spot"
                    .to_owned(),
            ));
        }
        self.check_not_late(request, &intent)?;
        if intent.removed.as_ref() == Some(id) {
            return Err(Trouble::Refused(format!(
                "Spot account {id} was deleted with its stack"
            )));
        }
        let deletes = intent.sent.as_ref().is_some_and(|sent| sent.deletes(id));
        if deletes && !self.is_settled(account, &intent).await? {
            return Err(Trouble::Passing(format!(
                "Spot account {id} is being deleted with its stack"
            )));
        }
        let owner = self.owner_of(account, id).await?;
        let adopted = owner.as_ref().is_some_and(|owner| owner.adopted);
        let linked_by_us = owner.is_some();
        let mut listing = self.listings.recent().await?;
        // An older listing may not show a new account or a new link; a refusal needs one from now.
        for last in [false, true] {
            match listing.known.get(id) {
                Some(record) => {
                    self.note_listed(account, &intent, id).await?;
                    let standing =
                        Standing::of(record, account, intent.assigned.as_ref(), linked_by_us);
                    let standing = self.standing_at_spot(request, record, standing).await?;
                    if standing != Standing::Foreign {
                        return Ok(Named {
                            id,
                            name: Some(record.name.to_string()),
                            standing,
                            linked: record.aws_account.is_some(),
                            adopted,
                        });
                    }
                }
                // Newer than the listing. Its creation is in our state, so nothing is asked: one listing for each new
                // account would be too many.
                None if self.is_new(&intent, id).await? => {
                    return Ok(Named {
                        id,
                        name: None,
                        standing: Standing::Ours,
                        linked: linked_by_us,
                        adopted,
                    });
                }
                None => {}
            }
            if !last {
                listing = self.listings.since(Instant::now()).await?;
            }
        }
        self.refused(request, Refusal::ForeignSpotAccount);
        Err(Trouble::Refused(format!(
            "Spot account {id} is not linked to AWS account {account}, and was not created for it"
        )))
    }

    /// The stack of this AWS account that linked the Spot account through us.
    pub(crate) async fn owner_of(
        &self,
        account: AwsAccountId,
        id: &SpotAccountId,
    ) -> Result<Option<Owner>, Trouble> {
        let owner = self.intents.owner(id).await?;
        Ok(owner.filter(|owner| owner.account == account))
    }
}

/// When a request was asked for: now, where nobody has said so.
fn asked_at(request: &ResourceRequest) -> Timestamp {
    let published = request.published.map(Timestamp::from_millisecond);
    published
        .and_then(Result::ok)
        .unwrap_or_else(Timestamp::now)
}

/// The answer to an Update that changes nothing, with what the stack's other resources ask of this one.
fn as_it_is(request: &ResourceRequest, resource: &Resource, reason: &str) -> ResourceResponse {
    let response = ResourceResponse::unchanged(request, reason);
    let id = response.physical_resource_id.clone();
    match resource {
        Resource::SpotExternalId { .. } => response.with("ExternalId", id),
        _ => response.with("AccountId", id),
    }
}

/// The answer to a stack that is none of ours: its Create fails, and what it has meanwhile must neither hold its updates
/// up nor its deletion.
fn not_of_ours(request: &ResourceRequest) -> Result<ResourceResponse, Trouble> {
    let reason = format!(
        "this provider does not serve stacks named {}",
        request.stack_id.name()
    );
    match request.request_type {
        RequestType::Create => Err(Trouble::Refused(reason)),
        RequestType::Update | RequestType::Delete => {
            tracing::warn!(reason, "nothing was changed at Spot");
            let response = ResourceResponse::unchanged(request, &reason);
            let id = response.physical_resource_id.clone();
            Ok(match request.resource {
                Ok(Resource::SpotExternalId { .. }) => response.with("ExternalId", id),
                _ => response.with("AccountId", id),
            })
        }
    }
}

/// The answer to an Update that has nothing to do.
fn unchanged(request: &ResourceRequest, resource: &Resource) -> Option<ResourceResponse> {
    if request.request_type != RequestType::Update {
        return None;
    }
    let id = request.physical_id.clone()?;
    match resource {
        // The AWS account of a stack never changes, so neither does its Spot account.
        Resource::SpotAccount { .. } => {
            Some(ResourceResponse::unchanged(request, "").with("AccountId", id))
        }
        Resource::SpotExternalId { .. } if request.old_resource.as_ref() == Some(resource) => {
            Some(ResourceResponse::unchanged(request, "").with("ExternalId", id))
        }
        Resource::SpotLinkedCredentials { spot_account, .. }
            if request.old_resource.as_ref() == Some(resource) =>
        {
            Some(ResourceResponse::unchanged(request, "").with("AccountId", spot_account.as_str()))
        }
        _ => None,
    }
}

/// The answer for a Spot account that somebody else has linked, when the rule is to leave it alone.
fn kept(
    request: &ResourceRequest,
    resource: &Resource,
    named: &Named<'_>,
    details: &AccountDetails,
) -> Result<Option<ResourceResponse>, Trouble> {
    if named.standing != Standing::LinkedElsewhere || details.adopt == AdoptRule::Relink {
        return Ok(None);
    }
    if details.adopt == AdoptRule::Refuse {
        return Err(Trouble::Refused(format!(
            "Spot account {} was linked by somebody else, and the rule for that is adopt = \"refuse\"",
            named.id
        )));
    }
    // Its external ID is still looked up: the role must demand one.
    if matches!(resource, Resource::SpotExternalId { .. }) {
        return Ok(None);
    }
    let mut response = ResourceResponse::success(request, named.id.as_str())
        .with("AccountId", named.id.as_str())
        .with("Adopted", "true");
    response.reason = format!(
        "Spot account {} was linked by somebody else and stays as it is (adopt = \"keep-link\")",
        named.id
    );
    Ok(Some(response))
}
