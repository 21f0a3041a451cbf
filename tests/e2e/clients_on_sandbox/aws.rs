//! aws-ops against the simulated AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_ops::stack_sets::{
    AutoDeployment, DriftDetection, FailureTolerance, InstanceChange, InstanceDeletion, Operation,
    OperationAction, OperationPreferences, OperationStatus, ParameterValue, ResultStatus,
    StackSetDefinition, StackSetUpdate, Submission, Template, TrustedAccess, new_detection_id,
    new_operation_id,
};
use aws_ops::{Aws, SnapshotOptions, SnapshotStrategy, StrategyChoice};
use e2e::wire::Wire;
use onboarding_core::ids::{OuId, Region, StackSetName};
use onboarding_core::inventory::{
    DETECTION_PREFIX, DriftStatus, InstanceDetailedStatus, InstanceStatus, StackDrift,
};
use onboarding_core::stackset_sync::OperationTargets;

use super::{aws, until, with_sandbox};

const SCENARIO: &str = "
clock_speed = 600
[organization]
accounts = 30
ous = 5
rates = false
empty_pages = 0.3
trusted_access = true
";

const TEMPLATE: &str = r#"{
  "Parameters": {
    "PolicyVersion": { "Type": "String", "Default": "1" },
    "RepairNonce": { "Type": "String", "Default": "0" }
  },
  "Resources": { "SpotRole": { "Type": "AWS::IAM::Role", "Properties": {
    "RoleName": "SpotRole",
    "Description": { "Ref": "PolicyVersion" },
    "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [
      { "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }
    ] }
  } } }
}"#;

fn name() -> Result<StackSetName> {
    "spot-onboarding".parse().context("a stack set name")
}

fn region() -> Result<Region> {
    "us-east-1".parse().context("a Region")
}

fn preferences() -> Result<OperationPreferences> {
    Ok(OperationPreferences {
        max_concurrent: 10,
        region_order: vec![region()?],
        tolerance: FailureTolerance::Any,
    })
}

async fn root(aws: &Aws) -> Result<OuId> {
    let snapshot = aws
        .organization_snapshot(&SnapshotOptions::default())
        .await?
        .snapshot;
    Ok(snapshot.unit(0).context("no root")?.id.clone())
}

async fn create(aws: &Aws) -> Result<()> {
    let definition = StackSetDefinition {
        name: name()?,
        description: None,
        template_body: TEMPLATE.to_owned(),
        parameters: BTreeMap::from([
            ("PolicyVersion".to_owned(), "1".to_owned()),
            ("RepairNonce".to_owned(), "0".to_owned()),
        ]),
        tags: BTreeMap::new(),
        capabilities: vec!["CAPABILITY_NAMED_IAM".to_owned()],
        auto_deployment: AutoDeployment {
            enabled: false,
            retain_stacks: false,
        },
        managed_execution: true,
    };
    aws.create_stack_set(&definition).await?;
    Ok(())
}

fn everywhere(root: &OuId) -> Result<InstanceChange> {
    Ok(InstanceChange {
        stack_set: name()?,
        targets: OperationTargets {
            organizational_units: vec![root.clone()],
            ..OperationTargets::default()
        },
        regions: vec![region()?],
        overrides: BTreeMap::new(),
        preferences: preferences()?,
        operation_id: new_operation_id(),
    })
}

/// Follows an operation to its end.
async fn ended(aws: &Aws, submission: &Submission) -> Result<Operation> {
    let Submission::Started { operation_id } = submission else {
        panic!("{submission:?}")
    };
    until("the operation ends", async || {
        let operation = aws.describe_operation(&name()?, operation_id).await?;
        Ok(operation.outcome().is_some().then_some(operation))
    })
    .await
}

