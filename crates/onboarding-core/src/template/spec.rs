//! What a template is made from, and the checks before anything is rendered.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{
    PinnedVersions, TemplateError,
    checks::{is_account, is_text},
};
use crate::{canonical, ids::TopicArn, policy::PolicyDocument};

/// A description for templates whose profile has none.
pub const DEFAULT_DESCRIPTION: &str =
    "Enrolls an AWS account in Spot: policies, role, Spot account, link";

/// Everything that decides how a template looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSpec {
    /// The template's description, at most 1,024 bytes.
    pub description: String,
    /// Where the stacks are.
    pub partition: Partition,
    /// Who does the Spot side.
    pub provider: Provider,
    /// Who may assume the role, with an external ID. [`Partition::spot_principal`] has the known one.
    pub spot_principal: SpotPrincipal,
    /// What the role may do: at least one, and each purpose at most once.
    pub policies: Vec<NamedPolicy>,
    /// Which products the account is switched on for.
    pub products: Products,
    /// Whether the Spot account is renamed to the AWS account's alias.
    pub rename: bool,
    /// How long CloudFormation waits for an answer to one custom resource request, 1 to 3600 seconds.
    pub service_timeout_seconds: u32,
    /// What deleting a stack does to the Spot account.
    pub deletion: Deletion,
    /// The role that Spot assumes.
    pub role: RoleSettings,
    /// Default of the parameter `PolicyVersion`, 1 to 12 letters and digits; see [`default_policy_version`].
    pub policy_version: String,
    /// The versions of the policies that are deployed and rolled out, whatever `policies` says by now; none: as `policies` says.
    pub pinned: Option<PinnedVersions>,
}

impl TemplateSpec {
    /// The name of the version that is being rolled out.
    pub(super) fn next_version(&self) -> Option<&str> {
        let next = self.pinned.as_ref()?.next.as_ref()?;
        Some(&next.name)
    }
}

/// An AWS partition that Organizations and StackSets exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// Commercial Regions.
    Aws,
    /// Regions in China.
    AwsCn,
    /// AWS GovCloud (US).
    AwsUsGov,
}

impl Partition {
    /// The partition as it is written in ARNs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// The principal that Spot is known to use in this partition (Spot's StackSet template). Whether Spot has one
    /// outside `aws` is not known, so that there it must be configured.
    #[must_use]
    pub fn spot_principal(self) -> Option<SpotPrincipal> {
        match self {
            Self::Aws => Some(SpotPrincipal("arn:aws:iam::922761411349:root".into())),
            Self::AwsCn | Self::AwsUsGov => None,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Partition {
    type Err = crate::ids::InvalidId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        [Self::Aws, Self::AwsCn, Self::AwsUsGov]
            .into_iter()
            .find(|partition| partition.as_str() == s)
            .ok_or_else(|| crate::ids::InvalidId {
                value: s.to_owned(),
                expected: "an AWS partition (aws, aws-cn or aws-us-gov)",
            })
    }
}

/// Who may assume the role: one account's root, one role or one user, never a wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotPrincipal(Box<str>);

impl SpotPrincipal {
    /// The principal's ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition of the ARN.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }
}

impl FromStr for SpotPrincipal {
    type Err = TemplateError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = s.split(':').collect();
        let valid = parts.len() == 6
            && parts[0] == "arn"
            && parts[1].parse::<Partition>().is_ok()
            && parts[2] == "iam"
            && parts[3].is_empty()
            && is_account(parts[4])
            && (parts[5] == "root" || is_named(parts[5], "role/") || is_named(parts[5], "user/"));
        valid
            .then(|| Self(s.into()))
            .ok_or_else(|| TemplateError::SpotPrincipal {
                value: s.to_owned(),
            })
    }
}

fn is_named(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|name| is_text(name, 576, b"_+=,.@-/"))
}

