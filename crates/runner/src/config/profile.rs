//! `[[profiles]]`: which accounts are enrolled, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use onboarding_core::{
    desired::{AccessGrant, AdoptRule, OuRef},
    ids::{AccessPolicyId, AwsAccountId, StackSetName, UserGroupId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{arn::PermissionsBoundary, naming::RenameRule, tags::TagValues, text::Text};

/// A set of accounts and how they are enrolled, through a stack set of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Its name, unique among the profiles.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its stack set. Without it, `<stack_set.name_prefix>-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_set: Option<Text<StackSetName>>,
    /// Which accounts it is for.
    pub targets: TargetsConfig,
    /// Who creates stack instances for accounts that appear later. Without it, AWS, or the runner as soon as the targets
    /// are finer than organizational units (`tags`, `accounts`, `exclude_ous`, `exclude_accounts`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentConfig>,
    /// Whether the management account, when it is targeted, is enrolled as well: by a plain stack with the name of the stack
    /// set, as with the provider `direct`, whatever the provider is. Needs the management account's credentials.
    #[serde(default)]
    pub management_account: bool,
    /// What happens to an account that is already linked to a Spot account which the runner did not link.
    #[serde(default)]
    pub adopt: AdoptConfig,
    /// What the accounts are enrolled for.
    #[serde(default = "all_products")]
    #[schemars(length(min = 1))]
    pub products: BTreeSet<Product>,
    /// The policies of the role, one file per product.
    #[serde(default)]
    pub policies: PoliciesConfig,
    /// How Spot accounts are named.
    #[serde(default)]
    pub naming: NamingConfig,
    /// The policy that bounds what the role can ever do: the ARN of an AWS managed policy, or the name of a policy that
    /// every account has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<Text<PermissionsBoundary>>,
    /// Who may see the accounts in Spot, once the runner has linked them (provider `queue`). Nothing is ever taken away.
    #[serde(default)]
    pub access: Vec<AccessConfig>,
}

fn all_products() -> BTreeSet<Product> {
    BTreeSet::from([Product::ElastigroupOcean, Product::CostIntelligence])
}

/// An access policy that the members of a user group have in the accounts of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessConfig {
    /// The user group, by its id in Spot.
    pub user_group: Text<UserGroupId>,
    /// The access policy, by its id in Spot: one of accounts (Spot's console: "Account Permissions").
    pub policy: Text<AccessPolicyId>,
}

/// Which accounts a profile is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetsConfig {
    /// All accounts below these: `"root"`, ids (`"ou-ab12-abcdefgh"`) or paths of names (`"Workloads/Prod"`).
    pub ous: Vec<Text<OuRef>>,
    /// Of those, only accounts that carry every one of these tags in AWS Organizations, each with this value or one of
    /// a list of values. Keys and values are compared as they are written, capitals included; an empty value is one.
    pub tags: BTreeMap<String, TagValues>,
    /// Accounts beside those, whatever their tags.
    pub accounts: Vec<Text<AwsAccountId>>,
    /// Except all accounts below these.
    pub exclude_ous: Vec<Text<OuRef>>,
    /// Except these accounts.
    pub exclude_accounts: Vec<Text<AwsAccountId>>,
}

impl ProfileConfig {
    /// Who may see its accounts, as the core takes it.
    #[must_use]
    pub fn access_grants(&self) -> BTreeSet<AccessGrant> {
        self.access
            .iter()
            .map(|access| AccessGrant {
                user_group: access.user_group.0.clone(),
                policy: access.policy.0.clone(),
            })
            .collect()
    }
}

/// Who creates stack instances for accounts that appear later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentConfig {
    /// AWS's auto-deployment, as soon as an account joins. It ignores excludes, account lists and tags.
    Auto,
    /// The runner, on schedule and on events; auto-deployment is off.
    Runner,
}

/// What happens to an account that is already linked to a Spot account which the runner did not link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdoptConfig {
    /// Its link is kept: the account is reported as enrolled elsewhere, and nothing is changed.
    #[default]
    KeepLink,
    /// It is taken over: our role, policies, link and name, as Spot's own template does.
    Relink,
    /// It is refused, with a finding.
    Refuse,
}

impl From<AdoptConfig> for AdoptRule {
    fn from(rule: AdoptConfig) -> Self {
        match rule {
            AdoptConfig::KeepLink => Self::KeepLink,
            AdoptConfig::Relink => Self::Relink,
            AdoptConfig::Refuse => Self::Refuse,
        }
    }
}

/// What an account can be enrolled for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// Elastigroup and Ocean.
    ElastigroupOcean,
    /// Cost Intelligence.
    CostIntelligence,
}

/// The policies of the role, one file per product. A relative path is looked up from the configuration directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PoliciesConfig {
    /// What Spot may do for Elastigroup and Ocean.
    pub elastigroup_ocean: PathBuf,
    /// What Spot may read for Cost Intelligence.
    pub cost_intelligence: PathBuf,
}

impl Default for PoliciesConfig {
    fn default() -> Self {
        Self {
            elastigroup_ocean: "policies/spot-elastigroup-ocean.json".into(),
            cost_intelligence: "policies/cost-intelligence.json".into(),
        }
    }
}

/// How Spot accounts are named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NamingConfig {
    /// The name once the account is linked: `"account-name"` (as in AWS Organizations), `"alias"` (the AWS account's
    /// alias where it can be read, else the account's name), `"off"` (the account id stays), or a template of
    /// `{account_name}` and `{account_id}`. Spot's own Lambda functions (provider `spot-hosted`) know only the alias, and
    /// use it unless this is `"off"`.
    pub rename: Text<RenameRule>,
}
