//! CloudFormation's plain stacks and change sets.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_ops::Aws;
use aws_ops::stacks::{ChangeAction, ChangeSetRequest, ChangeSetState};

use super::{assert_sent, with_moto};

const TEMPLATE: &str = r#"{
  "Resources": { "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": "spot-onboarding" } } },
  "Outputs": { "TopicArn": { "Value": { "Ref": "Topic" } } }
}"#;

async fn change_set(aws: &Aws) -> Result<()> {
    let request = ChangeSetRequest {
        stack: "home".to_owned(),
        creates_stack: true,
        name: "first".to_owned(),
        template_body: TEMPLATE.to_owned(),
        capabilities: vec!["CAPABILITY_IAM".to_owned()],
        parameters: BTreeMap::new(),
        tags: BTreeMap::new(),
    };
    Ok(aws.create_change_set(&request).await?)
}

#[test]
fn a_stack_is_made_through_a_change_set_and_deleted() {
    with_moto(|moto, aws| async move {
        assert_eq!(aws.describe_stack("home").await?, None);
        change_set(&aws).await?;
        let set = aws.describe_change_set("home", "first").await?;
        assert_eq!(set.state, ChangeSetState::Ready);
        assert_eq!(set.changes.len(), 1, "{set:?}");
        assert_eq!(set.changes[0].action, ChangeAction::Add);
        assert_eq!(set.changes[0].resource_type, "AWS::SNS::Topic");
        aws.execute_change_set("home", "first", "first").await?;
        let stack = aws.describe_stack("home").await?.context("a stack")?;
        assert_eq!(stack.status, "CREATE_COMPLETE");
        let body = aws.stack_template(&stack.id).await?;
        assert!(body.contains("AWS::SNS::Topic"), "{body}");
        // moto's events carry no token of ours: they are read, and are none of this change.
        let progress = aws.stack_progress(&stack.id, "first").await?;
        assert_eq!(progress.ended, None);
        aws.delete_stack("home").await?;
        assert_eq!(aws.describe_stack("home").await?, None);
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteStack",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplate",
            ],
        );
        drop(moto);
        Ok(())
    });
}

#[test]
fn a_change_set_is_deleted() {
    with_moto(|moto, aws| async move {
        change_set(&aws).await?;
        aws.delete_change_set("home", "first").await?;
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
            ],
        );
        drop(moto);
        Ok(())
    });
}
