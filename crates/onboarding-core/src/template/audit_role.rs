//! The template of the audit role: what the home account reads in a member account goes through it.
//!
//! It allows what is read and nothing else, on the narrowest resources that IAM lets such a call name, and lets in only
//! the named principals of the home account, as long as they belong to the organization.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Partition, Resource, RoleSettings, Template, TemplateError,
    checks::is_text,
    parse_body,
    parts::{Output, attribute, object, substitute},
};
use crate::ids::{AwsAccountId, OrganizationId, Region, StackSetName};

/// The description of the audit role's template and stack set.
pub const AUDIT_ROLE_DESCRIPTION: &str =
    "Lets the Spot onboarding runner read the roles and stacks that it looks after";

/// The logical id of the role, by which the template is recognized.
const ROLE: &str = "SpotOnboardingAuditRole";

/// Most characters of all inline policies of a role (IAM and AWS STS quotas).
const MAX_INLINE: usize = 10_240;

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
        self.check()?;
        let policy = self.policy();
        let size = policy.to_string().len();
        if size > MAX_INLINE {
            return Err(TemplateError::AuditPolicyTooLong {
                size,
                limit: MAX_INLINE,
            });
        }
        let mut properties = object([
            ("Description", AUDIT_ROLE_DESCRIPTION.into()),
            ("AssumeRolePolicyDocument", self.trust()),
            (
                "Policies",
                json!([{"PolicyName": "read", "PolicyDocument": policy}]),
            ),
        ]);
        self.role.write(&mut properties);
        Ok(Template {
            description: AUDIT_ROLE_DESCRIPTION.to_owned(),
            parameters: Vec::new(),
            conditions: Vec::new(),
            resources: vec![Resource {
                logical_id: ROLE.to_owned(),
                resource_type: "AWS::IAM::Role",
                condition: None,
                depends_on: Vec::new(),
                metadata: None,
                retained: false,
                properties,
            }],
            outputs: vec![Output::new(
                "AuditRoleArn",
                "The role that the runner reads this account with",
                attribute(ROLE, "Arn"),
            )],
            omissions: Vec::new(),
            named_role: true,
        })
    }

    fn check(&self) -> Result<(), TemplateError> {
        self.role.check(self.partition.as_str())?;
        if self.role.name.is_none() {
            return Err(TemplateError::RoleName {
                value: String::new(),
            });
        }
        if self.principals.is_empty() {
            return Err(TemplateError::NoAuditPrincipal);
        }
        let valid = |principal: &&String| {
            ["role/", "user/"].iter().any(|kind| {
                principal
                    .strip_prefix(kind)
                    .is_some_and(|name| is_text(name, 576, b"_+=,.@-/*"))
            })
        };
        match self.principals.iter().find(|principal| !valid(principal)) {
            Some(value) => Err(TemplateError::AuditPrincipal {
                value: value.clone(),
            }),
            None => Ok(()),
        }
    }

    fn trust(&self) -> Value {
        let (partition, home) = (self.partition, self.home_account);
        let principals: BTreeSet<String> = self
            .principals
            .iter()
            .map(|principal| format!("arn:{partition}:iam::{home}:{principal}"))
            .collect();
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:{partition}:iam::{home}:root")},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:PrincipalOrgID": self.organization.as_str()},
                    "ArnLike": {"aws:PrincipalArn": principals},
                },
            }],
        })
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
