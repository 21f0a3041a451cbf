//! `Custom::SpotLinkedCredentials`: links the Spot account to the role, makes the stack its owner, and
//! lets user groups see the account.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{ROLE_NOT_ASSUMABLE, ResourceRequest, ResourceResponse, Standing},
    desired::AccessGrant,
    ids::RoleArn,
};

use super::{Named, Patience, Trouble};
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
        self.take_hold(request, named.id, false).await?;
        self.spot
            .set_aws_credentials(named.id, role)
            .await
            .map_err(|error| {
                if error.is_role_not_assumable() {
                    // For seconds after the role was made; for ever when a policy of the organization denies it.
                    Trouble::PassingFor(
                        format!(
                            "{error}. {ROLE_NOT_ASSUMABLE}: look at its trust policy and external ID, and at \
                             organization policies that deny sts:AssumeRole"
                        ),
                        Patience::Role,
                    )
                } else {
                    error.into()
                }
            })?;
        let before = self.intents.owner(named.id).await?;
        let owner = Owner {
            stack_id: request.stack_id.clone(),
            account: request.account,
            role: role.clone(),
            adopted: named.standing == Standing::LinkedElsewhere
                || before.is_some_and(|before| before.adopted),
            linked_at: Timestamp::now(),
        };
        self.intents.set_owner(named.id, &owner).await?;
        let mut response = ResourceResponse::success(request, named.id.as_str())
            .with("AccountId", named.id.as_str())
            .with("IamRoleArn", role.as_str());
        if let Some(refused) = self.grant_access(named.id, access).await {
            response.reason = refused;
        }
        Ok(response)
    }
}
