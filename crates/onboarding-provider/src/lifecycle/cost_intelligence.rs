//! `Custom::EnableCostIntelligence`: validates, then switches it on. On already is a success.

use onboarding_core::custom_resource::{ResourceRequest, ResourceResponse};
use spot_api::{ErrorClass, Product, SpotError, ValidationStatus, ValidationStep};

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
        let failed: Vec<String> = steps
            .iter()
            .filter(|step| step.status == ValidationStatus::Failed)
            .map(told)
            .collect();
        if !failed.is_empty() {
            return Err(Trouble::PassingFor(
                format!(
                    "Cost Intelligence cannot be switched on for {}: {}",
                    named.id,
                    failed.join("; ")
                ),
                Patience::Validation,
            ));
        }
        match self.spot.set_up_product(&product, named.id).await {
            Ok(()) => {}
            Err(error) if is_on_already(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(ResourceResponse::success(request, named.id.as_str())
            .with("AccountId", named.id.as_str()))
    }
}

fn told(step: &ValidationStep) -> String {
    let what = step.description.as_deref().unwrap_or(&step.id);
    match &step.info {
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    }
}

/// Spot documents no code for this.
fn is_on_already(error: &SpotError) -> bool {
    let words = error.message().unwrap_or_default().to_lowercase();
    error.class() == ErrorClass::Conflict
        || (error.class() == ErrorClass::Invalid && words.contains("already"))
}
