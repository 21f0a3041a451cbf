//! CreateStackSet, UpdateStackSet, DeleteStackSet.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::errors;
use super::input::{self, Owner};
use crate::events;
use crate::stack_sets::model::{AutoDeployment, OperationAction, Overrides};
use crate::stack_sets::targets::Targets;
use crate::stack_sets::{self, NewOperation, StackSet};
use crate::stacks::Generation;
use crate::template::{ParameterValues, resolve_parameters};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// Sets of one administrator account (CloudFormation quotas).
const MAX_SETS: usize = 1000;
const MAX_NAME: usize = 128;

fn auto_deployment(request: &QueryRequest) -> Result<Option<AutoDeployment>, AwsError> {
    let Some(scope) = request.structure("AutoDeployment") else {
        return Ok(None);
    };
    let enabled = scope.boolean("Enabled")? == Some(true);
    let retain = scope.boolean("RetainStacksOnAccountRemoval")?;
    if enabled && retain.is_none() {
        return Err(AwsError::validation(
            "RetainStacksOnAccountRemoval must be specified when AutoDeployment is enabled",
        ));
    }
    if !enabled && retain.is_some() {
        return Err(AwsError::validation(
            "RetainStacksOnAccountRemoval can only be specified when AutoDeployment is enabled",
        ));
    }
    let depends_on = scope.strings("DependsOn").unwrap_or_default();
    Ok(Some(AutoDeployment {
        enabled,
        retain: retain == Some(true),
        depends_on,
    }))
}

fn managed_execution(request: &QueryRequest) -> Result<Option<bool>, AwsError> {
    match request.structure("ManagedExecution") {
        None => Ok(None),
        Some(scope) => scope.boolean("Active"),
    }
}

fn service_managed(request: &QueryRequest) -> Result<Option<bool>, AwsError> {
    match request.get("PermissionModel") {
        None => Ok(None),
        Some("SERVICE_MANAGED") => Ok(Some(true)),
        Some("SELF_MANAGED") => Ok(Some(false)),
        Some(other) => Err(AwsError::validation(format!(
            "1 validation error detected: Value '{other}' at 'permissionModel' failed to satisfy constraint: Member must satisfy enum value set: [SERVICE_MANAGED, SELF_MANAGED]"
        ))),
    }
}

fn description(request: &QueryRequest) -> Result<Option<String>, AwsError> {
    match request.get("Description") {
        Some(text) if text.len() > 1024 => Err(AwsError::validation(
            "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024",
        )),
        text => Ok(text.map(str::to_owned)),
    }
}

