//! A stack set's instances: listing, creating, updating and deleting them.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Parameter, StackInstanceSummary};
use onboarding_core::{
    ids::{AwsAccountId, Region, StackSetName},
    inventory::{DriftStatus, InstanceDetailedStatus, InstanceStatus, StackDrift, StackInstance},
};

use super::{
    InstanceChange, Submission,
    definition::{ParameterValue, parameter},
    deployment_targets, texts,
};
use crate::{Aws, AwsError, ErrorClass, stacks::key_and_value};

/// A deletion of stack instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDeletion {
    /// What to delete, and how.
    pub change: InstanceChange,
    /// Whether the stacks stay in their accounts, no longer managed.
    pub retain_stacks: bool,
}

/// Sends a change of instances. The SDK's three requests have the same fields and no trait in common.
macro_rules! change_instances {
    ($aws:expr, $operation:literal, $change:expr, $request:expr) => {{
        let request = $request
            .stack_set_name($change.stack_set.as_str())
            .deployment_targets(deployment_targets($operation, &$change.targets)?)
            .set_regions(Some(texts(&$change.regions)))
            .operation_preferences($change.preferences.to_sdk())
            .operation_id(&$change.operation_id)
            .call_as($aws.call_as.to_sdk());
        let answer = $aws
            .governed
            .call($operation, || request.clone().send())
            .await
            .map(|output| output.operation_id);
        $aws.submitted(&$change.stack_set, &$change.operation_id, answer)
            .await
    }};
}

