//! Stack sets: what is sent, and what AWS's answers and refusals mean.

use std::collections::BTreeMap;

use aws_ops::{
    ErrorClass,
    stack_sets::{
        AutoDeployment, FailureTolerance, InstanceChange, OperationPreferences, OperationStatus,
        ParameterValue, ResultStatus, StackSetDefinition, StackSetUpdate, Submission, Template,
    },
};
use onboarding_core::{
    ids::{AwsAccountId, StackSetName},
    inventory::{InstanceDetailedStatus, InstanceStatus},
    stackset_sync::{OperationTargets, TargetFilter},
};

use crate::server::{Answer, Server};

fn name() -> StackSetName {
    "spot-onboarding".parse().unwrap()
}

fn change(units: usize) -> InstanceChange {
    InstanceChange {
        stack_set: name(),
        targets: OperationTargets {
            organizational_units: (0..units)
                .map(|unit| format!("ou-ab12-{unit:08}").parse().unwrap())
                .collect(),
            accounts: vec![AwsAccountId::from_number(42).unwrap()],
            filter: TargetFilter::Intersection,
        },
        regions: vec!["us-east-1".parse().unwrap()],
        overrides: BTreeMap::new(),
        preferences: OperationPreferences {
            max_concurrent: 12,
            region_order: vec!["us-east-1".parse().unwrap()],
            tolerance: FailureTolerance::Any,
        },
        operation_id: "our-operation".into(),
    }
}

const OPERATION: &str = "<StackSetOperation><OperationId>our-operation</OperationId><Action>CREATE</Action>\
    <Status>SUCCEEDED</Status><StatusDetails><FailedStackInstancesCount>2</FailedStackInstancesCount></StatusDetails>\
    <CreationTimestamp>2026-11-21T10:00:00.123Z</CreationTimestamp></StackSetOperation>";

#[tokio::test]
async fn instances_are_created_with_explicit_preferences_and_our_id() {
    let server = Server::start(|_| {
        Answer::xml(
            "CreateStackInstances",
            "<OperationId>our-operation</OperationId>",
        )
    })
    .await;
    let submission = server.aws.create_stack_instances(&change(1)).await.unwrap();
    assert_eq!(
        submission,
        Submission::Started {
            operation_id: "our-operation".into()
        }
    );
    let body = server.calls.lock().unwrap()[0].body.clone();
    for part in [
        "OperationPreferences.FailureTolerancePercentage=100",
        "OperationPreferences.MaxConcurrentCount=12",
        "OperationPreferences.ConcurrencyMode=SOFT_FAILURE_TOLERANCE",
        "OperationPreferences.RegionOrder.member.1=us-east-1",
        "DeploymentTargets.OrganizationalUnitIds.member.1=ou-ab12-00000000",
        "DeploymentTargets.Accounts.member.1=000000000042",
        "DeploymentTargets.AccountFilterType=INTERSECTION",
        "OperationId=our-operation",
        "CallAs=SELF",
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
}

#[tokio::test]
async fn overrides_are_taken_away_by_an_empty_list_and_left_by_none() {
    let server = Server::start(|_| {
        Answer::xml(
            "UpdateStackInstances",
            "<OperationId>our-operation</OperationId>",
        )
    })
    .await;
    let mut change = change(1);
    server.aws.update_stack_instances(&change).await.unwrap();
    change.preferences.tolerance = FailureTolerance::Count {
        failures: 3,
        strict: true,
    };
    server.aws.reset_stack_instances(&change).await.unwrap();
    let calls = server.calls.lock().unwrap();
    let (left, taken) = (&calls[0].body, &calls[1].body);
    assert!(!left.contains("ParameterOverrides"), "{left}");
    for part in [
        "&ParameterOverrides=&",
        "OperationPreferences.FailureToleranceCount=3",
        "OperationPreferences.ConcurrencyMode=STRICT_FAILURE_TOLERANCE",
    ] {
        assert!(taken.contains(part), "{part} is not in {taken}");
    }
}

#[tokio::test]
async fn targets_that_aws_refuses_are_refused_before_the_call() {
    let server = Server::start(|call| panic!("{call:?}")).await;
    let mut unfiltered = change(1);
    unfiltered.targets.filter = TargetFilter::None;
    for bad in [change(0), change(51), unfiltered] {
        let error = server.aws.create_stack_instances(&bad).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Invalid);
    }
    assert!(server.aws.api_calls().is_empty());
}