#[test]
fn both_ways_to_read_an_organization_find_the_same() {
    with_sandbox(SCENARIO, async |sandbox| {
        let aws = aws(&sandbox).await?;
        let read = async |strategy| {
            let options = SnapshotOptions {
                strategy: StrategyChoice::Fixed(strategy),
                ..SnapshotOptions::default()
            };
            aws.organization_snapshot(&options).await
        };
        let listed = read(SnapshotStrategy::ListAccounts).await?;
        let walked = read(SnapshotStrategy::Walk).await?;
        assert_eq!(listed.strategy, SnapshotStrategy::ListAccounts);
        assert_eq!(listed.snapshot.accounts.len(), 31);
        let places = |listing: &aws_ops::Listing| -> BTreeSet<_> {
            let snapshot = &listing.snapshot;
            snapshot
                .accounts
                .iter()
                .map(|account| (account.id, account.state, snapshot.path(account.parent)))
                .collect()
        };
        assert_eq!(places(&listed), places(&walked));
        assert_eq!(listed.snapshot.unit_names(), walked.snapshot.unit_names());

        let account = &listed.snapshot.accounts[7];
        let member = aws
            .member(account.id)
            .await?
            .context("the account is gone")?;
        assert_eq!(
            Some(&member.lineage[0]),
            listed.snapshot.unit(account.parent).map(|unit| &unit.id)
        );
        assert_eq!(
            aws.resource_tags(&account.id.to_string()).await?,
            Some(BTreeMap::new())
        );
        assert_eq!(
            aws.caller_identity().await?.account,
            listed.snapshot.management_account
        );
        assert_eq!(aws.account_alias().await?, None);
        Ok(())
    });
}

#[test]
fn without_paths_the_parents_of_an_account_are_asked_for() {
    with_sandbox(
        "[organization]\npaths = false\nrates = false",
        async |sandbox| {
            let aws = aws(&sandbox).await?;
            let listing = aws
                .organization_snapshot(&SnapshotOptions::default())
                .await?;
            assert_eq!(listing.strategy, SnapshotStrategy::Walk);
            let account = &listing.snapshot.accounts[3];
            let member = aws
                .member(account.id)
                .await?
                .context("the account is gone")?;
            assert_eq!(
                Some(&member.lineage[0]),
                listing.snapshot.unit(account.parent).map(|unit| &unit.id)
            );
            assert!(aws.api_calls().contains_key("organizations:ListParents"));
            Ok(())
        },
    );
}

#[test]
fn trusted_access_is_switched_on() {
    with_sandbox("[organization]\nrates = false", async |sandbox| {
        let aws = aws(&sandbox).await?;
        assert_eq!(aws.trusted_access().await?, TrustedAccess::Disabled);
        aws.activate_trusted_access().await?;
        assert_eq!(aws.trusted_access().await?, TrustedAccess::Enabled);
        Ok(())
    });
}

