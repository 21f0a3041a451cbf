//! STS, IAM, Secrets Manager and Systems Manager.

use std::time::Duration;

use aws_ops::{AccessRole, AccountAccess, identity::AssumeRole};
use onboarding_core::inventory::PolicyReading;
use serde_json::{Value, json};

use super::{ACCOUNT, assert_sent, with_moto};

#[test]
fn the_caller_is_known() {
    with_moto(async |_moto, aws| {
        let identity = aws.caller_identity().await?;
        assert_eq!(identity.account.to_string(), ACCOUNT);
        assert!(identity.arn.starts_with("arn:aws:"), "{}", identity.arn);
        assert_sent(&aws, &["sts:GetCallerIdentity"]);
        Ok(())
    });
}

#[test]
fn an_assumed_role_is_who_we_are_then() {
    with_moto(async |_moto, aws| {
        let session = aws
            .assume_role(&AssumeRole {
                role: "arn:aws:iam::210987654321:role/Reader".parse()?,
                session_name: "spot-onboarding".to_owned(),
                external_id: Some("spotinst:aws:extid:0123456789abcdef".parse()?),
                duration: Duration::from_secs(900),
            })
            .await?;
        let identity = session.caller_identity().await?;
        assert_eq!(identity.account.to_string(), "210987654321");
        assert!(
            identity
                .arn
                .ends_with("assumed-role/Reader/spot-onboarding"),
            "{}",
            identity.arn
        );
        assert_sent(&aws, &["sts:AssumeRole", "sts:GetCallerIdentity"]);
        Ok(())
    });
}

#[test]
fn a_role_is_read_with_its_trust_policy() {
    with_moto(async |moto, aws| {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::922761411349:root" },
            "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "sts:ExternalId": "a+b%2Bc" } },
        }] });
        let input = [
            ("RoleName", "SpotRole"),
            ("AssumeRolePolicyDocument", &trust.to_string()),
        ];
        moto.wire().query("iam", "CreateRole", &input).await?;
        let role = aws.get_role("SpotRole").await?.unwrap();
        assert_eq!(
            role.arn.to_string(),
            format!("arn:aws:iam::{ACCOUNT}:role/SpotRole")
        );
        assert_eq!(serde_json::from_str::<Value>(&role.trust_policy)?, trust);
        assert_eq!(role.max_session_seconds, Some(3_600));
        assert_eq!(aws.get_role("Nobody").await?, None);
        assert_sent(&aws, &["iam:GetRole"]);
        Ok(())
    });
}