#[tokio::test]
async fn a_refusal_names_the_operation_that_is_running() {
    let server = Server::start(|_| {
        Answer::xml_error(
            409,
            "OperationInProgressException",
            "Another Operation on StackSet arn:aws:cloudformation:us-east-1:1:stackset/s:u is in progress: abc-1",
        )
    })
    .await;
    let submission = server.aws.update_stack_instances(&change(1)).await.unwrap();
    assert_eq!(
        submission,
        Submission::Busy {
            operation_id: Some("abc-1".into())
        }
    );
    assert_eq!(server.count("UpdateStackInstances"), 1);
}

#[tokio::test]
async fn an_operation_id_of_ours_that_aws_knows_is_adopted() {
    let server = Server::start(|call| match call.operation.as_str() {
        "CreateStackInstances" => Answer::xml_error(
            409,
            "OperationIdAlreadyExistsException",
            "The specified operation ID already exists.",
        ),
        _ => Answer::xml("DescribeStackSetOperation", OPERATION),
    })
    .await;
    let submission = server.aws.create_stack_instances(&change(1)).await.unwrap();
    assert_eq!(
        submission,
        Submission::Adopted {
            operation_id: "our-operation".into()
        }
    );
}

#[tokio::test]
async fn a_quota_is_not_throttling() {
    let server = Server::start(|_| {
        Answer::xml_error(
            400,
            "LimitExceededException",
            "StackInstances limit exceeded",
        )
    })
    .await;
    let error = server
        .aws
        .create_stack_instances(&change(1))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Quota);
    assert_eq!(server.count("CreateStackInstances"), 1, "not retried");
    assert_eq!(
        server.aws.call_counts()["cloudformation:CreateStackInstances"].throttled,
        0
    );
}

#[tokio::test]
async fn an_operation_that_succeeded_tells_how_many_failed() {
    let server = Server::start(|_| Answer::xml("DescribeStackSetOperation", OPERATION)).await;
    let operation = server
        .aws
        .describe_operation(&name(), "our-operation")
        .await
        .unwrap();
    let outcome = operation.outcome().unwrap();
    assert_eq!(
        (outcome.status, outcome.failed_instances),
        (OperationStatus::Succeeded, Some(2))
    );
    assert!(!outcome.is_clean());
}

#[tokio::test]
async fn results_and_instances_are_read_over_all_pages() {
    let server = Server::start(|call| {
        let second = call.body.contains("NextToken=");
        let next = if second { "<NextToken></NextToken>" } else { "<NextToken>n</NextToken>" };
        let account = if second { "000000000002" } else { "000000000001" };
        let row = format!("<Account>{account}</Account><Region>us-east-1</Region>");
        match call.operation.as_str() {
            "ListStackInstances" => Answer::xml(
                "ListStackInstances",
                &format!(
                    "<Summaries><member>{row}<Status>OUTDATED</Status><StatusReason>no</StatusReason>\
                     <StackInstanceStatus><DetailedStatus>SKIPPED_SUSPENDED_ACCOUNT</DetailedStatus></StackInstanceStatus>\
                     <OrganizationalUnitId></OrganizationalUnitId></member></Summaries>{next}"
                ),
            ),
            _ => Answer::xml(
                "ListStackSetOperationResults",
                &format!(
                    "<Summaries><member>{row}<Status>FAILED</Status><StatusReason>denied</StatusReason></member>\
                     </Summaries>{next}"
                ),
            ),
        }
    })
    .await;
    let instances = server.aws.list_stack_instances(&name()).await.unwrap();
    assert_eq!(instances.len(), 2);
    assert_eq!(instances[0].status, InstanceStatus::Outdated);
    assert_eq!(
        instances[1].detailed_status,
        InstanceDetailedStatus::SkippedSuspendedAccount
    );
    assert_eq!(instances[1].targeted_ou, None);
    let results = server
        .aws
        .operation_results(&name(), "our-operation")
        .await
        .unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].status, ResultStatus::Failed);
    assert_eq!(results[0].reason.as_deref(), Some("denied"));
}

