//! AWS Organizations: the organization itself, tags, and the snapshot of its tree and accounts.

mod accounts;
mod listing;
mod member;
mod tags;
mod tree;
mod walk;

pub use listing::{Listing, SnapshotOptions, StrategyChoice};
pub use member::Member;
use onboarding_core::ids::{AwsAccountId, OrganizationId};

use crate::{Aws, AwsError};

/// The organization itself (AWS Organizations API reference, DescribeOrganization).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationDescription {
    /// Its id.
    pub id: OrganizationId,
    /// The management account.
    pub management_account: AwsAccountId,
    /// Whether all features are on, which service-managed stack sets need; otherwise only consolidated billing is.
    pub all_features: bool,
}

impl Aws {
    /// The organization that our account belongs to.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::NotFound`] when the account is not in an organization.
    pub async fn describe_organization(&self) -> Result<OrganizationDescription, AwsError> {
        const OPERATION: &str = "organizations:DescribeOrganization";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients.organizations().describe_organization().send()
            })
            .await?;
        let organization = output
            .organization
            .ok_or_else(|| AwsError::malformed(OPERATION, "no organization"))?;
        Ok(OrganizationDescription {
            id: organization
                .id()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| AwsError::malformed(OPERATION, "no organization id"))?,
            management_account: organization
                .master_account_id()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| AwsError::malformed(OPERATION, "no management account id"))?,
            all_features: organization
                .feature_set()
                .is_some_and(|set| set.as_str() == "ALL"),
        })
    }
}
