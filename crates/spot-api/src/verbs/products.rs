//! The products that are switched on per account: Cost Intelligence and Billing Engine (OpenAPI: services/beci/setup).

use std::fmt;

use onboarding_core::{desired::BillingSource, ids::SpotAccountId};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    client::{SpotClient, retry::ApiCall, route::Route},
    error::{ErrorClass, SpotError},
};

/// Items asked for per page.
const PAGE: &str = "500";

/// A product of Spot that an account is registered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Product {
    /// Cost Intelligence.
    CostIntelligence,
    /// Billing Engine, for the payer account.
    BillingEngine(BillingSource),
}

/// Whether a product gets its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegistrationStatus {
    /// It does.
    Connected,
    /// It does not.
    NotConnected,
    /// Some of it.
    PartiallyConnected,
    /// Spot says something that it does not document.
    #[serde(other)]
    Unknown,
}

/// An account that a product is switched on for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The Spot account.
    pub account_id: SpotAccountId,
    /// Whether data arrives.
    #[serde(rename = "statusSummary")]
    pub status: RegistrationStatus,
    /// Since when it is switched on, as Spot writes it (RFC 3339).
    pub enabled_date: Option<String>,
}

/// How a validation step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValidationStatus {
    /// It passed.
    Success,
    /// It did not.
    Failed,
    /// It passed with a remark.
    Warning,
    /// It was not made.
    Skipped,
    /// Spot says something that it does not document.
    #[serde(other)]
    Unknown,
}

/// One step of a validation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidationStep {
    /// Its id.
    pub id: String,
    /// What was checked.
    pub description: Option<String>,
    /// How it ended.
    pub status: ValidationStatus,
    /// Why it failed.
    #[serde(rename = "validationInfo")]
    pub info: Option<String>,
}

impl ValidationStep {
    /// What failed in a validation, in Spot's words; none when nothing did.
    #[must_use]
    pub fn failures(steps: &[Self]) -> Option<String> {
        let failed = steps
            .iter()
            .filter(|step| step.status == ValidationStatus::Failed);
        let failed: Vec<String> = failed.map(ToString::to_string).collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    /// Why a validation has not passed: what failed, or that it did not tell. One that checked nothing is no pass, nor is one with a
    /// status that Spot does not document.
    #[must_use]
    pub fn why_not_passed(steps: &[Self]) -> Option<String> {
        let untold = || {
            let is_passed = |step: &Self| {
                matches!(
                    step.status,
                    ValidationStatus::Success | ValidationStatus::Warning
                )
            };
            let mut unknown = steps.iter();
            let unknown = unknown.find(|step| step.status == ValidationStatus::Unknown);
            match unknown {
                Some(step) => Some(format!(
                    "it did not tell: Spot gives a step a status that it does not document ({step})"
                )),
                None if !steps.iter().any(is_passed) => {
                    Some("it did not tell: Spot checked nothing".to_owned())
                }
                None => None,
            }
        };
        Self::failures(steps).or_else(untold)
    }
}

impl fmt::Display for ValidationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description.as_deref().unwrap_or(&self.id))?;
        match &self.info {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// A product's three routes and the form of its request.
struct Routes {
    list: Route,
    set_up: Route,
    validate: Route,
}

const COST_INTELLIGENCE: Routes = Routes {
    list: Route::get("/cbi/v1/setup/account"),
    set_up: Route::post("/cbi/v1/setup/account"),
    validate: Route::post("/cbi/v1/setup/account/validation"),
};

const BILLING_ENGINE: Routes = Routes {
    list: Route::get("/cloudBilling/v1/setup/account"),
    set_up: Route::post("/cloudBilling/v1/setup/account"),
    validate: Route::post("/cloudBilling/v1/setup/account/validation"),
};

impl Product {
    fn routes(&self) -> &'static Routes {
        match self {
            Self::CostIntelligence => &COST_INTELLIGENCE,
            Self::BillingEngine(_) => &BILLING_ENGINE,
        }
    }

    fn request(&self, account: &SpotAccountId) -> Value {
        match self {
            Self::CostIntelligence => json!({"account": {"accountId": account}}),
            Self::BillingEngine(source) => {
                let source = json!({
                    "bucket": source.bucket,
                    "region": source.region,
                    "pathPrefix": source.path_prefix,
                });
                json!({"accountId": account, "config": {"billingSource": source}})
            }
        }
    }
}

