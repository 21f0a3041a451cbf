//! `Custom::SpotLinkedCredentials`: links the Spot account to the role, makes the stack its owner, and
//! lets user groups see the account.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{Holder, ROLE_NOT_ASSUMABLE, ResourceRequest, ResourceResponse, Standing},
    desired::AccessGrant,
    ids::{RoleArn, SpotAccountId},
};

use spot_api::SpotError;

use super::{Named, Trouble, asked_at, claim::holder_name};
use crate::{intents::Owner, provider::Provider};

impl Provider {
    pub(super) async fn link(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        role: &RoleArn,
        access: &BTreeSet<AccessGrant>,
    ) -> Result<ResourceResponse, Trouble> {
        // Before the link: from now on no other stack's end deletes the Spot account.
        let stack = Holder::stack(&request.stack_id);
        self.take_hold(request, named.id, &stack).await?;
        // Of two stacks that link at the same time, the later one must be the owner, too.
        let holder = holder_name(request);
        let linked = self.link_claimed(request, named, role, &holder);
        self.while_claimed(request, &holder, linked).await?;
        let mut response = ResourceResponse::success(request, named.id.as_str())
            .with("AccountId", named.id.as_str())
            .with("IamRoleArn", role.as_str());
        if let Some(refused) = self.grant_access(named.id, access).await {
            response.reason = refused;
        }
        Ok(response)
    }

    async fn link_claimed(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        role: &RoleArn,
        holder: &str,
    ) -> Result<(), Trouble> {
        let stack = Holder::stack(&request.stack_id);
        let now = self.intents.intent(request.account).await?;
        if now.is_late(&stack, asked_at(request)) || now.removed.as_ref() == Some(named.id) {
            return Err(Trouble::Passing(
                "its stack was deleted meanwhile".to_owned(),
            ));
        }
        self.check_not_late(request, &now)?;
        if let Err(error) = self.spot.set_aws_credentials(named.id, role).await {
            if !named.linked
                && error.is_role_not_assumable()
                && let Some(expired) = self.expired(named.id).await?
            {
                return Err(Trouble::Refused(format!(
                    "{error}. The external ID of Spot account {} expired at {expired}, before the first link: create the \
                     stack again, which makes a new one",
                    named.id
                )));
            }
            return Err(not_linked(error));
        }
        let before = self.intents.owner(named.id).await?;
        let owner = Owner {
            stack_id: request.stack_id.clone(),
            account: request.account,
            role: role.clone(),
            adopted: named.standing == Standing::LinkedElsewhere
                || before.is_some_and(|before| before.adopted),
            linked_at: Timestamp::now(),
        };
        self.intents.set_owner(named.id, &owner, holder).await?;
        Ok(())
    }

    /// When the external ID that was made for a Spot account's first link expired, if it has.
    async fn expired(&self, id: &SpotAccountId) -> Result<Option<Timestamp>, Trouble> {
        let remembered = self.intents.external_id(id).await?;
        let valid_until = remembered.and_then(|remembered| remembered.valid_until);
        Ok(valid_until.filter(|until| *until <= Timestamp::now()))
    }
}

fn not_linked(error: SpotError) -> Trouble {
    if !error.is_role_not_assumable() {
        return error.into();
    }
    // For seconds after the role was made, or until somebody has mended its trust; for ever when a policy of the organization
    // denies it. Spot says the same of all, so it is tried until the deadline.
    Trouble::Passing(format!(
        "{error}. {ROLE_NOT_ASSUMABLE}: look at its trust policy and external ID, and at organization policies that deny \
         sts:AssumeRole"
    ))
}
