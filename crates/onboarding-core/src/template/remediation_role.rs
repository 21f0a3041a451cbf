//! The template of the remediation role: stray policies of our own roles are taken away through it, and where that is asked for,
//! stacks of ours that were left in accounts.
//!
//! It may delete inline policies and detach managed ones, of roles with the names that our stacks give, and detach none that our
//! stacks made. No action in it gives anybody anything, and it reads nothing: that is the audit role's business.
//!
//! For stacks that were left, it may look at stacks with the names that our stack sets give, and delete them. CloudFormation then
//! deletes what they made with the permissions of who asked (AWS CloudFormation User Guide, "CloudFormation service role"): these it
//! has only when CloudFormation asks for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Partition, RoleSettings, Template, TemplateError, home_role::HomeRole, parse_body,
    parts::substitute,
};
use crate::ids::{AwsAccountId, OrganizationId, StackId, StackSetName};

/// The description of the remediation role's template and stack set.
pub const REMEDIATION_ROLE_DESCRIPTION: &str =
    "Lets the Spot onboarding runner take stray policies out of the roles that it made";

/// The logical id of the role, by which the template is recognized.
const ROLE: &str = "SpotOnboardingRemediationRole";

/// How many characters of a stack's name are left in that of its role, at least: CloudFormation makes up
/// `<stack name>-SpotRole-<random characters>` and cuts the stack's name so that all of it has at most 64 characters
/// (CloudFormation Template Reference, "Name type"; IAM and AWS STS quotas). The random characters are up to thirteen.
const LEAST_OF_A_STACK: usize = 64 - "-SpotRole-".len() - 13;

/// The names of the roles, and the beginnings of those of the managed policies, that the stacks of one stack set make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OurNames {
    /// Made up by CloudFormation in a stack instance of this stack set.
    OfStackSet(StackSetName),
    /// Given by us to the role, in a stack of this stack set (enrollment without custom resources).
    Given {
        /// The stack set.
        stack_set: StackSetName,
        /// The role's name.
        role: String,
    },
}

impl OurNames {
    fn stack_set(&self) -> &StackSetName {
        match self {
            Self::OfStackSet(stack_set) | Self::Given { stack_set, .. } => stack_set,
        }
    }

    /// How the names of the stacks begin: these are called `StackSet-<stack set>-<unique id>`.
    fn stacks(&self) -> String {
        format!("StackSet-{}-", self.stack_set())
    }

    /// How the names begin that CloudFormation makes up in the stacks.
    #[must_use]
    pub fn beginning(&self) -> String {
        self.stacks().chars().take(LEAST_OF_A_STACK).collect()
    }

    /// Whether a stack is one of theirs, by its name: what StackSets appends is a UUID. With anything else there it is one of another
    /// stack set, whose name begins alike.
    #[must_use]
    pub fn has_stack(&self, stack: &StackId) -> bool {
        let rest = stack.name().strip_prefix(&self.stacks());
        rest.is_some_and(is_uuid)
    }

    /// The roles' names, `*` for any characters.
    fn roles(&self) -> String {
        match self {
            Self::OfStackSet(_) => format!("{}*", self.beginning()),
            Self::Given { role, .. } => role.clone(),
        }
    }

    /// Whether a role of this name is one of theirs.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        match self {
            Self::OfStackSet(_) => name.starts_with(&self.beginning()),
            Self::Given { role, .. } => name == role,
        }
    }

    /// Whether a managed policy with this ARN, of whichever account, can be one of theirs.
    #[must_use]
    pub fn has_policy(&self, arn: &str) -> bool {
        let name = arn.rsplit('/').next().unwrap_or_default();
        name.starts_with(&self.beginning())
    }
}

/// A UUID, for IAM: `?` stands for one character.
const ANY_UUID: &str = "????????-????-????-????-????????????";

fn is_uuid(text: &str) -> bool {
    let fits = |(is, pattern): (u8, u8)| match pattern {
        b'?' => is.is_ascii_hexdigit(),
        _ => is == pattern,
    };
    text.len() == ANY_UUID.len() && text.bytes().zip(ANY_UUID.bytes()).all(fits)
}

/// Everything that decides how the template looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemediationRoleSpec {
    /// Where the stacks are.
    pub partition: Partition,
    /// The role itself. Its name is fixed: its ARN must be known without asking.
    pub role: RoleSettings,
    /// The account that it is assumed from.
    pub home_account: AwsAccountId,
    /// Who of that account may assume the role: `role/` or `user/` and the name with its path, `*` for any characters.
    pub principals: Vec<String>,
    /// The organization that they must belong to.
    pub organization: OrganizationId,
    /// The roles that it may take policies from.
    pub names: BTreeSet<OurNames>,
    /// Whether it deletes stacks that were left; a person does that otherwise.
    pub deletes_leftover_stacks: bool,
}