impl SpotClient {
    /// The accounts that Cost Intelligence is switched on for, all pages.
    ///
    /// # Errors
    /// [`SpotError::RepeatedPage`] rather than a partial list.
    pub async fn cost_intelligence(&self) -> Result<Vec<Registration>, SpotError> {
        self.registrations(COST_INTELLIGENCE.list).await
    }

    /// The accounts that Billing Engine is switched on for, all pages.
    ///
    /// # Errors
    /// [`SpotError::RepeatedPage`] rather than a partial list.
    pub async fn billing_engine(&self) -> Result<Vec<Registration>, SpotError> {
        self.registrations(BILLING_ENGINE.list).await
    }

    /// Asks Spot whether a product could be switched on. The account must be linked.
    ///
    /// # Errors
    /// See [`SpotError`]; failed steps are in the answer, not an error.
    pub async fn validate_product(
        &self,
        product: &Product,
        account: &SpotAccountId,
    ) -> Result<Vec<ValidationStep>, SpotError> {
        let call = ApiCall::new(product.routes().validate).body(product.request(account));
        Ok(self.call(&call).await?.items)
    }

    /// Switches a product on. The account must be linked. On already is a success.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn set_up_product(
        &self,
        product: &Product,
        account: &SpotAccountId,
    ) -> Result<(), SpotError> {
        let call = ApiCall::new(product.routes().set_up).body(product.request(account));
        match self.call::<IgnoredAny>(&call).await {
            Err(error) if !is_on_already(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn registrations(&self, route: Route) -> Result<Vec<Registration>, SpotError> {
        let mut all = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        loop {
            let mut call = ApiCall::new(route);
            call.query.push(("paginationSize", PAGE.to_owned()));
            if let Some(key) = seen.last() {
                call.query.push(("paginationKey", key.clone()));
            }
            let page = self.call(&call).await?;
            all.extend(page.items);
            match page.next_key {
                None => return Ok(all),
                Some(key) if seen.contains(&key) => return Err(SpotError::RepeatedPage { route }),
                Some(key) => seen.push(key),
            }
        }
    }
}

/// Spot documents no code for this.
fn is_on_already(error: &SpotError) -> bool {
    let words = error.message().unwrap_or_default().to_lowercase();
    error.class() == ErrorClass::Conflict
        || (error.class() == ErrorClass::Invalid && words.contains("already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(statuses: &[&str]) -> Vec<ValidationStep> {
        let steps = statuses.iter();
        let steps = steps.map(|status| json!({"id": "assumeRole", "status": status}));
        serde_json::from_value(steps.collect()).unwrap()
    }

    #[test]
    fn a_validation_that_checked_nothing_has_not_passed() {
        for (statuses, why) in [
            (&["success"][..], None),
            (&["success", "skipped", "warning"], None),
            (&["warning"], None),
            (&[], Some("did not tell: Spot checked nothing")),
            (
                &["skipped", "skipped"],
                Some("did not tell: Spot checked nothing"),
            ),
            (&["pending"], Some("does not document (assumeRole)")),
            (
                &["success", "pending"],
                Some("does not document (assumeRole)"),
            ),
            (&["failed", "pending"], Some("assumeRole")),
        ] {
            let said = ValidationStep::why_not_passed(&steps(statuses));
            match (why, said) {
                (None, None) => {}
                (Some(why), Some(said)) => assert!(said.contains(why), "{statuses:?}: {said}"),
                other => panic!("{statuses:?}: {other:?}"),
            }
        }
        // Before a product is switched on, what Spot does not tell holds nothing up.
        assert_eq!(ValidationStep::failures(&steps(&["pending"])), None);
        assert_eq!(ValidationStep::failures(&[]), None);
    }
}
