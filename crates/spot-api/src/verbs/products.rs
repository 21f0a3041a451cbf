//! The products that are switched on per account: Cost Intelligence and Billing Engine (OpenAPI: services/beci/setup).

use onboarding_core::ids::SpotAccountId;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    client::{SpotClient, retry::ApiCall, route::Route},
    error::SpotError,
};

/// Items asked for per page.
const PAGE: &str = "500";

/// Where the billing data of a payer account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingSource {
    /// The S3 bucket of the Cost and Usage Report.
    pub bucket: String,
    /// The bucket's Region.
    pub region: String,
    /// The report's path prefix and name.
    pub path_prefix: String,
}

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

    /// Switches a product on. The account must be linked.
    ///
    /// # Errors
    /// Class conflict when Spot says that it is on already.
    pub async fn set_up_product(
        &self,
        product: &Product,
        account: &SpotAccountId,
    ) -> Result<(), SpotError> {
        let call = ApiCall::new(product.routes().set_up).body(product.request(account));
        self.call::<IgnoredAny>(&call).await.map(drop)
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
