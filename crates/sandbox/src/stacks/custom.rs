//! Custom resources: what providers are asked, through a ServiceToken.
//!
//! CloudFormation user guide, "Custom resource reference objects": the fields of a request, one hour (or
//! `ServiceTimeout`) until a request fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::engine::Performed;
use super::model::{Item, StackKey, Stage, Status};
use super::scope::StackScope;
use super::{Event, Stack};
use crate::caller::Caller;
use crate::messaging;
use crate::timers;
use crate::world::World;

/// Time for an answer when the resource has no `ServiceTimeout`, in seconds; also the longest allowed.
const DEFAULT_TIMEOUT: u64 = 3600;
/// The AWS account in which Spot hosts the functions that its own templates name.
const HOSTED_ACCOUNT: &str = "178579023202";

/// Requests without an answer, by the token of their ResponseURL.
pub(super) type Waiting = HashMap<Uuid, Pending>;

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: StackKey,
    pub(super) epoch: u32,
    pub(super) index: usize,
    pub(super) logical_id: Arc<str>,
    pub(super) creates: bool,
    /// Kept for the functions that Spot hosts; others have it in their message.
    pub(super) request: Option<Box<Value>>,
}

/// What a provider is asked.
struct Request<'a> {
    kind: &'static str,
    properties: &'a Value,
    old_properties: Option<Value>,
    physical_id: Option<&'a str>,
}

fn item(stack: &Stack, index: usize) -> Option<&Item> {
    stack.work.as_ref()?.items.get(index)
}

/// Asks for the creation or the update of a resource.
pub(super) fn apply(world: &mut World, key: StackKey, index: usize) -> Performed {
    let stack = &world.stacks[key];
    let Some(item) = item(stack, index) else {
        return Performed::Waiting;
    };
    let logical_id = item.logical_id.clone();
    let scope = StackScope::current(stack);
    let Some(spec) = scope.generation.template.resource(&logical_id) else {
        return Performed::Waiting;
    };
    let properties = match scope.evaluate(&spec.properties) {
        Ok(properties) => stringify(properties),
        Err(error) => return Performed::failed(error.to_string()),
    };
    let resource = stack.position(&logical_id).map(|at| &stack.resources[at]);
    let existing = resource
        .filter(|resource| resource.status == Status::UpdateInProgress)
        .map(|resource| (resource.physical_id.to_string(), resource.kind.clone()));
    let Some((physical_id, kind)) = existing else {
        let request = Request {
            kind: "Create",
            properties: &properties,
            old_properties: None,
            physical_id: None,
        };
        return send(world, key, index, &request);
    };
    if kind != spec.kind {
        return Performed::failed(format!(
            "Update of resource type is not permitted. The new template modifies resource type of the following resources: [{logical_id}]"
        ));
    }
    let old_scope = StackScope::previous(stack);
    let old = old_scope
        .generation
        .template
        .resource(&logical_id)
        .and_then(|spec| old_scope.evaluate(&spec.properties).ok())
        .map(stringify)
        .unwrap_or_default();
    if old.get("ServiceToken") != properties.get("ServiceToken") {
        // While the refused update is undone there is nothing to undo: nobody was asked.
        let reverting = stack
            .work
            .as_ref()
            .is_some_and(|work| work.stage == Stage::Revert);
        return match resource.filter(|_| reverting) {
            Some(resource) => Performed::Done {
                physical_id: None,
                attributes: resource.attributes.to_vec(),
            },
            None => Performed::failed("Modifying service token is not allowed."),
        };
    }
    let request = Request {
        kind: "Update",
        properties: &properties,
        old_properties: Some(old),
        physical_id: Some(&physical_id),
    };
    send(world, key, index, &request)
}

/// Asks for the removal of a resource.
pub(super) fn remove(world: &mut World, key: StackKey, index: usize) -> Performed {
    let stack = &world.stacks[key];
    let Some(item) = item(stack, index) else {
        return Performed::Waiting;
    };
    let physical_id = item.physical_id.to_string();
    let scope = if item.from_previous {
        StackScope::previous(stack)
    } else {
        StackScope::current(stack)
    };
    let properties = scope
        .generation
        .template
        .resource(&item.logical_id)
        .and_then(|spec| scope.evaluate(&spec.properties).ok());
    let Some(properties) = properties.map(stringify) else {
        return Performed::failed("the properties of the resource can't be evaluated any more");
    };
    let request = Request {
        kind: "Delete",
        properties: &properties,
        old_properties: None,
        physical_id: Some(&physical_id),
    };
    send(world, key, index, &request)
}

