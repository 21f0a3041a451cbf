//! CloudFormation StackSets.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_ops::stack_sets::{
    AutoDeployment, FailureTolerance, InstanceChange, InstanceDeletion, OperationAction,
    OperationPreferences, OperationStatus, ParameterValue, StackSetDefinition, StackSetUpdate,
    Submission, Template, new_operation_id,
};
use aws_ops::{Aws, ErrorClass};
use onboarding_core::ids::{Region, StackSetName};
use onboarding_core::inventory::InstanceStatus;
use onboarding_core::stackset_sync::OperationTargets;

use super::organization::organization;
use super::{assert_sent, with_moto};

const TEMPLATE: &str = r#"{
  "Description": "Enrolls an account",
  "Parameters": {
    "PolicyVersion": { "Type": "String", "Default": "1" },
    "Token": { "Type": "String", "NoEcho": true, "Default": "none" }
  },
  "Resources": {
    "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "DisplayName": { "Ref": "PolicyVersion" } } }
  }
}"#;

fn name() -> Result<StackSetName> {
    "spot-onboarding".parse().context("a stack set name")
}

fn region() -> Result<Region> {
    "us-east-1".parse().context("a Region")
}

fn definition() -> Result<StackSetDefinition> {
    Ok(StackSetDefinition {
        name: name()?,
        description: Some("Enrolls accounts & \"units\"".to_owned()),
        template_body: TEMPLATE.to_owned(),
        parameters: BTreeMap::from([("PolicyVersion".to_owned(), "2".to_owned())]),
        tags: BTreeMap::from([("owner".to_owned(), "platform".to_owned())]),
        capabilities: vec!["CAPABILITY_NAMED_IAM".to_owned()],
        auto_deployment: AutoDeployment {
            enabled: true,
            retain_stacks: true,
        },
        managed_execution: true,
    })
}

fn preferences() -> Result<OperationPreferences> {
    Ok(OperationPreferences {
        max_concurrent: 10,
        region_order: vec![region()?],
        tolerance: FailureTolerance::Any,
    })
}

fn change(unit: &str) -> Result<InstanceChange> {
    Ok(InstanceChange {
        stack_set: name()?,
        targets: OperationTargets {
            organizational_units: vec![unit.parse()?],
            ..OperationTargets::default()
        },
        regions: vec![region()?],
        overrides: BTreeMap::new(),
        preferences: preferences()?,
        operation_id: new_operation_id(),
    })
}

fn operation_id(submission: &Submission) -> &str {
    match submission {
        Submission::Started { operation_id } | Submission::Adopted { operation_id } => operation_id,
        Submission::Busy { .. } => panic!("{submission:?}"),
    }
}

async fn created(aws: &Aws) -> Result<()> {
    aws.create_stack_set(&definition()?).await?;
    Ok(())
}

#[test]
fn a_stack_set_is_created_and_read_back() {
    with_moto(async |_moto, aws| {
        assert_eq!(aws.describe_stack_set(&name()?).await?, None);
        let id = aws.create_stack_set(&definition()?).await?;
        let observed = aws.describe_stack_set(&name()?).await?.unwrap();
        assert_eq!(observed.id, id);
        assert!(observed.service_managed);
        assert_eq!(observed.description, definition()?.description);
        assert_eq!(observed.template_body, TEMPLATE);
        assert_eq!(
            observed.parameters.get("PolicyVersion").map(String::as_str),
            Some("2")
        );
        assert_eq!(observed.tags, definition()?.tags);
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateStackSet",
                "cloudformation:DescribeStackSet",
            ],
        );
        Ok(())
    });
}

#[test]
fn a_stack_set_is_updated_and_the_operation_is_followed() {
    with_moto(async |moto, aws| {
        organization(&moto, 0).await?;
        created(&aws).await?;
        let submission = aws
            .update_stack_set(&StackSetUpdate {
                name: name()?,
                description: Some("changed".to_owned()),
                template: Template::Previous,
                parameters: BTreeMap::from([(
                    "PolicyVersion".to_owned(),
                    ParameterValue::Value("3".to_owned()),
                )]),
                tags: BTreeMap::new(),
                capabilities: vec!["CAPABILITY_NAMED_IAM".to_owned()],
                auto_deployment: None,
                managed_execution: None,
                targets: None,
                preferences: preferences()?,
                operation_id: new_operation_id(),
            })
            .await?;
        let operation = aws
            .describe_operation(&name()?, operation_id(&submission))
            .await?;
        assert_eq!(operation.action, OperationAction::Update);
        assert_eq!(operation.status, OperationStatus::Succeeded);
        assert!(operation.created_at.is_some());
        let observed = aws.describe_stack_set(&name()?).await?.unwrap();
        assert_eq!(observed.description.as_deref(), Some("changed"));
        assert_eq!(observed.template_body, TEMPLATE);
        assert_eq!(
            observed.parameters.get("PolicyVersion").map(String::as_str),
            Some("3")
        );
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateStackSet",
                "cloudformation:DescribeStackSet",
                "cloudformation:DescribeStackSetOperation",
                "cloudformation:UpdateStackSet",
            ],
        );
        Ok(())
    });
}