impl RemediationRoleSpec {
    /// Makes the template. The same specification always gives the same template.
    ///
    /// # Errors
    /// What IAM would refuse, a role that nobody could assume, or one for no roles.
    pub fn template(&self) -> Result<Template, TemplateError> {
        if self.names.is_empty() {
            return Err(TemplateError::NothingToRemedy);
        }
        HomeRole {
            partition: self.partition,
            logical_id: ROLE,
            role: &self.role,
            description: REMEDIATION_ROLE_DESCRIPTION,
            home_account: self.home_account,
            principals: &self.principals,
            organization: &self.organization,
            policy_name: "remedy",
            output: (
                "RemediationRoleArn",
                "The role that the runner takes stray policies away with",
            ),
        }
        .template(self.policy())
    }

    /// What is taken away (Service Authorization Reference, IAM).
    fn policy(&self) -> Value {
        let partition = self.partition;
        let own =
            |rest: String| substitute(format!("arn:{partition}:iam::${{AWS::AccountId}}:{rest}"));
        let roles = self.names.iter().map(OurNames::roles);
        let roles: BTreeSet<String> = roles.map(|name| format!("role/{name}")).collect();
        let roles: Value = roles.into_iter().map(own).collect();
        let made = self.names.iter().map(OurNames::beginning);
        let made: BTreeSet<String> = made.map(|name| format!("policy/{name}*")).collect();
        let made: Value = made.into_iter().map(own).collect();
        let mut statements = vec![
            json!({
                "Sid": "Inline",
                "Effect": "Allow",
                "Action": "iam:DeleteRolePolicy",
                "Resource": roles,
            }),
            json!({
                "Sid": "Attached",
                "Effect": "Allow",
                "Action": "iam:DetachRolePolicy",
                "Resource": roles,
                "Condition": {"ArnNotLike": {"iam:PolicyARN": made}},
            }),
        ];
        if self.deletes_leftover_stacks {
            statements.extend(self.deletions(&roles, &made));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// What deletes stacks with the names that our stack sets give, and what they made (Service Authorization Reference,
    /// CloudFormation and IAM; IAM User Guide, "AWS global condition context keys", aws:CalledVia).
    fn deletions(&self, roles: &Value, policies: &Value) -> Vec<Value> {
        let partition = self.partition;
        let stacks: BTreeSet<String> = self.names.iter().map(OurNames::stacks).collect();
        let stacks = stacks.into_iter().map(|name| {
            let account = "${AWS::AccountId}";
            substitute(format!(
                "arn:{partition}:cloudformation:*:{account}:stack/{name}{ANY_UUID}/*"
            ))
        });
        let stacks: Value = stacks.collect();
        let by_cloudformation =
            json!({"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}});
        vec![
            json!({
                "Sid": "LeftoverStacks",
                "Effect": "Allow",
                "Action": ["cloudformation:DeleteStack", "cloudformation:DescribeStacks"],
                "Resource": stacks,
            }),
            json!({
                "Sid": "LeftoverRoles",
                "Effect": "Allow",
                "Action": [
                    "iam:DeleteRole",
                    "iam:DeleteRolePolicy",
                    "iam:DetachRolePolicy",
                    "iam:GetRole",
                    "iam:GetRolePolicy",
                    "iam:ListAttachedRolePolicies",
                    "iam:ListInstanceProfilesForRole",
                    "iam:ListRolePolicies",
                ],
                "Resource": roles,
                "Condition": by_cloudformation,
            }),
            json!({
                "Sid": "LeftoverPolicies",
                "Effect": "Allow",
                "Action": [
                    "iam:DeletePolicy",
                    "iam:DeletePolicyVersion",
                    "iam:GetPolicy",
                    "iam:ListEntitiesForPolicy",
                    "iam:ListPolicyVersions",
                ],
                "Resource": policies,
                "Condition": by_cloudformation,
            }),
        ]
    }
}

/// Whether a template is that of our remediation role. Text that is no template is not.
#[must_use]
pub fn is_remediation_role(body: &str) -> bool {
    parse_body(body).is_ok_and(|template| {
        template["Resources"][ROLE]["Type"] == "AWS::IAM::Role"
            && template["Resources"].get("SpotAccount").is_none()
    })
}
