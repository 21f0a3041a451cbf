//! The CloudFormation API (Query protocol): what requests mean, which ones are refused, and how answers look.
//!
//! What then happens is in `stack_sets` and `stacks`.

mod access;
mod change_set_views;
mod change_sets;
pub(crate) mod errors;
mod events;
mod input;
mod instance_views;
mod paging;
mod plain;
mod set_instances;
mod set_operations;
mod set_views;
mod sets;
mod templates;

use crate::iam;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::QueryReply;
use crate::world::World;

/// Answers one CloudFormation call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    authorize(world, call, request)?;
    match request.action.as_str() {
        "ActivateOrganizationsAccess" => access::activate(world, call),
        "DeactivateOrganizationsAccess" => access::deactivate(world, call),
        "DescribeOrganizationsAccess" => access::describe(world, call, request),
        "CreateStackSet" => sets::create(world, call, request),
        "DescribeStackSet" => set_views::describe(world, call, request),
        "ListStackSets" => set_views::list(world, call, request),
        "UpdateStackSet" => sets::update(world, call, request),
        "DeleteStackSet" => sets::delete(world, call, request),
        "CreateStackInstances" => set_instances::create(world, call, request),
        "UpdateStackInstances" => set_instances::update(world, call, request),
        "DeleteStackInstances" => set_instances::delete(world, call, request),
        "ListStackInstances" => instance_views::list(world, call, request),
        "DescribeStackInstance" => instance_views::describe(world, call, request),
        "ListStackSetAutoDeploymentTargets" => {
            instance_views::auto_deployment_targets(world, call, request)
        }
        "DetectStackSetDrift" => set_operations::detect_drift(world, call, request),
        "ListStackSetOperations" => set_operations::list(world, call, request),
        "DescribeStackSetOperation" => set_operations::describe(world, call, request),
        "ListStackSetOperationResults" => set_operations::results(world, call, request),
        "StopStackSetOperation" => set_operations::stop(world, call, request),
        "GetTemplateSummary" => templates::summary(world, call, request),
        "ValidateTemplate" => templates::validate(request),
        "GetTemplate" => templates::get(world, call, request),
        "CreateStack" => plain::create(world, call, request),
        "UpdateStack" => plain::update(world, call, request),
        "DeleteStack" => plain::delete(world, call, request),
        "UpdateTerminationProtection" => plain::protect(world, call, request),
        "CreateChangeSet" => change_sets::create(world, call, request),
        "DescribeChangeSet" => change_set_views::describe(world, call, request),
        "ListChangeSets" => change_set_views::list(world, call, request),
        "ExecuteChangeSet" => change_sets::execute(world, call, request),
        "DeleteChangeSet" => change_sets::delete(world, call, request),
        "DescribeStacks" => plain::describe(world, call, request),
        "ListStacks" => plain::list(world, call, request),
        "ListStackResources" => events::resources(world, call, request),
        "DescribeStackResources" => events::first_resources(world, call, request),
        "DescribeStackEvents" => events::list(world, call, request),
        _ => Err(AwsError::invalid_action(&request.action, &request.version)),
    }
}

fn authorize(world: &World, call: &Call, request: &QueryRequest) -> Result<(), AwsError> {
    let prefix = format!(
        "arn:aws:cloudformation:{}:{}",
        call.region, call.caller.account
    );
    let resource = match (request.get("StackSetName"), request.get("StackName")) {
        (Some(name), _) => {
            let name = name.split(':').next().unwrap_or(name);
            format!("{prefix}:stackset/{name}:*")
        }
        (None, Some(arn)) if arn.starts_with("arn:") => arn.to_owned(),
        (None, Some(name)) => format!("{prefix}:stack/{name}/*"),
        (None, None) => "*".to_owned(),
    };
    iam::authorize(
        world,
        &call.caller,
        &format!("cloudformation:{}", request.action),
        &resource,
    )
}