#[test]
fn instances_of_a_unit_are_created_listed_and_updated() {
    with_moto(async |moto, aws| {
        let unit = organization(&moto, 3).await?;
        created(&aws).await?;
        aws.create_stack_instances(&change(&unit)?).await?;
        let instances = aws.list_stack_instances(&name()?).await?;
        assert_eq!(instances.len(), 3);
        for instance in &instances {
            assert_eq!(instance.region, region()?);
            assert_eq!(instance.status, InstanceStatus::Current);
            assert!(instance.stack_id.is_some());
        }
        aws.update_stack_instances(&change(&unit)?).await?;
        let operations = aws.recent_operations(&name()?).await?;
        let actions: Vec<_> = operations
            .iter()
            .map(|operation| operation.action)
            .collect();
        assert!(
            actions.contains(&OperationAction::Create)
                && actions.contains(&OperationAction::Update),
            "{actions:?}"
        );
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateStackInstances",
                "cloudformation:CreateStackSet",
                "cloudformation:ListStackInstances",
                "cloudformation:ListStackSetOperations",
                "cloudformation:UpdateStackInstances",
            ],
        );
        Ok(())
    });
}

#[test]
fn results_deletions_and_stops_are_understood() {
    with_moto(async |moto, aws| {
        let unit = organization(&moto, 1).await?;
        created(&aws).await?;
        let submission = aws.create_stack_instances(&change(&unit)?).await?;
        // moto lists no results and deletes no instances by unit; that the calls are understood is what counts here.
        assert_eq!(
            aws.operation_results(&name()?, operation_id(&submission))
                .await?,
            []
        );
        aws.delete_stack_instances(&InstanceDeletion {
            change: change(&unit)?,
            retain_stacks: true,
        })
        .await?;
        aws.stop_operation(&name()?, operation_id(&submission))
            .await?;
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateStackInstances",
                "cloudformation:CreateStackSet",
                "cloudformation:DeleteStackInstances",
                "cloudformation:ListStackSetOperationResults",
                "cloudformation:StopStackSetOperation",
            ],
        );
        Ok(())
    });
}

#[test]
fn an_empty_stack_set_is_deleted_and_its_absence_is_no_error() {
    with_moto(async |_moto, aws| {
        created(&aws).await?;
        aws.delete_stack_set(&name()?).await?;
        assert_eq!(aws.describe_stack_set(&name()?).await?, None);
        aws.delete_stack_set(&name()?).await?;
        Ok(())
    });
}

#[test]
fn a_stack_set_that_does_not_exist_is_not_found() {
    with_moto(async |_moto, aws| {
        let error = aws.list_stack_instances(&name()?).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::NotFound, "{error}");
        Ok(())
    });
}

#[test]
fn a_template_is_summarized() {
    with_moto(async |_moto, aws| {
        let summary = aws.template_summary(TEMPLATE).await?;
        assert_eq!(summary.resource_types, ["AWS::SNS::Topic"]);
        let token = summary
            .parameters
            .iter()
            .find(|parameter| parameter.key == "Token")
            .unwrap();
        assert!(token.no_echo);
        assert_eq!(token.default.as_deref(), Some("none"));
        let refused = aws.template_summary(&"x".repeat(51_201)).await.unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Invalid);
        assert_sent(&aws, &["cloudformation:GetTemplateSummary"]);
        Ok(())
    });
}

#[test]
fn an_html_error_page_is_unexpected_and_tried_twice_at_most() {
    with_moto(async |_moto, aws| {
        for error in [
            aws.trusted_access().await.unwrap_err(),
            aws.activate_trusted_access().await.unwrap_err(),
        ] {
            assert_eq!(error.class(), ErrorClass::Unexpected, "{error}");
            assert!(!error.to_string().contains("<html"), "{error}");
        }
        let calls = aws.api_calls();
        assert_eq!(calls["cloudformation:DescribeOrganizationsAccess"], 2);
        assert_eq!(calls["cloudformation:ActivateOrganizationsAccess"], 2);
        Ok(())
    });
}

#[test]
fn an_instance_is_given_parameters_of_its_own() {
    with_moto(async |moto, aws| {
        let unit = organization(&moto, 1).await?;
        created(&aws).await?;
        let given = |value: &str| ParameterValue::Value(value.to_owned());
        aws.create_stack_instances(&InstanceChange {
            overrides: BTreeMap::from([("PolicyVersion".to_owned(), given("9"))]),
            ..change(&unit)?
        })
        .await?;
        let account = aws.list_stack_instances(&name()?).await?[0].account;
        let (name, region) = (name()?, region()?);
        let overrides = aws.instance_overrides(&name, account, &region).await?;
        let own = BTreeMap::from([("PolicyVersion".to_owned(), "9".to_owned())]);
        assert_eq!(overrides, Some(own));
        assert_sent(
            &aws,
            &[
                "cloudformation:CreateStackInstances",
                "cloudformation:CreateStackSet",
                "cloudformation:DescribeStackInstance",
                "cloudformation:ListStackInstances",
            ],
        );
        Ok(())
    });
}
