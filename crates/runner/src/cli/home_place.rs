//! Which home account a command is about: the one whose credentials we have, or one that is named.

use aws_ops::Aws;
use onboarding_core::ids::{AwsAccountId, OrganizationId};

use super::Failure;
use crate::{
    config::{HomePlace, Loaded},
    home::{aws_error, connect_aws},
};

/// Names the home account, for commands that can do without credentials.
#[derive(Debug, clap::Args)]
pub(super) struct NamedPlace {
    /// The home account. With it, AWS is not asked.
    #[arg(long, value_name = "ID")]
    home_account: Option<AwsAccountId>,
    /// The organization, where AWS is not asked.
    #[arg(long, value_name = "ID", requires = "home_account")]
    organization: Option<OrganizationId>,
    /// The management account, where AWS is not asked and it is not the home account.
    #[arg(long, value_name = "ID", requires = "home_account")]
    management_account: Option<AwsAccountId>,
}

impl NamedPlace {
    /// As it was named, or as AWS says.
    pub(super) async fn find(&self, config: &Loaded) -> Result<HomePlace, Failure> {
        if let Some(account) = self.home_account {
            let own =
                (config.runner.aws.call_as == crate::config::CallAs::Management).then_some(account);
            return Ok(HomePlace {
                account,
                management_account: self.management_account.or(own),
                organization: self.organization.clone(),
            });
        }
        ask(&connect_aws(config).await?).await
    }
}

/// As AWS says.
pub(super) async fn ask(aws: &Aws) -> Result<HomePlace, Failure> {
    let identity = aws.caller_identity().await.map_err(aws_error)?;
    let organization = aws.describe_organization().await.map_err(aws_error)?;
    Ok(HomePlace {
        account: identity.account,
        management_account: Some(organization.management_account),
        organization: Some(organization.id),
    })
}
