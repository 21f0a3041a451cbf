//! External IDs and the link to an AWS account (OpenAPI: services/administration/general; the two reads are known from
//! Spot's Go SDK only and fall back to none where Spot lacks them).

use onboarding_core::ids::{ExternalId, RoleArn, SpotAccountId};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::json;

use crate::{
    client::{SpotClient, retry::ApiCall, route::Route},
    error::{ErrorClass, SpotError},
};

const CREATE_EXTERNAL_ID: Route = Route::post("/setup/credentials/aws/externalId");
const EXTERNAL_ID: Route = Route::get("/setup/credentials/aws/externalId/{accountId}");
const SET_CREDENTIALS: Route = Route::post("/setup/credentials/aws");
const STORED_ROLE: Route = Route::get("/setup/credentials/aws");

/// A new external ID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreatedExternalId {
    /// The external ID that Spot will use when it assumes the role.
    #[serde(rename = "externalId")]
    pub external_id: ExternalId,
    /// Until when it can be used for linking, as Spot writes it (RFC 3339).
    #[serde(rename = "maxValidUntil")]
    pub max_valid_until: Option<String>,
}

#[derive(Deserialize)]
struct StoredExternalId {
    #[serde(rename = "externalId")]
    external_id: Option<ExternalId>,
}

#[derive(Deserialize)]
struct StoredRole {
    #[serde(rename = "iamRole")]
    iam_role: Option<RoleArn>,
}

impl SpotClient {
    /// Makes a new external ID for a Spot account. Whether an older one stays valid is not documented.
    ///
    /// # Errors
    /// See [`SpotError`]. Never repeated after an ambiguous failure.
    pub async fn create_external_id(
        &self,
        account: &SpotAccountId,
    ) -> Result<CreatedExternalId, SpotError> {
        let call = ApiCall::of(CREATE_EXTERNAL_ID, account);
        let created = self.call(&call).await?;
        created
            .items
            .into_iter()
            .next()
            .ok_or(SpotError::Unexpected {
                route: CREATE_EXTERNAL_ID,
                status: 200,
                request_id: None,
                reason: "it has no external ID".to_owned(),
            })
    }

    /// The current external ID; none when the account has none or Spot does not offer this call.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn external_id(
        &self,
        account: &SpotAccountId,
    ) -> Result<Option<ExternalId>, SpotError> {
        let stored: Option<StoredExternalId> = self.optional(EXTERNAL_ID, account).await?;
        Ok(stored.and_then(|stored| stored.external_id))
    }

    /// Links a Spot account to the AWS account of a role. Spot tries to assume the role before it answers.
    ///
    /// # Errors
    /// Class invalid when Spot cannot assume the role (yet), see [`SpotError::is_role_not_assumable`].
    pub async fn set_aws_credentials(
        &self,
        account: &SpotAccountId,
        role: &RoleArn,
    ) -> Result<(), SpotError> {
        let call =
            ApiCall::of(SET_CREDENTIALS, account).body(json!({"credentials": {"iamRole": role}}));
        self.call::<IgnoredAny>(&call).await.map(drop)
    }

    /// The role that a Spot account is linked to; none when it has none or Spot does not offer this call.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn stored_role(&self, account: &SpotAccountId) -> Result<Option<RoleArn>, SpotError> {
        let stored: Option<StoredRole> = self.optional(STORED_ROLE, account).await?;
        Ok(stored.and_then(|stored| stored.iam_role))
    }

    async fn optional<T: DeserializeOwned>(
        &self,
        route: Route,
        account: &SpotAccountId,
    ) -> Result<Option<T>, SpotError> {
        match self.call(&ApiCall::of(route, account)).await {
            Ok(answer) => Ok(answer.items.into_iter().next()),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl SpotError {
    /// Whether Spot says that it cannot assume the role, which passes by itself while a new role spreads through IAM.
    ///
    /// Spot documents no code for this, so its words decide. A resource control policy that denies the call looks the
    /// same and does not pass.
    #[must_use]
    pub fn is_role_not_assumable(&self) -> bool {
        let Some(refusal) = self.refusal() else {
            return false;
        };
        let words = format!("{} {}", refusal.code, refusal.message).to_lowercase();
        self.class() != ErrorClass::Throttled && words.contains("assum") && words.contains("role")
    }
}
