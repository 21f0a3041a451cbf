//! A role as aws-ops reads it through the audit role that we render, while others change it behind CloudFormation's back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_ops::{AccessRole, AccountAccess};
use e2e::wire::Wire;
use onboarding_core::ids::AwsAccountId;
use onboarding_core::inventory::{PolicyReading, RolePolicies};
use onboarding_core::template::{AuditRoleSpec, Format, Partition, RoleSettings};
use sandbox::Sandbox;
use serde_json::{Value, json};

use super::{aws, until, wire, with_sandbox};

const SCENARIO: &str = "
clock_speed = 600
[organization]
accounts = 1
rates = false
[iam]
page_size = 1
";

const AUDIT_ROLE: &str = "spot-onboarding-audit";
const SECURITY_AUDIT: &str = "arn:aws:iam::aws:policy/SecurityAudit";

/// A member account with the audit role and a stack with a role.
struct Member {
    account: AwsAccountId,
    wire: Wire,
    access: AccountAccess,
}

impl Member {
    async fn new(sandbox: &Sandbox) -> Result<Self> {
        let aws = aws(sandbox).await?;
        let home = aws.caller_identity().await?.account;
        let organization = wire(sandbox)
            .json(
                "organizations",
                "AWSOrganizationsV20161128.DescribeOrganization",
                &json!({}),
            )
            .await?;
        let accounts = wire(sandbox).admin("accounts", None).await?;
        let accounts = accounts["accounts"].as_array().context("accounts")?;
        let member = accounts
            .iter()
            .find(|account| account["management"] == false);
        let account = member.and_then(|account| account["id"].as_str());
        let account = account.context("a member")?.to_owned();
        let role = AccessRole {
            partition: "aws".to_owned(),
            path: "/spot/".to_owned(),
            name: AUDIT_ROLE.to_owned(),
            session_name: "spot-onboarding".to_owned(),
        };
        let member = Self {
            account: account.parse()?,
            wire: Wire::new(sandbox.endpoint(), format!("AKIA{account}ROOT")),
            access: AccountAccess::new(&aws, role),
        };
        let organization = organization["Organization"]["Id"].as_str();
        let spec = AuditRoleSpec {
            partition: Partition::Aws,
            region: "us-east-1".parse()?,
            role: RoleSettings {
                name: Some(AUDIT_ROLE.to_owned()),
                path: Some("/spot/".to_owned()),
                ..RoleSettings::default()
            },
            home_account: home,
            principals: vec!["user/administrator".to_owned()],
            organization: organization.context("an id")?.parse()?,
            stack_sets: BTreeSet::new(),
        };
        let rendered = spec.template()?.render(Format::CompactJson)?;
        member.stack("CreateStack", "audit", &rendered.body).await?;
        member
            .stack("CreateStack", "spot", &template("one"))
            .await?;
        Ok(member)
    }

    /// Calls IAM as the account's administrator.
    async fn iam(&self, action: &str, input: &[(&str, &str)]) -> Result<String> {
        let input = [&[("Version", "2010-05-08")], input].concat();
        self.wire.query("iam", action, &input).await
    }

    /// Starts an operation on a stack, and waits until it is in one of its last states, which is returned.
    async fn stack(&self, action: &str, name: &str, template: &str) -> Result<String> {
        let version = ("Version", "2010-05-15");
        let input = [
            version,
            ("StackName", name),
            ("TemplateBody", template),
            ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
        ];
        let given = if template.is_empty() { 2 } else { 4 };
        let ask = self.wire.query("cloudformation", action, &input[..given]);
        ask.await?;
        until("the stack settles", async || {
            let input = [version, ("StackName", name)];
            let stack = self.wire.query("cloudformation", "DescribeStacks", &input);
            let Ok(stack) = stack.await else {
                return Ok(Some("gone".to_owned()));
            };
            let status = between(&stack, "<StackStatus>").context("a status")?;
            Ok((!status.ends_with("_IN_PROGRESS")).then_some(status))
        })
        .await
    }

