//! Stacks made through the API, and what the API says about any stack of the caller's account,
//! those of stack sets included.

use std::sync::Arc;

use super::paging::{self, Page};
use super::{errors, input, set_views};
use crate::stacks::model::{OnFailure, PlainStack};
use crate::stacks::scope::StackScope;
use crate::stacks::{self, Generation, NewStack, Stack, StackKey, Status};
use crate::template::{ParameterValues, resolve_parameters};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// A stack of the caller's account by name or id.
pub(super) fn find(world: &World, call: &Call, name: &str) -> Result<StackKey, AwsError> {
    world
        .stacks
        .find(call.caller.account, &call.region, name)
        .ok_or_else(|| errors::stack_with_id_does_not_exist(name))
}

fn stack_id(stack: &Stack) -> QueryReply {
    let mut xml = Xml::new();
    xml.text("StackId", stack.id());
    xml.into()
}

/// The name of a stack that is to be made.
pub(super) fn new_name(request: &QueryRequest) -> Result<&str, AwsError> {
    let name = request.require("StackName")?;
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.len() <= 128;
    if valid {
        return Ok(name);
    }
    Err(AwsError::validation(format!(
        "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
    )))
}

/// CreateStack.
pub(super) fn create(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = new_name(request)?;
    let Some(template) = input::template(request, false)? else {
        return Err(AwsError::validation(
            "Either Template URL or Template Body must be specified.",
        ));
    };
    let capabilities = request.strings("Capabilities").unwrap_or_default();
    input::check_capabilities(&template, &capabilities)?;
    let choices = input::parameters(request, "Parameters")?.unwrap_or_default();
    let parameters = resolve_parameters(&template.parameters, &choices, &ParameterValues::new())?;
    let disable_rollback = request.boolean("DisableRollback")?;
    let on_failure = match (request.get("OnFailure"), disable_rollback) {
        (Some(_), Some(_)) => {
            return Err(AwsError::validation(
                "Only one of DisableRollback or OnFailure can be specified",
            ));
        }
        (Some("DO_NOTHING"), _) | (None, Some(true)) => OnFailure::DoNothing,
        (Some("DELETE"), _) => OnFailure::Delete,
        (None | Some("ROLLBACK"), _) => OnFailure::Rollback,
        (Some(other), _) => {
            return Err(AwsError::validation(format!(
                "1 validation error detected: Value '{other}' at 'onFailure' failed to satisfy constraint: Member must satisfy enum value set: [ROLLBACK, DELETE, DO_NOTHING]"
            )));
        }
    };
    let client_token = input::token(request, "ClientRequestToken")?;
    if let Some(key) = world.stacks.find(call.caller.account, &call.region, name) {
        let stack = &world.stacks[key];
        let same = client_token.is_some()
            && stack
                .plain
                .as_ref()
                .is_some_and(|plain| plain.client_token == client_token);
        if same {
            return Ok(stack_id(stack));
        }
        return Err(AwsError::new(
            400,
            "AlreadyExistsException",
            format!("Stack [{name}] already exists"),
        ));
    }
    let new = NewStack {
        account: call.caller.account,
        region: call.region.as_str().into(),
        name: name.to_owned(),
        generation: Generation {
            template,
            parameters: Arc::new(parameters),
            capabilities: capabilities.into(),
            tags: input::tags(request)?.unwrap_or_default().into(),
        },
        execution_role: "".into(),
        plain: Some(Box::new(PlainStack {
            caller: call.caller.clone(),
            client_token,
            token_since: world.now(),
            disable_rollback: on_failure == OnFailure::DoNothing,
            timeout_minutes: request.number("TimeoutInMinutes")?,
            retain_except_on_create: request.boolean("RetainExceptOnCreate")? == Some(true),
        })),
        on_failure,
        task: None,
    };
    let is_protected = request.boolean("EnableTerminationProtection")? == Some(true);
    let key = stacks::create(world, new);
    world.stacks[key].termination_protection = is_protected;
    Ok(stack_id(&world.stacks[key]))
}

/// UpdateTerminationProtection: of any stack, those of stack sets included.
pub(super) fn protect(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = find(world, call, request.require("StackName")?)?;
    request.require("EnableTerminationProtection")?;
    let stack = &mut world.stacks[key];
    stack.termination_protection = request.boolean("EnableTerminationProtection")? == Some(true);
    Ok(stack_id(stack))
}

/// Lets a stack act as who asks for its deletion: one of a stack set, too, whose service role is not its own (CloudFormation API
/// reference, DeleteStack, RoleARN).
fn act_as(world: &mut World, call: &Call, key: StackKey, client_token: Option<String>) {
    let now = world.now();
    let stack = &mut world.stacks[key];
    let plain = stack.plain.get_or_insert_with(|| {
        Box::new(PlainStack {
            caller: call.caller.clone(),
            client_token: None,
            token_since: now,
            disable_rollback: false,
            timeout_minutes: None,
            retain_except_on_create: false,
        })
    });
    plain.caller = call.caller.clone();
    if client_token.is_some() {
        (plain.client_token, plain.token_since) = (client_token, now);
    }
}

/// Gives the events of a stack from now on a token, and lets it act as who asks for the change.
pub(super) fn mark(world: &mut World, call: &Call, key: StackKey, client_token: Option<String>) {
    let now = world.now();
    if let Some(plain) = world.stacks[key].plain.as_mut() {
        plain.caller = call.caller.clone();
        plain.client_token = client_token;
        plain.token_since = now;
    }
}

