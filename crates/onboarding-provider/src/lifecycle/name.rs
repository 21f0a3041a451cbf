//! `Custom::RenamedSpotAccountByAlias`: names the Spot account by its rule; no call when it has that name.

use onboarding_core::custom_resource::{
    AccountNames, AdoptRule, ResourceRequest, ResourceResponse,
};

use super::{Named, Trouble};
use crate::{directory::AccountDetails, provider::Provider};

impl Provider {
    pub(super) async fn rename(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ResourceResponse, Trouble> {
        let mut response = ResourceResponse::success(request, named.id.as_str());
        let naming = &details.naming;
        let names = AccountNames {
            account_name: details.name.as_deref(),
            alias: details.alias.as_deref(),
        };
        if named.adopted && details.adopt != AdoptRule::Relink {
            "not renamed: somebody else had linked it before us, and adopt is not \"relink\" any more"
                .clone_into(&mut response.reason);
            return Ok(response);
        }
        let Some(name) = naming.render(request.account, names) else {
            "not renamed: AWS Organizations has no name for the account"
                .clone_into(&mut response.reason);
            return Ok(response);
        };
        if naming.needs_alias() && details.alias.is_none() {
            "named after the account in AWS Organizations: its alias is not known"
                .clone_into(&mut response.reason);
        }
        if named.name.as_deref() != Some(name.as_str()) {
            self.spot.rename_account(named.id, &name).await?;
        }
        Ok(response.with("Name", name))
    }
}
