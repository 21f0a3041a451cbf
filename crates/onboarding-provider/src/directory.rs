//! What the provider must know about an AWS account: whether it may be served, by which rules, and its name.

use std::collections::BTreeSet;

use async_trait::async_trait;
use onboarding_core::{
    custom_resource::{AdoptRule, Naming},
    desired::AccessGrant,
    ids::{AwsAccountId, ExternalId, RoleArn, StackId},
};

/// An account that may be served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountDetails {
    /// Its name in AWS Organizations.
    pub name: Option<String>,
    /// Its IAM alias, where its name needs one and it could be read.
    pub alias: Option<String>,
    /// What to do when somebody else has linked it already.
    pub adopt: AdoptRule,
    /// How its Spot account is named.
    pub naming: Naming,
    /// Who may see its Spot account, once we have linked it.
    pub access: BTreeSet<AccessGrant>,
}

/// Looking an account up failed; it will be tried again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot look AWS account {account} up: {reason}")]
pub struct DirectoryError {
    /// The account.
    pub account: AwsAccountId,
    /// Why.
    pub reason: String,
}

/// Knows the accounts of the organization.
#[async_trait]
pub trait AccountDirectory: Send + Sync {
    /// An account and its rules; none when it is not in scope, and then its requests are refused. A directory that
    /// keeps a list in memory looks again before it says none: the newest accounts are the ones that ask.
    ///
    /// # Errors
    /// When it cannot tell now.
    async fn account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<AccountDetails>, DirectoryError>;

    /// Whether roles of accounts can be read at all.
    fn reads_roles(&self) -> bool {
        false
    }

    /// The external ID that is in use on the AWS side (the output of an old stack, the live trust policy of the role that is
    /// linked, one of this account), when it can be read and is trusted for Spot. Asked for only when neither Spot nor our
    /// state knows it.
    ///
    /// # Errors
    /// When it cannot tell now.
    async fn external_id_in_use(
        &self,
        account: AwsAccountId,
        role: &RoleArn,
    ) -> Result<Option<ExternalId>, DirectoryError> {
        let _ = (account, role);
        Ok(None)
    }

    /// The status of a stack as CloudFormation has it (`ROLLBACK_COMPLETE`), `DELETE_COMPLETE` when there is none any
    /// more, and none when it cannot be read: then nothing is deleted at Spot. Asked for at a Delete, and when another request
    /// is not fresh; as it is now, for a stack that goes
    /// on to its next operation waits again.
    async fn stack_status(&self, stack: &StackId) -> Option<String> {
        let _ = stack;
        None
    }
}
