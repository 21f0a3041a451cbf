//! A role in a member account that the runner itself assumes: it lets in only the named principals of the home account, as long as
//! they belong to the organization, and has one inline policy. It never names Spot.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Partition, Resource, RoleSettings, Template, TemplateError,
    checks::is_text,
    parts::{Output, attribute, object},
};
use crate::ids::{AwsAccountId, OrganizationId};

/// Most characters of all inline policies of a role (IAM and AWS STS quotas).
const MAX_INLINE: usize = 10_240;

/// The role, but for what it may do.
pub(super) struct HomeRole<'a> {
    pub(super) partition: Partition,
    pub(super) logical_id: &'static str,
    /// Its name is fixed: its ARN must be known without asking.
    pub(super) role: &'a RoleSettings,
    /// Of the role and of its stack.
    pub(super) description: &'static str,
    pub(super) home_account: AwsAccountId,
    /// Who of that account may assume it: `role/` or `user/` and the name with its path, `*` for any characters.
    pub(super) principals: &'a [String],
    pub(super) organization: &'a OrganizationId,
    pub(super) policy_name: &'static str,
    /// The output with its ARN: name and description.
    pub(super) output: (&'static str, &'static str),
}

impl HomeRole<'_> {
    /// Its template, with what it may do.
    pub(super) fn template(self, policy: Value) -> Result<Template, TemplateError> {
        self.check()?;
        let size = policy.to_string().len();
        if size > MAX_INLINE {
            return Err(TemplateError::InlinePolicyTooLong {
                size,
                limit: MAX_INLINE,
            });
        }
        let mut properties = object([
            ("Description", self.description.into()),
            ("AssumeRolePolicyDocument", self.trust()),
            (
                "Policies",
                json!([{"PolicyName": self.policy_name, "PolicyDocument": policy}]),
            ),
        ]);
        self.role.write(&mut properties);
        let (output, words) = self.output;
        Ok(Template {
            description: self.description.to_owned(),
            parameters: Vec::new(),
            conditions: Vec::new(),
            resources: vec![Resource {
                logical_id: self.logical_id.to_owned(),
                resource_type: "AWS::IAM::Role",
                condition: None,
                depends_on: Vec::new(),
                metadata: None,
                retained: false,
                properties,
            }],
            outputs: vec![Output::new(
                output,
                words,
                attribute(self.logical_id, "Arn"),
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
            return Err(TemplateError::NoHomePrincipal);
        }
        let valid = |principal: &&String| {
            ["role/", "user/"].iter().any(|kind| {
                principal
                    .strip_prefix(kind)
                    .is_some_and(|name| is_text(name, 576, b"_+=,.@-/*"))
            })
        };
        match self.principals.iter().find(|principal| !valid(principal)) {
            Some(value) => Err(TemplateError::HomePrincipal {
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
}