#[test]
fn a_stack_set_goes_through_its_life() {
    with_sandbox(SCENARIO, async |sandbox| {
        let aws = aws(&sandbox).await?;
        let root = root(&aws).await?;
        assert_eq!(
            aws.template_summary(TEMPLATE).await?.resource_types,
            ["AWS::IAM::Role"]
        );
        create(&aws).await?;

        let created = ended(
            &aws,
            &aws.create_stack_instances(&everywhere(&root)?).await?,
        )
        .await?;
        assert_eq!(
            (created.status, created.failed_instances),
            (OperationStatus::Succeeded, Some(0))
        );
        let instances = aws.list_stack_instances(&name()?).await?;
        assert_eq!(instances.len(), 30);
        for instance in &instances {
            assert_eq!(instance.status, InstanceStatus::Current);
            assert_eq!(instance.detailed_status, InstanceDetailedStatus::Succeeded);
            assert_eq!(instance.targeted_ou.as_ref(), Some(&root));
        }
        let results = until("all results are listed", async || {
            let results = aws.operation_results(&name()?, &created.id).await?;
            Ok((results.len() == 30).then_some(results))
        })
        .await?;
        assert!(
            results
                .iter()
                .all(|result| result.status == ResultStatus::Succeeded)
        );

        let update = StackSetUpdate {
            name: name()?,
            description: None,
            template: Template::Previous,
            parameters: BTreeMap::from([(
                "PolicyVersion".to_owned(),
                ParameterValue::Value("2".to_owned()),
            )]),
            tags: BTreeMap::new(),
            capabilities: vec!["CAPABILITY_NAMED_IAM".to_owned()],
            auto_deployment: None,
            managed_execution: None,
            targets: None,
            preferences: preferences()?,
            operation_id: new_operation_id(),
        };
        assert_eq!(
            ended(&aws, &aws.update_stack_set(&update).await?)
                .await?
                .status,
            OperationStatus::Succeeded
        );
        let observed = aws
            .describe_stack_set(&name()?)
            .await?
            .context("the stack set is gone")?;
        assert_eq!(observed.parameters["PolicyVersion"], "2");
        ended(
            &aws,
            &aws.update_stack_instances(&everywhere(&root)?).await?,
        )
        .await?;

        let deletion = InstanceDeletion {
            change: everywhere(&root)?,
            retain_stacks: false,
        };
        ended(&aws, &aws.delete_stack_instances(&deletion).await?).await?;
        assert_eq!(aws.list_stack_instances(&name()?).await?, []);
        aws.delete_stack_set(&name()?).await?;
        assert_eq!(aws.describe_stack_set(&name()?).await?, None);
        Ok(())
    });
}

#[test]
fn drift_is_looked_for_by_cloudformation() {
    with_sandbox(SCENARIO, async |sandbox| {
        let aws = aws(&sandbox).await?;
        let root = root(&aws).await?;
        create(&aws).await?;
        let never = aws.describe_stack_set(&name()?).await?;
        assert_eq!(never.context("no stack set")?.drift_checked_at, None);
        let deployed = aws.create_stack_instances(&everywhere(&root)?).await?;
        ended(&aws, &deployed).await?;
        let before = aws.list_stack_instances(&name()?).await?;
        assert!(
            before
                .iter()
                .all(|instance| instance.drift == StackDrift::default())
        );
        let gone = before[0].account;
        let theirs = Wire::new(sandbox.endpoint(), format!("AKIA{gone}ROOT"));
        let role = [("Version", "2010-05-08"), ("RoleName", "SpotRole")];
        theirs.query("iam", "DeleteRole", &role).await?;

        let detection = DriftDetection {
            stack_set: name()?,
            preferences: preferences()?,
            operation_id: new_detection_id(),
        };
        let submission = aws.detect_drift(&detection).await?;
        let operation = ended(&aws, &submission).await?;
        assert_eq!(operation.action, OperationAction::DetectDrift);
        assert_eq!(operation.status, OperationStatus::Succeeded);
        let after = aws.list_stack_instances(&name()?).await?;
        assert_eq!(after.len(), before.len());
        for instance in after {
            let expected = if instance.account == gone {
                DriftStatus::Drifted
            } else {
                DriftStatus::InSync
            };
            assert_eq!(instance.drift.status, expected, "{instance:?}");
            assert!(instance.drift.checked_at.is_some());
            // What only looked leaves the instance as it is, but for its last operation.
            assert_eq!(instance.status, InstanceStatus::Current);
            let last = instance.last_operation_id.as_deref();
            assert!(last.is_some_and(|id| id.starts_with(DETECTION_PREFIX)));
        }
        let checked = aws.describe_stack_set(&name()?).await?;
        assert!(checked.context("no stack set")?.drift_checked_at.is_some());
        Ok(())
    });
}

