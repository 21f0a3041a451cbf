//! `Custom::SpotExternalId`: the external ID that the role must demand. One is made only when none is known. That of a link is
//! remembered, so that an audit can tell it from one that somebody has put in its place.

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        AdoptRule, ResourceRequest, ResourceResponse, Standing,
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
            ExternalIdDecision::HandOut(id) => {
                self.remember_in_use(named, details, &id).await?;
                id
            }
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
        let mut was_in_use = false;
        if let Some(remembered) = self.intents.external_id(named.id).await? {
            known.remembered_expired = remembered
                .valid_until
                .is_some_and(|until| until <= Timestamp::now());
            was_in_use = remembered.valid_until.is_none();
            known.remembered = Some(remembered.external_id);
        }
        // A new account has none at Spot, and one that we made is known: only links need more look-ups, and what was linked once
        // and may have got another one since.
        if named.linked || was_in_use {
            known.at_spot = self.spot.external_id(named.id).await?;
        }
        if named.linked
            && known.at_spot.is_none()
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
        let keep_link = details.adopt == AdoptRule::KeepLink;
        Ok(decide(
            named.id,
            named.standing,
            keep_link,
            named.linked,
            known,
        ))
    }

    /// Remembers what a linked account is handed out, for as long as nobody makes another one. Not of a link that is kept: its
    /// role is somebody else's, and what ours gets may be an ID that Spot never sends.
    async fn remember_in_use(
        &self,
        named: &Named<'_>,
        details: &AccountDetails,
        id: &ExternalId,
    ) -> Result<(), Trouble> {
        let is_kept =
            named.standing == Standing::LinkedElsewhere && details.adopt == AdoptRule::KeepLink;
        if !named.linked || is_kept {
            return Ok(());
        }
        let remembered = self.intents.external_id(named.id).await?;
        if remembered.is_some_and(|remembered| remembered.external_id == *id) {
            return Ok(());
        }
        let in_use = RememberedExternalId {
            external_id: id.clone(),
            valid_until: None,
        };
        Ok(self.intents.remember_external_id(named.id, &in_use).await?)
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
            self.remember_in_use(named, details, &id).await?;
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
