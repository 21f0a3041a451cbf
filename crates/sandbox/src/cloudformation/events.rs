//! Resources and history of a stack.

use super::paging::{self, Page};
use super::{errors, plain};
use crate::stacks::Stack;
use crate::stacks::model::Resource;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// DescribeStackResources answers no more than this and has no pages.
const MAX_DESCRIBED: usize = 100;

fn resource(xml: &mut Xml, resource: &Resource, time: &str) {
    xml.text("LogicalResourceId", &resource.logical_id);
    if !resource.physical_id.is_empty() {
        xml.text("PhysicalResourceId", &resource.physical_id);
    }
    xml.text("ResourceType", &resource.kind)
        .text(time, resource.changed)
        .text("ResourceStatus", resource.status.as_str())
        .optional("ResourceStatusReason", resource.reason.as_deref())
        .element("DriftInformation", |xml| {
            xml.text("StackResourceDriftStatus", "NOT_CHECKED");
        });
}

/// ListStackResources.
pub(super) fn resources(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let stack = &world.stacks[plain::find(world, call, request.require("StackName")?)?];
    let page = Page::of(request, &format!("resources {}", stack.uuid))?;
    let mut xml = Xml::new();
    paging::list(
        &mut xml,
        &page,
        "StackResourceSummaries",
        &stack.resources,
        |xml, one| {
            resource(xml, one, "LastUpdatedTimestamp");
        },
    );
    Ok(xml.into())
}

/// DescribeStackResources.
pub(super) fn first_resources(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let (name, physical) = (request.get("StackName"), request.get("PhysicalResourceId"));
    let stack: &Stack = match (name, physical) {
        (Some(name), None) => &world.stacks[plain::find(world, call, name)?],
        (None, Some(id)) => world
            .stacks
            .of(call.caller.account, &call.region)
            .map(|(_, stack)| stack)
            .find(|stack| {
                stack
                    .resources
                    .iter()
                    .any(|resource| &*resource.physical_id == id)
            })
            .ok_or_else(|| AwsError::validation(format!("Stack for {id} does not exist")))?,
        _ => {
            return Err(AwsError::validation(
                "Exactly one of StackName and PhysicalResourceId must be specified",
            ));
        }
    };
    let mut xml = Xml::new();
    xml.list(
        "StackResources",
        stack.resources.iter().take(MAX_DESCRIBED),
        |xml, one| {
            xml.text("StackName", &stack.name)
                .text("StackId", stack.id());
            resource(xml, one, "Timestamp");
        },
    );
    Ok(xml.into())
}

/// DescribeStackEvents, the newest first.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackName")?;
    let key = plain::find(world, call, name).map_err(|_| errors::stack_does_not_exist(name))?;
    let stack = &world.stacks[key];
    let page = Page::of(request, &format!("events {}", stack.uuid))?;
    let events: Vec<_> = stack.events.iter().enumerate().rev().collect();
    let token = stack
        .plain
        .as_ref()
        .and_then(|plain| Some((plain.client_token.as_deref()?, plain.token_since)));
    let mut xml = Xml::new();
    paging::list(
        &mut xml,
        &page,
        "StackEvents",
        &events,
        |xml, (index, event)| {
            let logical_id = event.logical_id.as_deref();
            let resource = logical_id
                .and_then(|id| stack.position(id))
                .map(|at| &stack.resources[at]);
            let spec = logical_id.and_then(|id| stack.generation.template.resource(id));
            let kind = match logical_id {
                None => "AWS::CloudFormation::Stack",
                Some(_) => resource
                    .map(|one| &*one.kind)
                    .or(spec.map(|spec| &*spec.kind))
                    .unwrap_or_default(),
            };
            let physical_id = match logical_id {
                None => stack.id(),
                Some(_) => resource
                    .map(|one| one.physical_id.to_string())
                    .unwrap_or_default(),
            };
            xml.text("StackId", stack.id())
                .text("EventId", format_args!("{}-{index}", stack.uuid))
                .text("StackName", &stack.name)
                .text("LogicalResourceId", logical_id.unwrap_or(&stack.name))
                .text("PhysicalResourceId", physical_id)
                .text("ResourceType", kind)
                .text("Timestamp", event.at)
                .text("ResourceStatus", event.status.as_str())
                .optional("ResourceStatusReason", event.reason.as_deref())
                .optional(
                    "ClientRequestToken",
                    token
                        .filter(|(_, since)| event.at >= *since)
                        .map(|(token, _)| token),
                );
        },
    );
    Ok(xml.into())
}