/// UpdateStack.
pub(super) fn update(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackName")?;
    let key = world
        .stacks
        .find(call.caller.account, &call.region, name)
        .filter(|key| world.stacks[*key].status != Status::DeleteComplete)
        .ok_or_else(|| errors::stack_does_not_exist(name))?;
    let stack = &world.stacks[key];
    if !stack.status.updatable() {
        return Err(AwsError::validation(format!(
            "Stack:{} is in {} state and can not be updated.",
            stack.id(),
            stack.status.as_str()
        )));
    }
    let template =
        input::template(request, false)?.unwrap_or_else(|| stack.generation.template.clone());
    let capabilities = request.strings("Capabilities").unwrap_or_default();
    input::check_capabilities(&template, &capabilities)?;
    let choices = input::parameters(request, "Parameters")?.unwrap_or_default();
    let parameters =
        resolve_parameters(&template.parameters, &choices, &stack.generation.parameters)?;
    let generation = Generation {
        template,
        parameters: Arc::new(parameters),
        capabilities: capabilities.into(),
        tags: input::tags(request)?.map_or_else(|| stack.generation.tags.clone(), Arc::from),
    };
    if !stacks::would_change(stack, &generation) {
        return Err(AwsError::validation("No updates are to be performed."));
    }
    let client_token = input::token(request, "ClientRequestToken")?;
    mark(world, call, key, client_token);
    stacks::update(world, key, generation, None);
    Ok(stack_id(&world.stacks[key]))
}

/// DeleteStack. Deleting a stack that does not exist succeeds.
pub(super) fn delete(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackName")?;
    let Some(key) = world.stacks.find(call.caller.account, &call.region, name) else {
        return Ok(QueryReply::NoResult);
    };
    let stack = &world.stacks[key];
    if matches!(
        stack.status,
        Status::DeleteComplete | Status::DeleteInProgress
    ) {
        return Ok(QueryReply::NoResult);
    }
    if stack.termination_protection {
        return Err(AwsError::validation(format!(
            "Stack [{}] cannot be deleted while TerminationProtection is enabled",
            stack.name
        )));
    }
    if stack.status.in_progress() {
        return Err(AwsError::validation(format!(
            "Stack:{} is in {} state and can not be deleted.",
            stack.id(),
            stack.status.as_str()
        )));
    }
    let client_token = input::token(request, "ClientRequestToken")?;
    act_as(world, call, key, client_token);
    stacks::delete(world, key, None);
    Ok(QueryReply::NoResult)
}

/// DescribeStacks.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let page = Page::of(request, "stacks")?;
    let stacks: Vec<&Stack> = match request.get("StackName") {
        Some(name) => vec![&world.stacks[find(world, call, name)?]],
        None => world
            .stacks
            .of(call.caller.account, &call.region)
            .rev()
            .map(|(_, stack)| stack)
            .filter(|stack| stack.status != Status::DeleteComplete)
            .collect(),
    };
    let mut xml = Xml::new();
    paging::list(&mut xml, &page, "Stacks", &stacks, |xml, stack| {
        write(xml, stack)
    });
    Ok(xml.into())
}

fn write(xml: &mut Xml, stack: &Stack) {
    let template = &stack.generation.template;
    summary(xml, stack);
    xml.list(
        "Parameters",
        &*stack.generation.parameters,
        |xml, (key, value)| {
            let masked = template
                .parameters
                .iter()
                .any(|spec| spec.key == *key && spec.no_echo);
            xml.text("ParameterKey", key)
                .text("ParameterValue", if masked { "****" } else { &**value });
        },
    );
    xml.strings("Capabilities", &*stack.generation.capabilities);
    let complete = !stack.status.in_progress()
        && !matches!(
            stack.status,
            Status::DeleteComplete | Status::ReviewInProgress
        );
    if complete {
        xml.list(
            "Outputs",
            StackScope::current(stack).outputs(),
            |xml, (key, value, description)| {
                xml.text("OutputKey", key)
                    .text("OutputValue", value)
                    .optional("Description", description);
            },
        );
    }
    set_views::tags(xml, &stack.generation.tags);
    let plain = stack.plain.as_ref();
    xml.text(
        "DisableRollback",
        plain.is_some_and(|plain| plain.disable_rollback),
    )
    .text("EnableTerminationProtection", stack.termination_protection)
    .optional(
        "TimeoutInMinutes",
        plain.and_then(|plain| plain.timeout_minutes),
    )
    .strings("NotificationARNs", Vec::<String>::new());
}

fn summary(xml: &mut Xml, stack: &Stack) {
    xml.text("StackId", stack.id())
        .text("StackName", &stack.name)
        .text("StackStatus", stack.status.as_str())
        .optional("StackStatusReason", stack.reason.as_deref())
        .text("CreationTime", stack.created)
        .optional("LastUpdatedTime", stack.updated)
        .optional("DeletionTime", stack.deleted)
        .element("DriftInformation", |xml| {
            xml.text("StackDriftStatus", "NOT_CHECKED");
        });
}

/// ListStacks, deleted ones included.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let wanted = request.strings("StackStatusFilter").unwrap_or_default();
    let page = Page::of(request, &format!("all stacks {}", wanted.join(",")))?;
    let stacks: Vec<&Stack> = world
        .stacks
        .of(call.caller.account, &call.region)
        .rev()
        .map(|(_, stack)| stack)
        .filter(|stack| {
            wanted.is_empty() || wanted.iter().any(|status| status == stack.status.as_str())
        })
        .collect();
    let mut xml = Xml::new();
    paging::list(&mut xml, &page, "StackSummaries", &stacks, |xml, stack| {
        summary(xml, stack);
        xml.optional(
            "TemplateDescription",
            stack.generation.template.description.as_deref(),
        );
    });
    Ok(xml.into())
}