/// CreateStackSet.
pub(super) fn create(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackSetName")?;
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.len() <= MAX_NAME;
    if !valid {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{name}' at 'stackSetName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )));
    }
    let delegated = input::call_as(world, &call.caller, request)? == Owner::Delegated;
    let service_managed = service_managed(request)?.unwrap_or(false);
    let auto_deployment = auto_deployment(request)?;
    let roles = request.get("AdministrationRoleARN").is_some()
        || request.get("ExecutionRoleName").is_some();
    if delegated && !service_managed {
        return Err(AwsError::validation(
            "A delegated administrator can only create stack sets with service-managed permissions",
        ));
    }
    if service_managed {
        input::require_access(world)?;
        if auto_deployment.is_none() {
            return Err(AwsError::validation(
                "AutoDeployment must be specified for StackSets with SERVICE_MANAGED permission model",
            ));
        }
        if roles {
            return Err(AwsError::validation(
                "AdministrationRoleARN and ExecutionRoleName can not be specified for StackSets with SERVICE_MANAGED permission model",
            ));
        }
        if !delegated && call.caller.account != world.organization.management {
            return Err(AwsError::validation(
                "Only the management account or a delegated administrator can create StackSets with SERVICE_MANAGED permission model",
            ));
        }
    } else if auto_deployment.is_some() {
        return Err(AwsError::validation(
            "AutoDeployment can only be specified for StackSets with SERVICE_MANAGED permission model",
        ));
    }
    let Some(template) = input::template(request, true)? else {
        return Err(AwsError::validation(
            "Exactly one of TemplateBody or TemplateUrl must be specified",
        ));
    };
    let capabilities = request.strings("Capabilities").unwrap_or_default();
    input::check_capabilities(&template, &capabilities)?;
    let choices = input::parameters(request, "Parameters")?.unwrap_or_default();
    let parameters = resolve_parameters(&template.parameters, &choices, &ParameterValues::new())?;
    let owner = if delegated {
        world.organization.management
    } else {
        call.caller.account
    };
    let client_token = input::token(request, "ClientRequestToken")?;
    let generation = Generation {
        template,
        parameters: Arc::new(parameters),
        capabilities: capabilities.into(),
        tags: input::tags(request)?.unwrap_or_default().into(),
    };
    let mine = |set: &StackSet| set.active && set.owner == owner && *set.home == *call.region;
    if let Some((_, set)) = world
        .stack_sets
        .iter()
        .find(|(_, set)| mine(set) && set.name == name)
    {
        if client_token.is_some() && set.client_token == client_token {
            return Ok(set_id(&set.id()));
        }
        return Err(errors::name_already_exists(name));
    }
    if world.stack_sets.iter().filter(|(_, set)| mine(set)).count() >= MAX_SETS {
        return Err(errors::limit_exceeded("StackSets limit exceeded"));
    }
    let (administration_role, execution_role) = if service_managed {
        (
            Some(format!(
                "arn:aws:iam::{owner}:role/aws-service-role/stacksets.cloudformation.amazonaws.com/AWSServiceRoleForCloudFormationStackSetsOrgAdmin"
            )),
            format!("stacksets-exec-{}", world.ids.hex(32)),
        )
    } else {
        let default =
            format!("arn:aws:iam::{owner}:role/AWSCloudFormationStackSetAdministrationRole");
        (
            Some(
                request
                    .get("AdministrationRoleARN")
                    .map_or(default, str::to_owned),
            ),
            request
                .get("ExecutionRoleName")
                .unwrap_or("AWSCloudFormationStackSetExecutionRole")
                .to_owned(),
        )
    };
    let set = StackSet {
        name: name.to_owned(),
        uuid: world.ids.uuid_text(),
        home: call.region.as_str().into(),
        owner,
        active: true,
        description: description(request)?,
        generation,
        service_managed,
        auto_deployment,
        managed_execution: managed_execution(request)? == Some(true),
        administration_role,
        execution_role: execution_role.into(),
        client_token,
        regions: Vec::new(),
        instances: BTreeMap::new(),
        deployed: BTreeMap::new(),
        operations: Vec::new(),
        operation_ids: HashMap::new(),
        running: Vec::new(),
        queue: VecDeque::new(),
        drift: None,
    };
    let id = set.id();
    let key = world.stack_sets.add(set);
    events::stack_set_changed(world, key);
    Ok(set_id(&id))
}

fn set_id(id: &str) -> QueryReply {
    let mut xml = Xml::new();
    xml.text("StackSetId", id);
    xml.into()
}