    async fn read(&self) -> Result<Option<RolePolicies>> {
        until("the audit role lets us in", async || {
            match self.access.role_policies(self.account, "SpotRole").await {
                Err(error) if error.to_string().contains("cannot be assumed") => Ok(None),
                read => Ok(Some(read?)),
            }
        })
        .await
    }

    /// The ARN of an attached policy whose name has this in it.
    async fn attached(&self, part: &str) -> Result<String> {
        let policies = self.read().await?.context("the role is gone")?;
        let mut attached = policies.attached.into_iter();
        let found = attached.find(|policy| policy.name.contains(part));
        Ok(found.context("no such policy")?.arn)
    }

    /// Adds an inline policy, attaches one of AWS's, detaches one of the stack's, and gives another one a new default
    /// version and the role a new trust policy.
    async fn tamper(&self) -> Result<()> {
        let (changed, detached) = (self.attached("Read").await?, self.attached("Bill").await?);
        let role = ("RoleName", "SpotRole");
        let stray = document("s3:DeleteBucket").to_string();
        let input = [role, ("PolicyName", "stray"), ("PolicyDocument", &*stray)];
        self.iam("PutRolePolicy", &input).await?;
        let input = [role, ("PolicyArn", SECURITY_AUDIT)];
        self.iam("AttachRolePolicy", &input).await?;
        let input = [role, ("PolicyArn", &*detached)];
        self.iam("DetachRolePolicy", &input).await?;
        let wider = document("*").to_string();
        let input = [
            ("PolicyArn", &*changed),
            ("PolicyDocument", &*wider),
            ("SetAsDefault", "true"),
        ];
        self.iam("CreatePolicyVersion", &input).await?;
        let trust = trust("somebody-elses").to_string();
        let input = [role, ("PolicyDocument", &*trust)];
        self.iam("UpdateAssumeRolePolicy", &input).await?;
        Ok(())
    }

    async fn trust(&self) -> Result<Value> {
        let role = self.access.role(self.account, "SpotRole").await?;
        Ok(serde_json::from_str(
            &role.context("no role")?.trust_policy,
        )?)
    }
}

fn between(text: &str, tag: &str) -> Option<String> {
    let value = text.split(tag).nth(1)?.split('<').next()?;
    Some(value.to_owned())
}

/// A policy with characters that percent-encoding is about.
fn document(action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::a+b%2Bc/ü *",
    }]})
}

fn trust(external_id: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::922761411349:root"},
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
    }]})
}

