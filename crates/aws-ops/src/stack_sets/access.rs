//! Trusted access: whether StackSets may act in the organization's accounts.

use crate::{Aws, AwsError};

/// Trusted access of StackSets with AWS Organizations (CloudFormation API reference, DescribeOrganizationsAccess).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedAccess {
    /// On.
    Enabled,
    /// Off; can be switched on.
    Disabled,
    /// Off for good.
    DisabledPermanently,
    /// A value that we do not know, or none.
    Unknown,
}

impl Aws {
    /// Whether trusted access is on.
    ///
    /// # Errors
    /// As any call.
    pub async fn trusted_access(&self) -> Result<TrustedAccess, AwsError> {
        let output = self
            .governed
            .call("cloudformation:DescribeOrganizationsAccess", || {
                self.clients
                    .cloudformation()
                    .describe_organizations_access()
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await?;
        Ok(match output.status().map(|status| status.as_str()) {
            Some("ENABLED") => TrustedAccess::Enabled,
            Some("DISABLED") => TrustedAccess::Disabled,
            Some("DISABLED_PERMANENTLY") => TrustedAccess::DisabledPermanently,
            _ => TrustedAccess::Unknown,
        })
    }

    /// Switches trusted access on. Only the management account can, and only through CloudFormation: enabling the
    /// service principal in Organizations is not enough (CloudFormation User Guide).
    ///
    /// # Errors
    /// As any call.
    pub async fn activate_trusted_access(&self) -> Result<(), AwsError> {
        self.governed
            .call("cloudformation:ActivateOrganizationsAccess", || {
                self.clients
                    .cloudformation()
                    .activate_organizations_access()
                    .send()
            })
            .await?;
        Ok(())
    }
}
