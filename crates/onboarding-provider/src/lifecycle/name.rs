//! `Custom::RenamedSpotAccountByAlias`: names the Spot account by its rule; no call when it has that name.

use onboarding_core::custom_resource::{ResourceRequest, ResourceResponse};

use super::{Named, Trouble};
use crate::{directory::AccountDetails, provider::Provider};

impl Provider {
    pub(super) async fn rename(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
        details: &AccountDetails,
    ) -> Result<ResourceResponse, Trouble> {
        let response = ResourceResponse::success(request, named.id.as_str());
        let Some(name) = details
            .naming
            .render(request.account, details.name.as_deref())
        else {
            return Ok(ResourceResponse {
                reason: "not renamed: AWS Organizations has no name for the account".to_owned(),
                ..response
            });
        };
        if named.name.as_deref() != Some(name.as_str()) {
            self.spot.rename_account(named.id, &name).await?;
        }
        Ok(response.with("Name", name))
    }
}