#[test]
fn an_operation_is_stopped() {
    with_sandbox(&SCENARIO.replace("600", "20"), async |sandbox| {
        let aws = aws(&sandbox).await?;
        let root = root(&aws).await?;
        create(&aws).await?;
        let submission = aws.create_stack_instances(&everywhere(&root)?).await?;
        let Submission::Started { operation_id } = &submission else {
            panic!("{submission:?}")
        };
        aws.stop_operation(&name()?, operation_id).await?;
        assert_eq!(
            ended(&aws, &submission).await?.status,
            OperationStatus::Stopped
        );
        until(
            "the listing, which lags behind, has the operation's end",
            async || {
                let operations = aws.recent_operations(&name()?).await?;
                Ok(operations.into_iter().find(|operation| {
                    operation.id == *operation_id && operation.ended_at.is_some()
                }))
            },
        )
        .await?;
        Ok(())
    });
}

#[test]
fn the_providers_queue_is_there() {
    with_sandbox("", async |sandbox| {
        let aws = aws(&sandbox).await?;
        let url = aws.queue_url("spot-onboarding").await?;
        assert!(aws.queue_attributes(&url).await?["QueueArn"].ends_with(":spot-onboarding"));
        assert_eq!(aws.receive_messages(&url, 10, Duration::ZERO).await?, []);
        Ok(())
    });
}

#[test]
fn a_message_is_received_given_back_and_deleted() {
    with_sandbox("clock_speed = 1", async |sandbox| {
        let aws = aws(&sandbox).await?;
        let url = aws.queue_url("spot-onboarding").await?;
        aws.send_message(&url, "hello").await?;
        let received = async || {
            let mut all = aws
                .receive_messages(&url, 10, Duration::from_secs(5))
                .await?;
            anyhow::Ok(all.pop())
        };
        let first = received().await?.context("no message")?;
        assert_eq!(&*first.body, "hello");
        aws.change_message_visibility(&url, &first.receipt, Duration::ZERO)
            .await?;
        let second = received().await?.context("it was not given back")?;
        assert_eq!(second.receive_count, 2);
        aws.delete_message(&url, &second.receipt).await?;
        let left = aws.queue_attributes(&url).await?;
        assert_eq!(left["ApproximateNumberOfMessagesNotVisible"], "0");
        Ok(())
    });
}

#[test]
fn an_instance_is_given_parameters_of_its_own() {
    with_sandbox(SCENARIO, async |sandbox| {
        let aws = aws(&sandbox).await?;
        let root = root(&aws).await?;
        aws.activate_trusted_access().await?;
        create(&aws).await?;
        let own = BTreeMap::from([
            ("PolicyVersion".to_owned(), "9".to_owned()),
            ("RepairNonce".to_owned(), "1".to_owned()),
        ]);
        let given = |name: &String| (name.clone(), ParameterValue::Value(own[name].clone()));
        let change = InstanceChange {
            overrides: own.keys().map(given).collect(),
            ..everywhere(&root)?
        };
        ended(&aws, &aws.create_stack_instances(&change).await?).await?;
        let instances = aws.list_stack_instances(&name()?).await?;
        let overrides = async |account| {
            aws.instance_overrides(&name()?, account, &region()?)
                .await
                .map_err(anyhow::Error::from)
        };
        assert_eq!(overrides(instances[0].account).await?, Some(own.clone()));
        // Without any, an update keeps them.
        ended(
            &aws,
            &aws.update_stack_instances(&everywhere(&root)?).await?,
        )
        .await?;
        assert_eq!(overrides(instances[0].account).await?, Some(own));
        // With one, those that are named as they were.
        let change = InstanceChange {
            overrides: BTreeMap::from([
                ("PolicyVersion".to_owned(), ParameterValue::Previous),
                (
                    "RepairNonce".to_owned(),
                    ParameterValue::Value("2".to_owned()),
                ),
            ]),
            ..everywhere(&root)?
        };
        ended(&aws, &aws.update_stack_instances(&change).await?).await?;
        let own = BTreeMap::from([
            ("PolicyVersion".to_owned(), "9".to_owned()),
            ("RepairNonce".to_owned(), "2".to_owned()),
        ]);
        assert_eq!(overrides(instances[0].account).await?, Some(own));
        assert_eq!(overrides("000000000001".parse()?).await?, None);
        Ok(())
    });
}
