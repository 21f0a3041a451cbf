//! aws-ops' plain stacks against the simulated AWS.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_ops::{
    Aws,
    stacks::{ChangeAction, ChangeSet, ChangeSetRequest, ChangeSetState, Replacement},
};

use super::{aws, until, with_sandbox};

const SCENARIO: &str = "clock_speed = 600\n[organization]\naccounts = 1\n";

fn template(topic: &str, shown: &str) -> String {
    format!(
        r#"{{"Resources": {{
            "Topic": {{"Type": "AWS::SNS::Topic", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain",
                       "Properties": {{"TopicName": "{topic}", "DisplayName": "{shown}"}}}},
            "Queue": {{"Type": "AWS::SQS::Queue"}}
        }}, "Outputs": {{"Topic": {{"Value": {{"Ref": "Topic"}}}}}}}}"#
    )
}

fn request(name: &str, creates_stack: bool, template_body: String) -> ChangeSetRequest {
    ChangeSetRequest {
        stack: "home".to_owned(),
        creates_stack,
        name: name.to_owned(),
        template_body,
        capabilities: Vec::new(),
        parameters: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

async fn described(aws: &Aws, name: &str) -> Result<ChangeSet> {
    until("the change set is made", async || {
        let set = aws.describe_change_set("home", name).await?;
        Ok((set.state != ChangeSetState::Pending).then_some(set))
    })
    .await
}

/// Executes a change set and waits for its end.
async fn executed(aws: &Aws, name: &str) -> Result<String> {
    let stack = aws.describe_stack("home").await?.context("a stack")?;
    aws.execute_change_set("home", name, name).await?;
    until("the stack settles", async || {
        Ok(aws.stack_progress(&stack.id, name).await?.ended)
    })
    .await
}

#[test]
fn a_stack_is_made_changed_and_deleted_through_change_sets() {
    with_sandbox(SCENARIO, |sandbox| async move {
        let aws = aws(&sandbox).await?;
        assert_eq!(aws.describe_stack("home").await?, None);
        aws.create_change_set(&request("one", true, template("t-1", "a")))
            .await?;
        // The same request again, as after an answer that was lost.
        aws.create_change_set(&request("one", true, template("t-1", "a")))
            .await?;
        let set = described(&aws, "one").await?;
        let actions: Vec<_> = set.changes.iter().map(|change| change.action).collect();
        assert_eq!(actions, [ChangeAction::Add, ChangeAction::Add]);
        let review = aws.describe_stack("home").await?.context("a stack")?;
        assert_eq!(review.status, "REVIEW_IN_PROGRESS");
        assert_eq!(executed(&aws, "one").await?, "CREATE_COMPLETE");
        let stack = aws.describe_stack("home").await?.context("a stack")?;
        assert!(stack.outputs["Topic"].ends_with(":t-1"), "{stack:?}");
        let body = aws.stack_template(&stack.id).await?;
        assert_eq!(body, template("t-1", "a"));

        aws.create_change_set(&request("same", false, template("t-1", "a")))
            .await?;
        let set = described(&aws, "same").await?;
        assert_eq!(set.state, ChangeSetState::NoChanges);
        aws.delete_change_set("home", "same").await?;
        aws.delete_change_set("home", "same").await?;

        aws.create_change_set(&request("shown", false, template("t-1", "b")))
            .await?;
        let set = described(&aws, "shown").await?;
        assert_eq!(set.changes.len(), 1, "{set:?}");
        assert_eq!(set.changes[0].replacement, Replacement::No);
        aws.create_change_set(&request("renamed", false, template("t-2", "b")))
            .await?;
        let set = described(&aws, "renamed").await?;
        assert_eq!(set.changes[0].replacement, Replacement::Yes);
        assert!(set.changes[0].retained, "{set:?}");
        assert!(set.changes[0].properties.contains("TopicName"), "{set:?}");
        assert_eq!(executed(&aws, "shown").await?, "UPDATE_COMPLETE");
        // It went with the execution of the other one.
        assert!(aws.describe_change_set("home", "renamed").await.is_err());

        let progress = aws.stack_progress(&stack.id, "one").await?;
        assert_eq!(
            progress.ended, None,
            "the newest events are another change's"
        );
        aws.delete_stack("home").await?;
        until("the stack is gone", async || {
            Ok(aws.describe_stack("home").await?.is_none().then_some(()))
        })
        .await?;
        let gone = aws.describe_stack(&stack.id).await?.context("by its id")?;
        assert_eq!(gone.status, "DELETE_COMPLETE");
        Ok(())
    });
}

#[test]
fn a_failed_creation_tells_its_cause_and_keeps_nothing() {
    with_sandbox(SCENARIO, |sandbox| async move {
        let aws = aws(&sandbox).await?;
        let body = r#"{"Resources": {
            "Topic": {"Type": "AWS::SNS::Topic", "DeletionPolicy": "Retain", "Properties": {"TopicName": "kept"}},
            "Bad": {"Type": "AWS::Unknown::Thing", "DependsOn": "Topic"}
        }}"#;
        for attempt in ["one", "two"] {
            aws.create_change_set(&request(attempt, true, body.to_owned()))
                .await?;
            described(&aws, attempt).await?;
            let id = aws.describe_stack("home").await?.context("a stack")?.id;
            assert_eq!(executed(&aws, attempt).await?, "ROLLBACK_COMPLETE");
            let progress = aws.stack_progress(&id, attempt).await?;
            // Were the topic still there, the second attempt would fail because of it.
            let failures: Vec<_> = progress.failures().collect();
            assert_eq!(failures.len(), 1, "{failures:?}");
            assert_eq!(failures[0].logical_id, "Bad");
            aws.delete_stack("home").await?;
            until("the stack is gone", async || {
                Ok(aws.describe_stack("home").await?.is_none().then_some(()))
            })
            .await?;
        }
        Ok(())
    });
}