/// UpdateStackSet. The definition changes at once, whatever becomes of the operation.
pub(super) fn update(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    if set.service_managed {
        input::require_access(world)?;
    }
    let template =
        input::template(request, true)?.unwrap_or_else(|| set.generation.template.clone());
    let capabilities = request.strings("Capabilities").unwrap_or_default();
    input::check_capabilities(&template, &capabilities)?;
    let choices = input::parameters(request, "Parameters")?.unwrap_or_default();
    let parameters =
        resolve_parameters(&template.parameters, &choices, &set.generation.parameters)?;
    let tags = input::tags(request)?;
    let description = description(request)?;
    let auto_deployment = auto_deployment(request)?;
    let model = service_managed(request)?;
    let managed_execution = managed_execution(request)?;
    let preferences = input::preferences(request)?;
    let targets = input::targets(world, request, set)?;
    let regions = input::regions(request)?;
    let id = input::token(request, "OperationId")?;
    let targeted = targets != Targets::default();
    if targeted == regions.is_empty() {
        return Err(AwsError::validation(
            "If Accounts or DeploymentTargets are specified, Regions must be specified too, and the other way round",
        ));
    }
    if auto_deployment.is_some() && targeted {
        return Err(AwsError::validation(
            "AutoDeployment can not be specified with DeploymentTargets or Regions",
        ));
    }
    if model.is_some_and(|model| model != set.service_managed) {
        return Err(AwsError::validation(if set.instances.is_empty() {
            "the sandbox does not change the PermissionModel of a stack set: delete it and create it again"
        } else {
            "PermissionModel can only be changed when the stack set has no stack instances"
        }));
    }
    if auto_deployment.is_some() && !set.service_managed {
        return Err(AwsError::validation(
            "AutoDeployment can only be specified for StackSets with SERVICE_MANAGED permission model",
        ));
    }
    if managed_execution.is_some_and(|active| active != set.managed_execution)
        && set.busy().is_some()
    {
        return Err(errors::invalid_operation(
            "ManagedExecution can not be changed while operations are running or queued",
        ));
    }
    stack_sets::check_acceptable(set, id.as_deref())?;
    let unit_without_instances = targets.units.iter().find(|unit| {
        !set.deployed.contains_key(unit)
            && !set.instances.values().any(|instance| {
                instance
                    .unit
                    .is_some_and(|own| world.organization.is_under(own, **unit))
            })
    });
    if let Some(unit) = unit_without_instances {
        let unit = &world.organization.ou(*unit).id;
        return Err(errors::stack_instance_not_found(
            &set.id(),
            unit,
            &regions.join(", "),
        ));
    }
    let set = &mut world.stack_sets[key];
    let changed =
        template.body != set.generation.template.body || parameters != *set.generation.parameters;
    set.generation = Generation {
        template,
        parameters: Arc::new(parameters),
        capabilities: capabilities.into(),
        tags: tags.map_or_else(|| set.generation.tags.clone(), Arc::from),
    };
    if description.is_some() {
        set.description = description;
    }
    if auto_deployment.is_some() {
        set.auto_deployment = auto_deployment;
    }
    if let Some(active) = managed_execution {
        set.managed_execution = active;
    }
    if changed {
        stack_sets::mark_outdated(set);
    }
    let target_regions = regions.iter().map(|name| set.region(name)).collect();
    let operation = NewOperation {
        id,
        action: OperationAction::Update,
        preferences,
        retain: None,
        targets,
        target_regions,
        overrides: Overrides::Keep,
        whole_set: true,
    };
    let id = stack_sets::submit(world, key, operation)?;
    Ok(operation_id(&id))
}

/// The answer of everything that starts an operation.
pub(super) fn operation_id(id: &str) -> QueryReply {
    let mut xml = Xml::new();
    xml.text("OperationId", id);
    xml.into()
}

/// DeleteStackSet. Deleting a set that does not exist succeeds.
pub(super) fn delete(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = match input::stack_set(world, call, request) {
        Ok(key) => key,
        Err(error) if error.code == "StackSetNotFoundException" => return Ok(Xml::new().into()),
        Err(error) => return Err(error),
    };
    let set = &mut world.stack_sets[key];
    if let Some(busy) = set.busy() {
        return Err(errors::operation_in_progress(
            &set.arn(),
            &set.operations[busy as usize].id,
        ));
    }
    if !set.instances.is_empty() {
        return Err(errors::stack_set_not_empty());
    }
    set.active = false;
    events::stack_set_changed(world, key);
    Ok(Xml::new().into())
}