impl Aws {
    /// All instances of a stack set, in AWS's order.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::NotFound`] when there is no such stack set.
    pub async fn list_stack_instances(
        &self,
        name: &StackSetName,
    ) -> Result<Vec<StackInstance>, AwsError> {
        const OPERATION: &str = "cloudformation:ListStackInstances";
        let mut instances = Vec::new();
        self.governed
            .pages(
                OPERATION,
                |token| {
                    self.clients
                        .cloudformation()
                        .list_stack_instances()
                        .stack_set_name(name.as_str())
                        .max_results(100)
                        .set_next_token(token)
                        .call_as(self.call_as.to_sdk())
                        .send()
                },
                |output| {
                    for summary in output.summaries.unwrap_or_default() {
                        instances.push(instance(OPERATION, summary)?);
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(instances)
    }

    /// The parameter overrides of one instance, by name; none when there is no such instance.
    ///
    /// # Errors
    /// As any call.
    pub async fn instance_overrides(
        &self,
        name: &StackSetName,
        account: AwsAccountId,
        region: &Region,
    ) -> Result<Option<BTreeMap<String, String>>, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeStackInstance";
        let answer = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .describe_stack_instance()
                    .stack_set_name(name.as_str())
                    .stack_instance_account(account.to_string())
                    .stack_instance_region(region.as_str())
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await;
        let output = match answer {
            Ok(output) => output,
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let instance = output
            .stack_instance
            .ok_or_else(|| AwsError::malformed(OPERATION, "no stack instance"))?;
        let overrides = instance.parameter_overrides.unwrap_or_default().into_iter();
        Ok(Some(overrides.filter_map(key_and_value).collect()))
    }

    /// Creates the instances that the targets miss; those that exist are left alone.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::Invalid`] for targets that AWS does not take.
    pub async fn create_stack_instances(
        &self,
        change: &InstanceChange,
    ) -> Result<Submission, AwsError> {
        let request = self
            .clients
            .cloudformation()
            .create_stack_instances()
            .set_parameter_overrides(overrides(&change.overrides));
        change_instances!(self, "cloudformation:CreateStackInstances", change, request)
    }

    /// Brings existing instances to the stack set's definition; their parameter overrides stay, unless others are given.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::Invalid`] for targets that AWS does not take.
    pub async fn update_stack_instances(
        &self,
        change: &InstanceChange,
    ) -> Result<Submission, AwsError> {
        let request = self
            .clients
            .cloudformation()
            .update_stack_instances()
            .set_parameter_overrides(overrides(&change.overrides));
        change_instances!(self, "cloudformation:UpdateStackInstances", change, request)
    }

    /// Takes all parameter overrides of existing instances away, and brings them to the stack set's definition: an empty list, where
    /// none at all would leave them (CloudFormation API reference, UpdateStackInstances, `ParameterOverrides`).
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::Invalid`] for targets that AWS does not take.
    pub async fn reset_stack_instances(
        &self,
        change: &InstanceChange,
    ) -> Result<Submission, AwsError> {
        let request = self
            .clients
            .cloudformation()
            .update_stack_instances()
            .set_parameter_overrides(Some(Vec::new()));
        change_instances!(self, "cloudformation:UpdateStackInstances", change, request)
    }

    /// Deletes instances, and their stacks unless those are retained.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::Invalid`] for targets that AWS does not take.
    pub async fn delete_stack_instances(
        &self,
        deletion: &InstanceDeletion,
    ) -> Result<Submission, AwsError> {
        let (change, cloudformation) = (&deletion.change, self.clients.cloudformation());
        let request = cloudformation
            .delete_stack_instances()
            .retain_stacks(deletion.retain_stacks);
        change_instances!(self, "cloudformation:DeleteStackInstances", change, request)
    }
}

/// Absent when there are none: an empty list would take away those that the instances have (CloudFormation API reference,
/// `ParameterOverrides`).
fn overrides(overrides: &BTreeMap<String, ParameterValue>) -> Option<Vec<Parameter>> {
    (!overrides.is_empty()).then(|| overrides.iter().map(parameter).collect())
}

fn instance(
    operation: &'static str,
    summary: StackInstanceSummary,
) -> Result<StackInstance, AwsError> {
    let malformed = || AwsError::malformed(operation, "an instance without account or Region");
    Ok(StackInstance {
        account: summary
            .account()
            .and_then(|id| id.parse().ok())
            .ok_or_else(malformed)?,
        region: summary
            .region()
            .and_then(|region| region.parse().ok())
            .ok_or_else(malformed)?,
        status: match summary.status().map(|status| status.as_str()) {
            Some("CURRENT") => InstanceStatus::Current,
            Some("OUTDATED") => InstanceStatus::Outdated,
            Some("INOPERABLE") => InstanceStatus::Inoperable,
            _ => InstanceStatus::Unknown,
        },
        detailed_status: detailed(
            summary
                .stack_instance_status()
                .and_then(|status| status.detailed_status())
                .map(|status| status.as_str()),
        ),
        drift: StackDrift {
            status: drift(summary.drift_status().map(|status| status.as_str())),
            checked_at: summary.last_drift_check_timestamp().map(|time| time.secs()),
        },
        // Empty for instances that are not of an organization.
        targeted_ou: summary
            .organizational_unit_id()
            .and_then(|id| id.parse().ok()),
        status_reason: boxed(summary.status_reason),
        stack_id: boxed(summary.stack_id),
        last_operation_id: boxed(summary.last_operation_id),
    })
}

fn detailed(status: Option<&str>) -> InstanceDetailedStatus {
    match status {
        Some("PENDING") => InstanceDetailedStatus::Pending,
        Some("RUNNING") => InstanceDetailedStatus::Running,
        Some("SUCCEEDED") => InstanceDetailedStatus::Succeeded,
        Some("FAILED") => InstanceDetailedStatus::Failed,
        Some("CANCELLED") => InstanceDetailedStatus::Cancelled,
        Some("INOPERABLE") => InstanceDetailedStatus::Inoperable,
        Some("SKIPPED_SUSPENDED_ACCOUNT") => InstanceDetailedStatus::SkippedSuspendedAccount,
        Some("FAILED_IMPORT") => InstanceDetailedStatus::FailedImport,
        _ => InstanceDetailedStatus::Unknown,
    }
}

/// An instance that was never checked may have no drift status at all.
fn drift(status: Option<&str>) -> DriftStatus {
    match status {
        Some("DRIFTED") => DriftStatus::Drifted,
        Some("IN_SYNC") => DriftStatus::InSync,
        None | Some("NOT_CHECKED") => DriftStatus::NotChecked,
        Some(_) => DriftStatus::Unknown,
    }
}

fn boxed(text: Option<String>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty())
        .map(String::into_boxed_str)
}
