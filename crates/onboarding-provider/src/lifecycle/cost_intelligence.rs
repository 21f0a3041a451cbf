//! `Custom::EnableCostIntelligence`: validates, then switches it on. On already is a success.

use onboarding_core::custom_resource::{ResourceRequest, ResourceResponse};
use spot_api::{Product, ValidationStep};

use super::{Named, Patience, Trouble};
use crate::provider::Provider;

impl Provider {
    pub(super) async fn enable_cost_intelligence(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
    ) -> Result<ResourceResponse, Trouble> {
        let product = Product::CostIntelligence;
        let steps = self.spot.validate_product(&product, named.id).await?;
        if let Some(failures) = ValidationStep::failures(&steps) {
            return Err(Trouble::PassingFor(
                format!(
                    "Cost Intelligence cannot be switched on for {}: {failures}",
                    named.id
                ),
                Patience::Validation,
            ));
        }
        self.spot.set_up_product(&product, named.id).await?;
        Ok(ResourceResponse::success(request, named.id.as_str())
            .with("AccountId", named.id.as_str()))
    }
}
