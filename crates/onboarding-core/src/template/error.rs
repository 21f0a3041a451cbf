//! Why a template cannot be rendered.

use super::{Format, PolicyPurpose};
use crate::policy::PolicyError;

/// A template that CloudFormation or IAM would refuse, or that would not work.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The description is too long (CloudFormation quotas: 1,024 bytes).
    #[error("the template's description has {size} bytes, and 1024 are allowed: shorten it")]
    Description {
        /// Its size in bytes.
        size: usize,
    },
    /// A ServiceTimeout that CloudFormation refuses.
    #[error("service_timeout is {seconds} s: give 1 to 3600 s")]
    ServiceTimeout {
        /// The value, in seconds.
        seconds: u32,
    },
    /// A policy version that cannot be part of a statement id.
    #[error(
        "policy version {value:?} must be 1 to 12 letters and digits: it becomes part of statement ids"
    )]
    PolicyVersion {
        /// The value.
        value: String,
    },
    /// A role name that IAM refuses.
    #[error("role name {value:?} must be 1 to 64 letters, digits and _+=,.@-")]
    RoleName {
        /// The value.
        value: String,
    },
    /// A role whose ARN nobody would know.
    #[error(
        "with the provider direct the role needs a name: nobody tells the runner which one CloudFormation made up"
    )]
    DirectRoleName,
    /// An audit or remediation role that nobody could assume.
    #[error(
        "the role names no principal of the home account that may assume it: give the runner's role, such as role/spot-onboarding-runner"
    )]
    NoHomePrincipal,
    /// A remediation role without anything to remedy.
    #[error("the remediation role is for the roles of no stack set: give at least one profile")]
    NothingToRemedy,
    /// A principal of the home account that is none.
    #[error(
        "{value:?} is not a role or user of the home account: give role/NAME or user/NAME with its path; * stands for any characters"
    )]
    HomePrincipal {
        /// The value.
        value: String,
    },
    /// The audit or remediation role's policy is too long for an inline policy.
    #[error(
        "the role's policy has {size} characters, and IAM takes {limit} inline: have fewer stack sets, or shorter names"
    )]
    InlinePolicyTooLong {
        /// Its size in characters.
        size: usize,
        /// Most characters.
        limit: usize,
    },
    /// A role path that IAM refuses.
    #[error("role path {value:?} must begin and end with / and have at most 512 characters")]
    RolePath {
        /// The value.
        value: String,
    },
    /// A permissions boundary that is not a policy's ARN.
    #[error(
        "permissions boundary {value:?} is not a policy in partition {partition}: give \
         arn:{partition}:iam::ACCOUNT:policy/NAME, with aws, 12 digits or ${{AWS::AccountId}} for ACCOUNT"
    )]
    PermissionsBoundary {
        /// The value.
        value: String,
        /// The partition it should be in.
        partition: &'static str,
    },
    /// A principal that is not one account's own.
    #[error(
        "Spot's principal {value:?} must be the ARN of an account's root, a role or a user, \
         such as arn:aws:iam::123456789012:root"
    )]
    SpotPrincipal {
        /// The value.
        value: String,
    },
    /// Something belongs to another partition than the template.
    #[error(
        "{what} is in partition {found}, and the template is for {partition}: IAM knows no principal or ARN of another partition"
    )]
    OtherPartition {
        /// What it is.
        what: &'static str,
        /// The partition it is in.
        found: String,
        /// The template's partition.
        partition: &'static str,
    },
    /// Spot's own Lambdas exist in partition `aws` only.
    #[error(
        "provider spot-hosted works in partition aws only, and the template is for {partition}: use provider queue"
    )]
    SpotHostedPartition {
        /// The template's partition.
        partition: &'static str,
    },
    /// A name of a Lambda function that is none.
    #[error("{value:?} is not the name of a Lambda function (1 to 64 letters, digits, - and _)")]
    FunctionName {
        /// The value.
        value: String,
    },
    /// No policies: the role could do nothing.
    #[error("no policy is given: the role would be of no use to Spot")]
    NoPolicy,
    /// Two policies of one purpose.
    #[error(
        "more than one policy is given for {purpose}: join them, or give extra policies with names of their own"
    )]
    DuplicatePolicy {
        /// The purpose.
        purpose: PolicyPurpose,
    },
    /// The name of an extra policy cannot be part of a logical id.
    #[error(
        "extra policy name {value:?} must begin with a letter and be up to 64 letters and digits"
    )]
    ExtraPolicyName {
        /// The value.
        value: String,
    },
    /// Cost Intelligence without its policy.
    #[error(
        "product cost intelligence is on without a policy for it: add one, such as config/policies/cost-intelligence.json"
    )]
    CostIntelligencePolicyMissing,
    /// A policy does not fit.
    #[error("the policy for {purpose} does not fit")]
    Policy {
        /// The purpose.
        purpose: PolicyPurpose,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// More managed policies than a role can have.
    #[error(
        "the policies make {count} managed policies, and a role can have {limit}: shorten or join them"
    )]
    TooManyPolicies {
        /// How many there would be, after splitting.
        count: usize,
        /// How many a role can have.
        limit: usize,
    },
    /// The body is too large to be sent inline.
    #[error(
        "the template has {size} bytes as {format}, and CloudFormation takes {limit} inline \
         ({compact} as compact JSON): {}",
        if compact <= limit { "render it as compact JSON" } else { "shorten the policies" }
    )]
    TooLarge {
        /// The format that was asked for.
        format: Format,
        /// Its size in bytes.
        size: usize,
        /// Size as compact JSON, in bytes.
        compact: usize,
        /// Most bytes that can be sent inline.
        limit: usize,
    },
    /// The YAML serializer failed.
    #[error("the template cannot be written as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
}
