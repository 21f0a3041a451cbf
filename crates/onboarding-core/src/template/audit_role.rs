//! The template of the audit role: what the home account reads in a member account goes through it.
//!
//! It allows what is read and nothing else, on the narrowest resources that IAM lets such a call name, and lets in only
//! the named principals of the home account, as long as they belong to the organization.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Partition, RoleSettings, Template, TemplateError, home_role::HomeRole, parse_body,
    parts::substitute,
};
use crate::ids::{AwsAccountId, OrganizationId, Region, StackSetName};

/// The description of the audit role's template and stack set.
pub const AUDIT_ROLE_DESCRIPTION: &str =
    "Lets the Spot onboarding runner read the roles and stacks that it looks after";

/// The logical id of the role, by which the template is recognized.
const ROLE: &str = "SpotOnboardingAuditRole";

/// Everything that decides how the template looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRoleSpec {
    /// Where the stacks are.
    pub partition: Partition,
    /// The Region of the stacks that it may describe.
    pub region: Region,
    /// The role itself. Its name is fixed: its ARN must be known without asking.
    pub role: RoleSettings,
    /// The account that reads.
    pub home_account: AwsAccountId,
    /// Who of that account may assume the role: `role/` or `user/` and the name with its path, `*` for any characters.
    pub principals: Vec<String>,
    /// The organization that they must belong to.
    pub organization: OrganizationId,
    /// Stack sets whose stacks it may describe.
    pub stack_sets: BTreeSet<StackSetName>,
}

impl AuditRoleSpec {
    /// Makes the template. The same specification always gives the same template.
    ///
    /// # Errors
    /// What IAM would refuse, or an audit role that nobody could assume.
    pub fn template(&self) -> Result<Template, TemplateError> {
        HomeRole {
            partition: self.partition,
            logical_id: ROLE,
            role: &self.role,
            description: AUDIT_ROLE_DESCRIPTION,
            home_account: self.home_account,
            principals: &self.principals,
            organization: &self.organization,
            policy_name: "read",
            output: (
                "AuditRoleArn",
                "The role that the runner reads this account with",
            ),
        }
        .template(self.policy())
    }

    /// What is read (Service Authorization Reference, IAM and CloudFormation). The roles and policies of an account have
    /// names that nobody knows beforehand, and the alias belongs to no resource. AWS's own managed policies are not read.
    fn policy(&self) -> Value {
        let partition = self.partition;
        let own =
            |rest: &str| substitute(format!("arn:{partition}:iam::${{AWS::AccountId}}:{rest}"));
        let stacks = self.stack_sets.iter().map(|name| {
            let region = &self.region;
            substitute(format!(
                "arn:{partition}:cloudformation:{region}:${{AWS::AccountId}}:stack/StackSet-{name}-*/*"
            ))
        });
        let mut statements = vec![
            json!({
                "Sid": "Roles",
                "Effect": "Allow",
                "Action": [
                    "iam:GetRole",
                    "iam:GetRolePolicy",
                    "iam:ListAttachedRolePolicies",
                    "iam:ListRolePolicies",
                ],
                "Resource": own("role/*"),
            }),
            json!({
                "Sid": "Policies",
                "Effect": "Allow",
                "Action": ["iam:GetPolicy", "iam:GetPolicyVersion"],
                "Resource": own("policy/*"),
            }),
            json!({
                "Sid": "Alias",
                "Effect": "Allow",
                "Action": "iam:ListAccountAliases",
                "Resource": "*",
            }),
        ];
        if !self.stack_sets.is_empty() {
            statements.push(json!({
                "Sid": "Stacks",
                "Effect": "Allow",
                "Action": "cloudformation:DescribeStacks",
                "Resource": stacks.collect::<Value>(),
            }));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }
}

/// Whether a template is that of our audit role. Text that is no template is not.
#[must_use]
pub fn is_audit_role(body: &str) -> bool {
    parse_body(body).is_ok_and(|template| {
        template["Resources"][ROLE]["Type"] == "AWS::IAM::Role"
            && template["Resources"].get("SpotAccount").is_none()
    })
}
