//! A stack set's definition: reading, creating, changing and deleting it.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{
    AutoDeployment as SdkAutoDeployment, Capability, ManagedExecution, Parameter, PermissionModels,
    StackSet, StackSetStatus, Tag,
};
use onboarding_core::{
    ids::{Region, StackSetName},
    inventory::ObservedStackSet,
    stackset_sync::OperationTargets,
};

use super::{OperationPreferences, Submission, deployment_targets, texts};
use crate::{Aws, AwsError, ErrorClass, templates::check_size};

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterValue {
    /// This value.
    Value(String),
    /// The value that the stack set, or the instance, has: the only way to keep one that reads back as `****`.
    Previous,
}

/// The template of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// This text.
    Body(String),
    /// The one that the stack set has.
    Previous,
}

/// Whether AWS deploys by itself to accounts that join the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoDeployment {
    /// On or off.
    pub enabled: bool,
    /// Whether stacks of accounts that leave the targets stay. Only meaningful when enabled.
    pub retain_stacks: bool,
}

impl AutoDeployment {
    fn to_sdk(self) -> SdkAutoDeployment {
        SdkAutoDeployment::builder()
            .enabled(self.enabled)
            // CloudFormation takes this only together with `Enabled`.
            .set_retain_stacks_on_account_removal(self.enabled.then_some(self.retain_stacks))
            .build()
    }
}

/// A stack set to create, with service-managed permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSetDefinition {
    /// Its name.
    pub name: StackSetName,
    /// Its description.
    pub description: Option<String>,
    /// Its template, at most [`crate::templates::LARGEST_TEMPLATE`] bytes.
    pub template_body: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// Its tags, which its stacks get too.
    pub tags: BTreeMap<String, String>,
    /// The capabilities that are granted (`CAPABILITY_NAMED_IAM`).
    pub capabilities: Vec<String>,
    /// Whether AWS deploys by itself to new accounts.
    pub auto_deployment: AutoDeployment,
    /// Whether operations that do not conflict run together and others queue.
    pub managed_execution: bool,
}

/// A change of a stack set. Parameters, tags and capabilities are complete: what is left out is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSetUpdate {
    /// The stack set.
    pub name: StackSetName,
    /// Its description.
    pub description: Option<String>,
    /// Its template.
    pub template: Template,
    /// All its parameters.
    pub parameters: BTreeMap<String, ParameterValue>,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// The capabilities that are granted.
    pub capabilities: Vec<String>,
    /// Only when it changes; AWS then allows no targets.
    pub auto_deployment: Option<AutoDeployment>,
    /// Only when it changes, which AWS refuses while operations run or queue.
    pub managed_execution: Option<bool>,
    /// The instances to update, with their Regions; none for all of them. The others become outdated when the template or
    /// a parameter changes.
    pub targets: Option<(OperationTargets, Vec<Region>)>,
    /// How the operation goes through the instances.
    pub preferences: OperationPreferences,
    /// The operation's id, from [`super::new_operation_id`], journaled before the call.
    pub operation_id: String,
}

