//! `Custom::SpotExternalId`: the external ID that the role must demand. One is made only when none is known.

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        AdoptRule, ResourceRequest, ResourceResponse,
        external_id::{ExternalIdDecision, KnownExternalIds, decide},
    },
    ids::{ExternalId, RoleArn, SpotAccountId},
};

use super::{Named, Trouble, claim::holder_name};
use crate::{directory::AccountDetails, intents::RememberedExternalId, provider::Provider};

impl Provider {
    pub(super) async fn external_id(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ResourceResponse, Trouble> {
        let id = match self.known_external_id(request, named, details).await? {
            ExternalIdDecision::HandOut(id) => id,
            ExternalIdDecision::Mint => self.mint(request, named, details).await?,
        };
        Ok(ResourceResponse::success(request, id.as_str()).with("ExternalId", id.as_str()))
    }

    async fn known_external_id(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ExternalIdDecision, Trouble> {
        let mut known = KnownExternalIds::default();
        if let Some(remembered) = self.intents.external_id(named.id).await? {
            known.remembered_expired = remembered
                .valid_until
                .is_some_and(|until| until <= Timestamp::now());
            known.remembered = Some(remembered.external_id);
        }
        // A new account has none at Spot, and one that we made is known: only links need more look-ups.
        if named.linked {
            known.at_spot = self.spot.external_id(named.id).await?;
            if known.at_spot.is_none()
                && known.remembered.is_none()
                && self.directory.reads_roles()
                && let Some(role) = self.linked_role(named.id).await?
                && role.account() == Some(request.account)
            {
                known.in_use = self
                    .directory
                    .external_id_in_use(request.account, &role)
                    .await?;
            }
        }
        let keep_link = details.adopt == AdoptRule::KeepLink;
        Ok(decide(
            named.id,
            named.standing,
            keep_link,
            named.linked,
            known,
        ))
    }

    /// The role of a link, as Spot has it. Spot may not tell; then the one that we linked last is the best that is known.
    async fn linked_role(&self, id: &SpotAccountId) -> Result<Option<RoleArn>, Trouble> {
        // Whatever Spot says of a call that it does not document, it may say otherwise later.
        let stored = self.spot.stored_role(id).await;
        if let Some(role) = stored.map_err(|error| Trouble::Passing(error.to_string()))? {
            return Ok(Some(role));
        }
        let owner = self.intents.owner(id).await?;
        Ok(owner.map(|owner| owner.role))
    }

    /// Makes a new external ID, alone: of two, only the newest may be valid.
    async fn mint(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ExternalId, Trouble> {
        let holder = holder_name(request);
        let minted = self.mint_claimed(request, named, details);
        self.while_claimed(request, &holder, minted).await
    }

    async fn mint_claimed(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ExternalId, Trouble> {
        if let ExternalIdDecision::HandOut(id) =
            self.known_external_id(request, named, details).await?
        {
            return Ok(id);
        }
        let created = self.spot.create_external_id(named.id).await?;
        let remembered = RememberedExternalId {
            external_id: created.external_id.clone(),
            valid_until: created.max_valid_until.and_then(|until| until.parse().ok()),
        };
        self.intents
            .remember_external_id(named.id, &remembered)
            .await?;
        Ok(created.external_id)
    }
}