/// One page of operations: ids with their status and second of creation, newest first or not.
fn operations(rows: &[(&str, &str, u32)], next: &str) -> Answer {
    let rows: String = rows
        .iter()
        .map(|(id, status, second)| {
            format!(
                "<member><OperationId>{id}</OperationId><Action>CREATE</Action><Status>{status}</Status>\
                 <CreationTimestamp>2026-11-21T10:00:{second:02}Z</CreationTimestamp></member>"
            )
        })
        .collect();
    Answer::xml(
        "ListStackSetOperations",
        &format!("<Summaries>{rows}</Summaries><NextToken>{next}</NextToken>"),
    )
}

#[tokio::test]
async fn a_long_history_of_operations_is_not_read() {
    let server = Server::start(|call| match call.operation.as_str() {
        "ListStackInstances" => Answer::xml("ListStackInstances", "<Summaries></Summaries>"),
        _ if call.body.contains("NextToken=2") => {
            operations(&[("c", "SUCCEEDED", 40), ("d", "STOPPED", 30)], "3")
        }
        _ if call.body.contains("NextToken=3") => panic!("the history is read: {call:?}"),
        _ => operations(&[("a", "QUEUED", 55), ("b", "RUNNING", 50)], "2"),
    })
    .await;
    let (_, under_way) = server.aws.stack_set_activity(&name()).await.unwrap();
    let ids: Vec<&str> = under_way.iter().map(|operation| &*operation.id).collect();
    assert_eq!(ids, ["b", "a"], "oldest first");
    assert_eq!(server.count("ListStackSetOperations"), 2);
    assert_eq!(server.count("DescribeStackSetOperation"), 0);
}

#[tokio::test]
async fn operations_in_another_order_are_all_read() {
    let server = Server::start(|call| {
        if call.body.contains("NextToken=") {
            operations(&[("c", "RUNNING", 50)], "")
        } else {
            operations(&[("a", "SUCCEEDED", 30), ("b", "SUCCEEDED", 40)], "2")
        }
    })
    .await;
    let read = server.aws.recent_operations(&name()).await.unwrap();
    assert_eq!(read[0].id, "c");
    assert_eq!(server.count("ListStackSetOperations"), 2);
}

#[tokio::test]
async fn an_operation_that_only_its_running_instances_name_is_found() {
    let server = Server::start(|call| match call.operation.as_str() {
        "ListStackInstances" => {
            let row = |account: u32, status: &str, operation: &str| {
                format!(
                    "<member><Account>{account:012}</Account><Region>us-east-1</Region><Status>OUTDATED</Status>\
                     <StackInstanceStatus><DetailedStatus>{status}</DetailedStatus></StackInstanceStatus>\
                     <LastOperationId>{operation}</LastOperationId></member>"
                )
            };
            let rows = [
                row(1, "RUNNING", "old"),
                row(2, "RUNNING", "old"),
                row(3, "FAILED", "older"),
                row(4, "RUNNING", "over"),
            ];
            Answer::xml(
                "ListStackInstances",
                &format!("<Summaries>{}</Summaries>", rows.concat()),
            )
        }
        "ListStackSetOperations" => operations(&[("over", "SUCCEEDED", 50)], "2"),
        _ => Answer::xml(
            "DescribeStackSetOperation",
            &OPERATION
                .replace("our-operation", "old")
                .replace("SUCCEEDED", "RUNNING"),
        ),
    })
    .await;
    let (instances, under_way) = server.aws.stack_set_activity(&name()).await.unwrap();
    assert_eq!((instances.len(), under_way.len()), (4, 1));
    assert_eq!(under_way[0].id, "old");
    assert_eq!(server.count("ListStackSetOperations"), 1);
    assert_eq!(server.count("DescribeStackSetOperation"), 1);
}