/// A role with two managed policies and two inline ones, the second with this external ID's document.
fn template(version: &str) -> String {
    let policy = |action| json!({"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document(action)}});
    json!({"Resources": {
        "Read": policy("s3:GetObject"),
        "Bill": policy("ce:GetUsage"),
        "SpotRole": {"Type": "AWS::IAM::Role", "Properties": {
            "RoleName": "SpotRole",
            "AssumeRolePolicyDocument": trust("ours"),
            "ManagedPolicyArns": [{"Ref": "Read"}, {"Ref": "Bill"}],
            "Policies": [
                {"PolicyName": "fixed", "PolicyDocument": document("s3:ListBucket")},
                {"PolicyName": "version", "PolicyDocument": document(&format!("s3:Get{version}"))},
            ],
        }},
    }})
    .to_string()
}

/// What the attached policies say, by the part of their name that the template gives.
fn documents(policies: &RolePolicies) -> BTreeMap<String, (String, Value)> {
    let documents = policies.attached.iter().map(|policy| {
        let name = policy.name.split('-').nth(1).unwrap_or(&policy.name);
        let said = match &policy.document {
            PolicyReading::Document { version, text } => {
                (version.clone(), serde_json::from_str(text).unwrap())
            }
            PolicyReading::Unread(why) => ("unread".to_owned(), json!(why)),
        };
        (name.to_owned(), said)
    });
    documents.collect()
}

fn inline(policies: &RolePolicies) -> BTreeMap<&str, Value> {
    let inline = policies.inline.iter();
    inline
        .map(|(name, text)| (name.as_str(), serde_json::from_str(text).unwrap()))
        .collect()
}

#[test]
fn the_policies_of_a_role_are_read_through_the_audit_role_page_by_page() {
    with_sandbox(SCENARIO, async |sandbox| {
        let member = Member::new(&sandbox).await?;
        let policies = member.read().await?.context("no role")?;
        let expected = [
            ("Bill", document("ce:GetUsage")),
            ("Read", document("s3:GetObject")),
        ];
        let expected = expected.map(|(name, said)| (name.to_owned(), ("v1".to_owned(), said)));
        assert_eq!(documents(&policies), expected.into());
        let expected = [
            ("fixed", document("s3:ListBucket")),
            ("version", document("s3:Getone")),
        ];
        assert_eq!(inline(&policies), expected.into());
        let calls = wire(&sandbox).admin("calls", None).await?;
        for operation in [
            "iam:ListAttachedRolePolicies",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:ListRolePolicies",
            "iam:GetRolePolicy",
        ] {
            assert_eq!(calls["calls"][operation], 2, "{operation}: {calls}");
        }
        let nobody = member.access.role_policies(member.account, "Nobody").await;
        assert_eq!(nobody?, None);
        Ok(())
    });
}

#[test]
fn what_is_changed_behind_cloudformations_back_is_seen_and_outlasts_an_update() {
    with_sandbox(SCENARIO, async |sandbox| {
        let member = Member::new(&sandbox).await?;
        member.tamper().await?;
        let tampered = BTreeMap::from([
            ("Read".to_owned(), ("v2".to_owned(), document("*"))),
            (
                "SecurityAudit".to_owned(),
                ("unread".to_owned(), json!("an AWS managed policy")),
            ),
        ]);
        for version in ["one", "two"] {
            let policies = member.read().await?.context("no role")?;
            assert_eq!(documents(&policies), tampered);
            let expected = [
                ("fixed", document("s3:ListBucket")),
                ("stray", document("s3:DeleteBucket")),
                ("version", document(&format!("s3:Get{version}"))),
            ];
            assert_eq!(inline(&policies), expected.into());
            assert_eq!(member.trust().await?, trust("somebody-elses"));
            let update = member.stack("UpdateStack", "spot", &template("two")).await;
            // The second time there is nothing to update.
            assert_eq!(update.is_ok(), version == "one", "{update:?}");
        }

        // Nor does CloudFormation delete a role with policies that it does not know.
        let ended = member.stack("DeleteStack", "spot", "").await?;
        assert_eq!(ended, "DELETE_FAILED");
        let role = ("RoleName", "SpotRole");
        let stray = [role, ("PolicyName", "stray")];
        member.iam("DeleteRolePolicy", &stray).await?;
        let attached = [role, ("PolicyArn", SECURITY_AUDIT)];
        member.iam("DetachRolePolicy", &attached).await?;
        assert_eq!(member.stack("DeleteStack", "spot", "").await?, "gone");
        assert_eq!(member.read().await?, None);
        Ok(())
    });
}

#[test]
fn an_audit_role_that_may_read_less_makes_a_policy_unread_or_the_role_denied() {
    with_sandbox(SCENARIO, async |sandbox| {
        let member = Member::new(&sandbox).await?;
        member.read().await?;
        let allow = async |actions: &[&str]| {
            let document = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": actions,
                "Resource": format!("arn:aws:iam::{}:role/*", member.account),
            }]});
            let input = [
                ("RoleName", AUDIT_ROLE),
                ("PolicyName", "read"),
                ("PolicyDocument", &document.to_string()),
            ];
            member.iam("PutRolePolicy", &input).await
        };
        let lists = [
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:GetRolePolicy",
        ];
        allow(&lists).await?;
        let policies = member.read().await?.context("no role")?;
        assert_eq!(policies.inline.len(), 2);
        for (version, why) in documents(&policies).into_values() {
            assert_eq!(version, "unread");
            let why = why.to_string();
            assert!(
                why.contains("it may not be read") && why.contains("iam:GetPolicy"),
                "{why}"
            );
        }
        allow(&lists[..2]).await?;
        let denied = member
            .access
            .role_policies(member.account, "SpotRole")
            .await;
        let denied = denied.unwrap_err();
        assert!(
            denied.is_denial() && denied.to_string().contains("iam:GetRolePolicy"),
            "{denied}"
        );
        Ok(())
    });
}
