//! CreateStackInstances, UpdateStackInstances, DeleteStackInstances.

use super::input;
use super::{errors, sets};
use crate::stack_sets::model::{OperationAction, Overrides};
use crate::stack_sets::targets::{Filter, Targets};
use crate::stack_sets::{self, NewOperation, SetKey, StackSet};
use crate::template::{ParameterChoice, ParameterValues, resolve_parameters};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::QueryReply;
use crate::world::World;

/// Targets, Regions and the operation id that all three operations need.
struct Common {
    key: SetKey,
    id: Option<String>,
    targets: Targets,
    regions: Vec<String>,
}

fn common(world: &World, call: &Call, request: &QueryRequest) -> Result<Common, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    if set.service_managed {
        input::require_access(world)?;
    }
    let targets = input::targets(world, request, set)?;
    if targets == Targets::default() {
        return Err(AwsError::validation(
            "Either Accounts or DeploymentTargets must be specified",
        ));
    }
    let regions = input::regions(request)?;
    if regions.is_empty() {
        return Err(AwsError::validation("Regions must be specified"));
    }
    let id = input::token(request, "OperationId")?;
    Ok(Common {
        key,
        id,
        targets,
        regions,
    })
}

/// `ParameterOverrides`: absent keeps what is, empty removes all, entries say what remains.
fn overrides(request: &QueryRequest, set: &StackSet) -> Result<Overrides, AwsError> {
    let Some(choices) = input::parameters(request, "ParameterOverrides")? else {
        return Ok(Overrides::Keep);
    };
    // The values are checked as if the set itself had them.
    let mut all: Vec<ParameterChoice> = choices
        .iter()
        .filter(|choice| !(choice.use_previous && choice.value.is_none()))
        .cloned()
        .collect();
    for key in set.generation.parameters.keys() {
        if !choices
            .iter()
            .any(|choice| choice.key == *key && !choice.use_previous)
        {
            all.retain(|choice| choice.key != *key);
            all.push(ParameterChoice {
                key: key.clone(),
                value: None,
                use_previous: true,
            });
        }
    }
    let unknown = choices
        .iter()
        .find(|choice| !set.generation.parameters.contains_key(&choice.key));
    if let Some(choice) = unknown {
        return Err(AwsError::validation(format!(
            "Parameter Overrides: [{}] do not exist in the stack set",
            choice.key
        )));
    }
    if let Some(choice) = choices
        .iter()
        .find(|choice| choice.use_previous && choice.value.is_some())
    {
        return Err(AwsError::validation(format!(
            "Invalid input for parameter key {}. Cannot specify usePreviousValue as true and non empty value for a parameter",
            choice.key
        )));
    }
    resolve_parameters(
        &set.generation.template.parameters,
        &all,
        &set.generation.parameters,
    )?;
    let mut values = ParameterValues::new();
    let mut keep = Vec::new();
    for choice in choices {
        match choice.value {
            Some(value) => {
                values.insert(choice.key, value.into());
            }
            None => keep.push(choice.key),
        }
    }
    Ok(Overrides::Set(values, keep))
}

/// CreateStackInstances.
pub(super) fn create(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let targets = &common.targets;
    if targets.filter == Some(Filter::Union) {
        return Err(AwsError::validation(
            "AccountFilterType UNION is not supported for CreateStackInstances",
        ));
    }
    if !targets.units.is_empty() && !targets.accounts.is_empty() && targets.filter.is_none() {
        return Err(AwsError::validation(
            "AccountFilterType must be specified when both OrganizationalUnitIds and Accounts are specified",
        ));
    }
    submit(world, request, common, OperationAction::Create, None)
}

/// UpdateStackInstances.
pub(super) fn update(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let set = &world.stack_sets[common.key];
    let listed =
        common.targets.units.is_empty() || common.targets.filter == Some(Filter::Intersection);
    for account in common.targets.accounts.iter().filter(|_| listed) {
        for region in &common.regions {
            let known = set
                .known_region(region)
                .is_some_and(|region| set.instances.contains_key(&(*account, region)));
            if !known {
                return Err(errors::stack_instance_not_found(
                    &set.id(),
                    &account.to_string(),
                    region,
                ));
            }
        }
    }
    submit(world, request, common, OperationAction::Update, None)
}

/// DeleteStackInstances.
pub(super) fn delete(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let Some(retain) = request.boolean("RetainStacks")? else {
        return Err(AwsError::validation(
            "1 validation error detected: Value null at 'retainStacks' failed to satisfy constraint: Member must not be null",
        ));
    };
    submit(
        world,
        request,
        common,
        OperationAction::Delete,
        Some(retain),
    )
}

fn submit(
    world: &mut World,
    request: &QueryRequest,
    common: Common,
    action: OperationAction,
    retain: Option<bool>,
) -> Result<QueryReply, AwsError> {
    let set = &mut world.stack_sets[common.key];
    let overrides = overrides(request, set)?;
    let target_regions = common.regions.iter().map(|name| set.region(name)).collect();
    let operation = NewOperation {
        id: common.id,
        action,
        preferences: input::preferences(request)?,
        retain,
        targets: common.targets,
        target_regions,
        overrides,
        whole_set: false,
    };
    let id = stack_sets::submit(world, common.key, operation)?;
    Ok(sets::operation_id(&id))
}