#[tokio::test]
async fn a_stack_set_that_is_not_there_or_deleted_is_none() {
    let missing = Server::start(|_| {
        Answer::xml_error(
            404,
            "StackSetNotFoundException",
            "StackSet spot-onboarding not found",
        )
    })
    .await;
    assert_eq!(missing.aws.describe_stack_set(&name()).await.unwrap(), None);
    let deleted = Server::start(|_| {
        Answer::xml(
            "DescribeStackSet",
            "<StackSet><StackSetName>s</StackSetName><StackSetId>s:u</StackSetId><Status>DELETED</Status></StackSet>",
        )
    })
    .await;
    assert_eq!(deleted.aws.describe_stack_set(&name()).await.unwrap(), None);
    assert!(missing.aws.delete_stack_set(&name()).await.is_ok());
}

#[tokio::test]
async fn definitions_are_sent_whole_and_secrets_keep_their_previous_value() {
    let server = Server::start(|call| match call.operation.as_str() {
        "CreateStackSet" => Answer::xml("CreateStackSet", "<StackSetId>s:u</StackSetId>"),
        _ => Answer::xml("UpdateStackSet", "<OperationId>our-operation</OperationId>"),
    })
    .await;
    let definition = StackSetDefinition {
        name: name(),
        description: None,
        template_body: "{}".into(),
        parameters: BTreeMap::from([("PolicyVersion".into(), "1".into())]),
        tags: BTreeMap::from([("owner".into(), "finops".into())]),
        capabilities: vec!["CAPABILITY_NAMED_IAM".into()],
        auto_deployment: AutoDeployment {
            enabled: false,
            retain_stacks: true,
        },
        managed_execution: true,
    };
    assert_eq!(
        server.aws.create_stack_set(&definition).await.unwrap(),
        "s:u"
    );
    let update = StackSetUpdate {
        name: name(),
        description: None,
        template: Template::Previous,
        parameters: BTreeMap::from([("Token".into(), ParameterValue::Previous)]),
        tags: BTreeMap::new(),
        capabilities: definition.capabilities.clone(),
        auto_deployment: None,
        managed_execution: None,
        targets: None,
        preferences: change(1).preferences,
        operation_id: "our-operation".into(),
    };
    server.aws.update_stack_set(&update).await.unwrap();
    let calls = server.calls.lock().unwrap().clone();
    let (create, update) = (&calls[0].body, &calls[1].body);
    for part in [
        "PermissionModel=SERVICE_MANAGED",
        "AutoDeployment.Enabled=false",
        "ManagedExecution.Active=true",
    ] {
        assert!(create.contains(part), "{part} is not in {create}");
    }
    assert!(
        !create.contains("RetainStacksOnAccountRemoval"),
        "only valid with auto-deployment"
    );
    for part in [
        "UsePreviousTemplate=true",
        "Parameters.member.1.UsePreviousValue=true",
        "&Tags=",
    ] {
        assert!(update.contains(part), "{part} is not in {update}");
    }
}

#[tokio::test]
async fn a_template_over_the_limit_is_refused_before_the_call() {
    let server = Server::start(|call| panic!("{call:?}")).await;
    let error = server
        .aws
        .template_summary(&" ".repeat(51_201))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("51201 bytes"), "{error}");
}