impl Aws {
    /// A stack set's definition; none when there is no active one of that name.
    ///
    /// # Errors
    /// As any call.
    pub async fn describe_stack_set(
        &self,
        name: &StackSetName,
    ) -> Result<Option<ObservedStackSet>, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeStackSet";
        let output = match self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .describe_stack_set()
                    .stack_set_name(name.as_str())
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await
        {
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(None),
            other => other?,
        };
        let set = output
            .stack_set
            .ok_or_else(|| AwsError::malformed(OPERATION, "no stack set"))?;
        if set.status == Some(StackSetStatus::Deleted) {
            return Ok(None);
        }
        observed(OPERATION, name, set).map(Some)
    }

    /// Creates a stack set with service-managed permissions; returns its id. It has no instances yet.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the template is too large, [`ErrorClass::Conflict`] when the name is taken.
    pub async fn create_stack_set(
        &self,
        definition: &StackSetDefinition,
    ) -> Result<String, AwsError> {
        const OPERATION: &str = "cloudformation:CreateStackSet";
        check_size(OPERATION, &definition.template_body)?;
        // One token for all attempts: AWS then takes a repeated request for the same one.
        let token = uuid::Uuid::new_v4().to_string();
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .create_stack_set()
                    .stack_set_name(definition.name.as_str())
                    .set_description(definition.description.clone())
                    .template_body(&definition.template_body)
                    .set_parameters(Some(
                        definition
                            .parameters
                            .iter()
                            .map(|(key, value)| {
                                Parameter::builder()
                                    .parameter_key(key)
                                    .parameter_value(value)
                                    .build()
                            })
                            .collect(),
                    ))
                    .set_tags(Some(tags(&definition.tags)))
                    .set_capabilities(Some(capabilities(&definition.capabilities)))
                    .permission_model(PermissionModels::ServiceManaged)
                    .auto_deployment(definition.auto_deployment.to_sdk())
                    .managed_execution(managed_execution(definition.managed_execution))
                    .call_as(self.call_as.to_sdk())
                    .client_request_token(&token)
                    .send()
            })
            .await?;
        output
            .stack_set_id
            .ok_or_else(|| AwsError::malformed(OPERATION, "no stack set id"))
    }

    /// Changes a stack set and updates instances. The new definition stays even when the operation fails.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the template is too large or too many units are targeted.
    pub async fn update_stack_set(&self, update: &StackSetUpdate) -> Result<Submission, AwsError> {
        const OPERATION: &str = "cloudformation:UpdateStackSet";
        if let Template::Body(body) = &update.template {
            check_size(OPERATION, body)?;
        }
        let targets = match &update.targets {
            Some((targets, regions)) => {
                Some((deployment_targets(OPERATION, targets)?, texts(regions)))
            }
            None => None,
        };
        let (targets, regions) = targets.unzip();
        let result = self
            .governed
            .call(OPERATION, || {
                let request = self
                    .clients
                    .cloudformation()
                    .update_stack_set()
                    .stack_set_name(update.name.as_str())
                    .set_description(update.description.clone())
                    .set_parameters(Some(update.parameters.iter().map(parameter).collect()))
                    .set_tags(Some(tags(&update.tags)))
                    .set_capabilities(Some(capabilities(&update.capabilities)))
                    .set_auto_deployment(update.auto_deployment.map(AutoDeployment::to_sdk))
                    .set_managed_execution(update.managed_execution.map(managed_execution))
                    .set_deployment_targets(targets.clone())
                    .set_regions(regions.clone())
                    .operation_preferences(update.preferences.to_sdk())
                    .operation_id(&update.operation_id)
                    .call_as(self.call_as.to_sdk());
                match &update.template {
                    Template::Body(body) => request.template_body(body),
                    Template::Previous => request.use_previous_template(true),
                }
                .send()
            })
            .await
            .map(|output| output.operation_id);
        self.submitted(&update.name, &update.operation_id, result)
            .await
    }

    /// Deletes a stack set that has no instances left. One that does not exist is no error, as with AWS.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Conflict`] when it has instances or an operation is running.
    pub async fn delete_stack_set(&self, name: &StackSetName) -> Result<(), AwsError> {
        let result = self
            .governed
            .call("cloudformation:DeleteStackSet", || {
                self.clients
                    .cloudformation()
                    .delete_stack_set()
                    .stack_set_name(name.as_str())
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await;
        match result {
            Err(error) if error.class() != ErrorClass::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

pub(super) fn parameter((key, value): (&String, &ParameterValue)) -> Parameter {
    let parameter = Parameter::builder().parameter_key(key);
    match value {
        ParameterValue::Value(value) => parameter.parameter_value(value),
        ParameterValue::Previous => parameter.use_previous_value(true),
    }
    .build()
}

fn tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

fn capabilities(names: &[String]) -> Vec<Capability> {
    names
        .iter()
        .map(|name| Capability::from(name.as_str()))
        .collect()
}

fn managed_execution(active: bool) -> ManagedExecution {
    ManagedExecution::builder().active(active).build()
}

fn observed(
    operation: &'static str,
    name: &StackSetName,
    set: StackSet,
) -> Result<ObservedStackSet, AwsError> {
    let mut capabilities: Vec<String> = set
        .capabilities()
        .iter()
        .map(|capability| capability.as_str().to_owned())
        .collect();
    capabilities.sort_unstable();
    Ok(ObservedStackSet {
        name: name.clone(),
        service_managed: set.permission_model == Some(PermissionModels::ServiceManaged),
        auto_deployment: set
            .auto_deployment()
            .and_then(|auto| auto.enabled)
            .unwrap_or(false),
        retain_stacks_on_account_removal: set
            .auto_deployment()
            .and_then(|auto| auto.retain_stacks_on_account_removal)
            .unwrap_or(false),
        managed_execution: set
            .managed_execution()
            .and_then(|execution| execution.active)
            .unwrap_or(false),
        drift_checked_at: set
            .stack_set_drift_detection_details()
            .and_then(|details| details.last_drift_check_timestamp())
            .map(|time| time.secs()),
        organizational_units: set
            .organizational_unit_ids()
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| AwsError::malformed(operation, "a malformed organizational unit id"))?,
        capabilities,
        id: set
            .stack_set_id
            .ok_or_else(|| AwsError::malformed(operation, "no stack set id"))?,
        arn: set.stack_set_arn,
        description: set.description,
        template_body: set.template_body.unwrap_or_default(),
        parameters: set
            .parameters
            .unwrap_or_default()
            .into_iter()
            .filter_map(|parameter| Some((parameter.parameter_key?, parameter.parameter_value?)))
            .collect(),
        tags: set
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tag| Some((tag.key?, tag.value?)))
            .collect(),
    })
}