/// Who answers the stack's custom resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Ours: requests go through one SNS topic, in the stack's Region. No token leaves the home account.
    Queue {
        /// The topic. A permanent contract: a ServiceToken cannot change under an existing logical id.
        topic_arn: TopicArn,
    },
    /// Spot's own Lambdas, as in the template that Spot publishes, with Spot's API token as a parameter.
    SpotHosted {
        /// Name of the Lambda function for Cost Intelligence. Spot does not publish it: without it the template has
        /// no `EnableCostIntelligence`.
        cost_intelligence_function: Option<String>,
    },
    /// Nobody: the template has no custom resources. The runner does what is to be done at Spot by itself and gives each
    /// stack its external ID as a parameter; until then, there is no role. The role must have a name of its own, because
    /// nobody tells what CloudFormation has made up.
    Direct,
}

/// Which products the account is switched on for beyond being linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Products {
    /// Cost Intelligence; needs a policy of [`PolicyPurpose::CostIntelligence`].
    pub cost_intelligence: bool,
}

/// What deleting a stack does to the Spot account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deletion {
    /// Nothing: custom resources are retained, and removals are found and decided by reconciling.
    #[default]
    Reconcile,
    /// Deletes it: the behaviour of the template that Spot publishes.
    Stack,
}

/// The role that Spot assumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleSettings {
    /// A fixed name, 1 to 64 characters; none: CloudFormation makes one up. Changing it replaces the role, and so
    /// breaks the link until Spot has the new ARN.
    pub name: Option<String>,
    /// A path, such as `/vendors/`. Changing it replaces the role.
    pub path: Option<String>,
    /// ARN of the policy that bounds what the role can do. `${AWS::AccountId}` stands for the account of the stack.
    pub permissions_boundary: Option<String>,
}

/// A policy and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPolicy {
    /// What it is for: decides its logical id and its parameter.
    pub purpose: PolicyPurpose,
    /// The document, of any length.
    pub document: PolicyDocument,
}

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyPurpose {
    /// Elastigroup and Ocean: `SpotManagedPolicy`.
    ElastigroupOcean,
    /// Cost Intelligence: `SpotinstCostIntelligencePolicy`.
    CostIntelligence,
    /// Anything else: `SpotExtraPolicy` and this name, letters and digits. The name is the policy's identity:
    /// another name makes another policy.
    Extra(String),
}

impl fmt::Display for PolicyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ElastigroupOcean => f.write_str("Elastigroup and Ocean"),
            Self::CostIntelligence => f.write_str("Cost Intelligence"),
            Self::Extra(name) => write!(f, "extra policy {name}"),
        }
    }
}

impl PolicyPurpose {
    /// The purpose as it is written down: that of the product, or `extra-` and the name.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::ElastigroupOcean => "elastigroup-ocean".to_owned(),
            Self::CostIntelligence => "cost-intelligence".to_owned(),
            Self::Extra(name) => format!("extra-{name}"),
        }
    }

    /// The purpose that is written down so.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        match key {
            "elastigroup-ocean" => Some(Self::ElastigroupOcean),
            "cost-intelligence" => Some(Self::CostIntelligence),
            _ => key
                .strip_prefix("extra-")
                .map(|name| Self::Extra(name.to_owned())),
        }
    }
}

/// A policy version made from the content: the first 12 digits of a SHA-256 over all documents, in order of purpose.
#[must_use]
pub fn default_policy_version(policies: &[NamedPolicy]) -> String {
    let mut sorted: Vec<&NamedPolicy> = policies.iter().collect();
    sorted.sort_by(|a, b| a.purpose.cmp(&b.purpose));
    let digests = sorted
        .into_iter()
        .map(|policy| format!("{}={}", policy.purpose, policy.document.digest()).into());
    canonical::digest(&Value::Array(digests.collect()))
        .chars()
        .take(MAX_POLICY_VERSION)
        .collect()
}

/// Most characters of a policy version: it takes room in every managed policy.
pub(super) const MAX_POLICY_VERSION: usize = 12;
