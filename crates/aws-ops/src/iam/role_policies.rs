//! What a role may do: its inline policies, and the managed ones that are attached to it.
//!
//! Reads the documents of the account's own policies only: AWS changes its managed ones by itself, and their names say what
//! they are. One policy that cannot be read does not hide the others.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use onboarding_core::{
    ids::AwsAccountId,
    inventory::{AttachedPolicy, PolicyReading, RolePolicies},
};

use super::policy_document;
use crate::{Aws, AwsError, ErrorClass};

const ATTACHED: &str = "iam:ListAttachedRolePolicies";
const POLICY: &str = "iam:GetPolicy";
const VERSION: &str = "iam:GetPolicyVersion";
const INLINE: &str = "iam:ListRolePolicies";
const INLINE_POLICY: &str = "iam:GetRolePolicy";

/// How many policies of one role are read at a time: most roles have fewer, and others read beside this.
const AT_ONCE: usize = 4;

/// A managed policy as the list of a role has it.
struct Named {
    arn: String,
    name: String,
}

impl Aws {
    /// The policies of a role by name (not ARN) in the account that is called; none when there is no such role.
    ///
    /// A policy that may not be read, or was deleted meanwhile, is [`PolicyReading::Unread`]; an inline policy that was
    /// deleted meanwhile is left out.
    ///
    /// # Errors
    /// As any call; also when the lists or an inline policy may not be read.
    pub async fn role_policies(
        &self,
        role_name: &str,
        account: AwsAccountId,
    ) -> Result<Option<RolePolicies>, AwsError> {
        let lists = tokio::try_join!(
            self.attached_policies(role_name),
            self.inline_policy_names(role_name)
        );
        let (attached, inline) = match lists {
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(None),
            other => other?,
        };
        let attached = attached
            .into_iter()
            .map(|policy| self.attached_policy(policy, account).boxed());
        let inline = inline
            .into_iter()
            .map(|name| self.inline_policy(role_name, name).boxed());
        let (mut attached, inline) = tokio::try_join!(
            stream::iter(attached)
                .buffered(AT_ONCE)
                .try_collect::<Vec<_>>(),
            stream::iter(inline)
                .buffered(AT_ONCE)
                .try_collect::<Vec<_>>(),
        )?;
        attached.sort_by(|one, other| one.arn.cmp(&other.arn));
        Ok(Some(RolePolicies {
            attached,
            inline: inline.into_iter().flatten().collect::<BTreeMap<_, _>>(),
        }))
    }

    async fn attached_policies(&self, role_name: &str) -> Result<Vec<Named>, AwsError> {
        let mut policies = Vec::new();
        self.governed
            .pages(
                ATTACHED,
                |marker| {
                    let list = self.clients.iam().list_attached_role_policies();
                    list.role_name(role_name).set_marker(marker).send()
                },
                |output| {
                    for policy in output.attached_policies.unwrap_or_default() {
                        let (Some(arn), Some(name)) = (policy.policy_arn, policy.policy_name)
                        else {
                            return Err(AwsError::malformed(
                                ATTACHED,
                                "a policy without its ARN or name",
                            ));
                        };
                        policies.push(Named { arn, name });
                    }
                    next(ATTACHED, output.is_truncated, output.marker)
                },
            )
            .await?;
        Ok(policies)
    }

    async fn inline_policy_names(&self, role_name: &str) -> Result<Vec<String>, AwsError> {
        let mut names = Vec::new();
        self.governed
            .pages(
                INLINE,
                |marker| {
                    let list = self.clients.iam().list_role_policies();
                    list.role_name(role_name).set_marker(marker).send()
                },
                |output| {
                    names.extend(output.policy_names);
                    next(INLINE, output.is_truncated, output.marker)
                },
            )
            .await?;
        Ok(names)
    }

    async fn attached_policy(
        &self,
        Named { arn, name }: Named,
        account: AwsAccountId,
    ) -> Result<AttachedPolicy, AwsError> {
        let document = match owner(&arn) {
            "aws" => PolicyReading::Unread("an AWS managed policy".to_owned()),
            owner if *owner == account.to_string() => match self.default_version(&arn).await {
                Err(error) if error.class() == ErrorClass::Denied => {
                    PolicyReading::Unread(format!("it may not be read ({})", error.message))
                }
                Err(error) if error.class() == ErrorClass::NotFound => {
                    PolicyReading::Unread("it was deleted meanwhile".to_owned())
                }
                read => read?,
            },
            _ => PolicyReading::Unread("a policy of another account".to_owned()),
        };
        Ok(AttachedPolicy {
            arn,
            name,
            document,
        })
    }

    /// The default version of a managed policy. IAM tells which one it is and what a version says by two calls.
    ///
    /// # Errors
    /// As any call; also when there is no such policy.
    pub async fn default_version(&self, arn: &str) -> Result<PolicyReading, AwsError> {
        let output = self
            .governed
            .call(POLICY, || {
                self.clients.iam().get_policy().policy_arn(arn).send()
            })
            .await?;
        let version = output
            .policy
            .and_then(|policy| policy.default_version_id)
            .ok_or_else(|| AwsError::malformed(POLICY, "a policy without a default version"))?;
        let output = self
            .governed
            .call(VERSION, || {
                let get = self.clients.iam().get_policy_version();
                get.policy_arn(arn).version_id(&version).send()
            })
            .await?;
        let text = output
            .policy_version
            .and_then(|version| version.document)
            .ok_or_else(|| AwsError::malformed(VERSION, "a policy version without a document"))?;
        Ok(PolicyReading::Document {
            version,
            text: policy_document(&text),
        })
    }

    /// An inline policy by name, with its name; none when it is gone.
    async fn inline_policy(
        &self,
        role_name: &str,
        name: String,
    ) -> Result<Option<(String, String)>, AwsError> {
        let read = self
            .governed
            .call(INLINE_POLICY, || {
                let get = self.clients.iam().get_role_policy();
                get.role_name(role_name).policy_name(&name).send()
            })
            .await;
        match read {
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            read => Ok(Some((name, policy_document(&read?.policy_document)))),
        }
    }
}

/// Whose policy an ARN names: an account, or `aws`.
fn owner(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// The marker of the next page. A list that goes on without one would end too early.
fn next(
    operation: &'static str,
    truncated: bool,
    marker: Option<String>,
) -> Result<Option<String>, AwsError> {
    match (truncated, marker) {
        (true, None) => Err(AwsError::malformed(
            operation,
            "a list that goes on without saying where",
        )),
        (true, marker) => Ok(marker),
        (false, _) => Ok(None),
    }
}