#[test]
fn the_policies_of_a_role_are_read_with_their_documents() {
    with_moto(async |moto, aws| {
        let policy = |action: &str| {
            json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::a+b%2Bc/*",
            }] })
        };
        let role = ("RoleName", "SpotRole");
        let trust = json!({ "Version": "2012-10-17", "Statement": [] }).to_string();
        let input = [role, ("AssumeRolePolicyDocument", &*trust)];
        moto.wire().query("iam", "CreateRole", &input).await?;
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy/spot");
        for (action, name, input) in [
            ("CreatePolicy", "PolicyName", "spot"),
            ("CreatePolicyVersion", "PolicyArn", &*arn),
        ] {
            let document = policy(&format!("s3:{action}")).to_string();
            let input = [
                (name, input),
                ("PolicyDocument", &*document),
                ("SetAsDefault", "true"),
            ];
            moto.wire().query("iam", action, &input).await?;
        }
        let input = [role, ("PolicyArn", &*arn)];
        moto.wire().query("iam", "AttachRolePolicy", &input).await?;
        for name in ["one", "two"] {
            let document = policy(&format!("s3:{name}")).to_string();
            let input = [role, ("PolicyName", name), ("PolicyDocument", &*document)];
            moto.wire().query("iam", "PutRolePolicy", &input).await?;
        }
        let account = ACCOUNT.parse()?;
        let policies = aws.role_policies("SpotRole", account).await?.unwrap();
        let [attached] = &policies.attached[..] else {
            panic!("{policies:?}")
        };
        assert_eq!((&*attached.arn, &*attached.name), (&*arn, "spot"));
        let PolicyReading::Document { version, text } = &attached.document else {
            panic!("{policies:?}")
        };
        assert_eq!(version, "v2");
        assert_eq!(
            serde_json::from_str::<Value>(text)?,
            policy("s3:CreatePolicyVersion")
        );
        assert_eq!(policies.inline.len(), 2);
        for (name, text) in &policies.inline {
            let document = serde_json::from_str::<Value>(text)?;
            assert_eq!(document, policy(&format!("s3:{name}")));
        }
        assert_eq!(aws.role_policies("Nobody", account).await?, None);
        assert_sent(
            &aws,
            &[
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:ListRolePolicies",
            ],
        );
        Ok(())
    });
}

#[test]
fn policies_are_taken_out_of_a_role_and_what_is_gone_is_no_error() {
    with_moto(async |moto, aws| {
        let role = ("RoleName", "SpotRole");
        let trust = json!({ "Version": "2012-10-17", "Statement": [] }).to_string();
        let input = [role, ("AssumeRolePolicyDocument", &*trust)];
        moto.wire().query("iam", "CreateRole", &input).await?;
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "s3:*", "Resource": "*",
        }] });
        let policy = policy.to_string();
        let input = [role, ("PolicyName", "mine@1"), ("PolicyDocument", &*policy)];
        moto.wire().query("iam", "PutRolePolicy", &input).await?;
        let input = [("PolicyName", "spot"), ("PolicyDocument", &*policy)];
        moto.wire().query("iam", "CreatePolicy", &input).await?;
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy/spot");
        let input = [role, ("PolicyArn", &*arn)];
        moto.wire().query("iam", "AttachRolePolicy", &input).await?;
        for was_there in [true, false] {
            let deleted = aws.delete_role_policy("SpotRole", "mine@1").await?;
            let detached = aws.detach_role_policy("SpotRole", &arn).await?;
            assert_eq!((deleted, detached), (was_there, was_there));
        }
        assert!(!aws.delete_role_policy("Nobody", "mine@1").await?);
        assert!(!aws.detach_role_policy("Nobody", &arn).await?);
        let left = aws.role_policies("SpotRole", ACCOUNT.parse()?).await?;
        let left = left.unwrap();
        assert!(
            left.inline.is_empty() && left.attached.is_empty(),
            "{left:?}"
        );
        // It stays when it is detached.
        let read = aws.default_version(&arn).await?;
        assert!(matches!(read, PolicyReading::Document { .. }), "{read:?}");
        assert_sent(
            &aws,
            &[
                "iam:DeleteRolePolicy",
                "iam:DetachRolePolicy",
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:ListAttachedRolePolicies",
                "iam:ListRolePolicies",
            ],
        );
        Ok(())
    });
}

#[test]
fn the_alias_of_the_account_is_read_when_there_is_one() {
    with_moto(async |moto, aws| {
        assert_eq!(aws.account_alias().await?, None);
        moto.wire()
            .query("iam", "CreateAccountAlias", &[("AccountAlias", "payments")])
            .await?;
        assert_eq!(aws.account_alias().await?.as_deref(), Some("payments"));
        assert_sent(&aws, &["iam:ListAccountAliases"]);
        Ok(())
    });
}

#[test]
fn the_token_is_read_from_secrets_manager() {
    with_moto(async |moto, aws| {
        let secret = json!({ "Name": "spot-token", "SecretString": "canary\n", "ClientRequestToken": "0".repeat(32) });
        moto.wire()
            .json("secretsmanager", "secretsmanager.CreateSecret", &secret)
            .await?;
        let token = aws.secret_value("spot-token").await?;
        assert_eq!(token.expose(), "canary");
        let missing = aws.secret_value("no-such-secret").await.unwrap_err();
        assert_eq!(missing.class(), aws_ops::ErrorClass::NotFound, "{missing}");
        assert_sent(&aws, &["secretsmanager:GetSecretValue"]);
        Ok(())
    });
}

#[test]
fn the_token_is_read_from_the_parameter_store() {
    with_moto(async |moto, aws| {
        let parameter = json!({ "Name": "/spot/token", "Value": "canary", "Type": "SecureString" });
        moto.wire()
            .json("ssm", "AmazonSSM.PutParameter", &parameter)
            .await?;
        assert_eq!(aws.parameter_value("/spot/token").await?.expose(), "canary");
        let missing = aws.parameter_value("/spot/none").await.unwrap_err();
        assert_eq!(missing.class(), aws_ops::ErrorClass::NotFound, "{missing}");
        assert_sent(&aws, &["ssm:GetParameter"]);
        Ok(())
    });
}

#[test]
fn a_member_account_is_read_through_its_role() {
    with_moto(async |_moto, aws| {
        let role = AccessRole {
            partition: "aws".to_owned(),
            path: "/".to_owned(),
            name: "audit".to_owned(),
            session_name: "spot-onboarding".to_owned(),
        };
        let access = AccountAccess::new(&aws, role);
        let account = "210987654321".parse()?;
        assert_eq!(access.alias(account).await?, None);
        assert_eq!(access.role(account, "SpotRole").await?, None);
        let gone = "arn:aws:cloudformation:us-east-1:210987654321:stack/none/0";
        assert_eq!(access.stack(&gone.parse()?).await?, None);
        assert_sent(
            &aws,
            &[
                "cloudformation:DescribeStacks",
                "iam:GetRole",
                "iam:ListAccountAliases",
                "sts:AssumeRole",
            ],
        );
        assert_eq!(aws.api_calls()["sts:AssumeRole"], 1);
        Ok(())
    });
}

#[test]
fn a_stack_is_read_with_its_status_and_outputs() {
    with_moto(async |moto, aws| {
        let template = json!({
            "Resources": { "Topic": { "Type": "AWS::SNS::Topic", "Properties": {} } },
            "Outputs": { "ExternalId": { "Value": "spotinst:aws:extid:1" } },
        });
        let input = [
            ("StackName", "old"),
            ("TemplateBody", &template.to_string()),
        ];
        let created = moto
            .wire()
            .query("cloudformation", "CreateStack", &input)
            .await?;
        let id = created
            .split("<StackId>")
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        let stack = aws.account_stack(&id.unwrap().parse()?).await?.unwrap();
        assert_eq!(stack.status, "CREATE_COMPLETE");
        assert_eq!(stack.outputs["ExternalId"], "spotinst:aws:extid:1");
        assert_sent(&aws, &["cloudformation:DescribeStacks"]);
        Ok(())
    });
}