fn send(world: &mut World, key: StackKey, index: usize, request: &Request<'_>) -> Performed {
    let token = world.ids.uuid();
    let url = format!("{}/_cloudformation/response/{token}", world.endpoint);
    let stack = &world.stacks[key];
    let Some(item) = item(stack, index) else {
        return Performed::Waiting;
    };
    let Some(service_token) = request
        .properties
        .get("ServiceToken")
        .and_then(Value::as_str)
    else {
        return Performed::failed("ServiceToken property is missing or not a string");
    };
    let parts: Vec<&str> = service_token.splitn(6, ':').collect();
    let [
        "arn",
        _,
        service @ ("sns" | "lambda"),
        region,
        account,
        name,
    ] = parts.as_slice()
    else {
        return Performed::failed(format!("Invalid Service Token: {service_token}"));
    };
    if **region != *stack.region {
        return Performed::failed(format!(
            "Custom resource ServiceToken {service_token} is not in the Region of the stack ({})",
            stack.region
        ));
    }
    let timeout = match request.properties.get("ServiceTimeout") {
        None => DEFAULT_TIMEOUT,
        Some(value) => match value.as_str().and_then(|text| text.parse().ok()) {
            Some(seconds @ 1..=DEFAULT_TIMEOUT) => seconds,
            _ => {
                return Performed::failed(
                    "Value of ServiceTimeout must be a number of seconds between 1 and 3600",
                );
            }
        },
    };
    let mut message = Map::new();
    message.insert("RequestType".into(), request.kind.into());
    message.insert("ServiceToken".into(), service_token.into());
    message.insert("ResponseURL".into(), url.into());
    message.insert("StackId".into(), stack.id().into());
    message.insert("RequestId".into(), token.to_string().into());
    message.insert("LogicalResourceId".into(), (*item.logical_id).into());
    if let Some(physical_id) = request.physical_id {
        message.insert("PhysicalResourceId".into(), physical_id.into());
    }
    message.insert("ResourceType".into(), (*item.kind).into());
    message.insert("ResourceProperties".into(), request.properties.clone());
    if let Some(old) = &request.old_properties {
        message.insert("OldResourceProperties".into(), old.clone());
    }
    let mut pending = Pending {
        key,
        epoch: stack.epoch,
        index,
        logical_id: item.logical_id.clone(),
        creates: request.kind == "Create",
        request: None,
    };
    let caller = principal(stack);
    if *service == "lambda" {
        let Some(function) = name
            .strip_prefix("function:")
            .filter(|_| *account == HOSTED_ACCOUNT)
        else {
            return Performed::failed(format!(
                "User: {} is not authorized to perform: lambda:InvokeFunction on resource: {service_token} because no resource-based policy allows the lambda:InvokeFunction action",
                caller.arn
            ));
        };
        pending.request = Some(Box::new(Value::Object(message)));
        let event = Event::Hosted {
            token,
            function: (*function).into(),
            attempt: 1,
        };
        let delay = world.scenario.stack_sets.resource_time;
        world.schedule(delay, timers::Event::Stacks(event));
    } else {
        let body = Value::Object(message).to_string();
        const SUBJECT: &str = "AWS CloudFormation custom resource request";
        let published = messaging::Published {
            subject: Some(SUBJECT),
            message: &body,
            attributes: serde_json::Map::new(),
        };
        if let Err(error) = messaging::publish(world, &caller, service_token, &published) {
            return Performed::failed(error.message);
        }
    }
    world.stacks.waiting.insert(token, pending);
    let event = Event::ServiceTimeout { token };
    world.schedule(Duration::from_secs(timeout), timers::Event::Stacks(event));
    Performed::Waiting
}

/// Who acts for a stack in its account: the role of a stack set, or whoever changed a plain stack last, whose permissions
/// CloudFormation uses (CloudFormation user guide, "CloudFormation service role").
pub(super) fn principal(stack: &Stack) -> Caller {
    match &stack.plain {
        Some(plain) => plain.caller.via_cloudformation(),
        None => Caller::service_session(stack.account, &stack.execution_role, "AWSCloudFormation"),
    }
}

/// Scalars reach providers as strings.
fn stringify(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(stringify).collect(),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, stringify(value)))
                .collect(),
        ),
        Value::Bool(flag) => Value::String(flag.to_string()),
        Value::Number(number) => Value::String(number.to_string()),
        other => other,
    }
}
