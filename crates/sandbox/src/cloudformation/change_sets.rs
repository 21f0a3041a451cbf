//! Change sets: CreateChangeSet, ExecuteChangeSet, DeleteChangeSet.

use std::sync::Arc;

use super::change_set_views::{find, status};
use super::{errors, input, plain};
use crate::stacks::change_sets::{ChangeSet, changes};
use crate::stacks::model::{OnFailure, PlainStack};
use crate::stacks::{self, Generation, NewStack, Stack, StackKey, Status};
use crate::template::{ParameterValues, resolve_parameters};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

const NO_CHANGES: &str = "The submitted information didn't contain changes. Submit different information to create a change set.";

fn created(set: &ChangeSet, stack: &Stack) -> QueryReply {
    let mut xml = Xml::new();
    xml.text("Id", set.id(stack)).text("StackId", stack.id());
    xml.into()
}

/// The stack that a change set is asked for; for `CREATE`, a new one in review when there is none.
fn target(
    world: &World,
    call: &Call,
    request: &QueryRequest,
    creates: bool,
    change_set: &str,
) -> Result<Option<StackKey>, AwsError> {
    let name = request.require("StackName")?;
    let found = world
        .stacks
        .find(call.caller.account, &call.region, name)
        .filter(|key| world.stacks[*key].status != Status::DeleteComplete);
    match (found, creates) {
        (None, true) => plain::new_name(request).map(|_| None),
        (None, false) => Err(errors::stack_does_not_exist(name)),
        (Some(key), true) if world.stacks[key].status == Status::ReviewInProgress => Ok(Some(key)),
        (Some(_), true) => Err(AwsError::validation(format!(
            "Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}]."
        ))),
        (Some(key), false) if world.stacks[key].status.updatable() => Ok(Some(key)),
        (Some(key), false) => {
            let stack = &world.stacks[key];
            Err(AwsError::validation(format!(
                "Stack:{} is in {} state and can not be updated.",
                stack.id(),
                stack.status.as_str()
            )))
        }
    }
}

/// CreateChangeSet.
pub(super) fn create(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("ChangeSetName")?.to_owned();
    let creates = match request.get("ChangeSetType") {
        None | Some("UPDATE") => false,
        Some("CREATE") => true,
        Some(other) => {
            return Err(AwsError::validation(format!(
                "1 validation error detected: Value '{other}' at 'changeSetType' failed to satisfy constraint: Member must satisfy enum value set: [CREATE, UPDATE]"
            )));
        }
    };
    let token = input::token(request, "ClientToken")?;
    let found = target(world, call, request, creates, &name)?;
    let twin = found.and_then(|key| {
        let mut sets = world.stacks.change_sets.iter();
        sets.find(|set| set.stack == key && set.name == name)
    });
    if let Some(twin) = twin {
        if token.is_some() && twin.token == token {
            return Ok(created(twin, &world.stacks[twin.stack]));
        }
        return Err(AwsError::new(
            400,
            "AlreadyExistsException",
            format!("ChangeSet {name} cannot be created as it already exists"),
        ));
    }
    let given = input::template(request, false)?;
    let previous = found.map(|key| &world.stacks[key].generation);
    let template = match (given, previous) {
        (Some(template), _) => template,
        (None, Some(previous)) if !creates => previous.template.clone(),
        (None, _) => {
            return Err(AwsError::validation(
                "Either Template URL or Template Body must be specified.",
            ));
        }
    };
    let capabilities = request.strings("Capabilities").unwrap_or_default();
    input::check_capabilities(&template, &capabilities)?;
    let choices = input::parameters(request, "Parameters")?.unwrap_or_default();
    let none = ParameterValues::new();
    let values = previous
        .filter(|_| !creates)
        .map_or(&none, |previous| &previous.parameters);
    let parameters = resolve_parameters(&template.parameters, &choices, values)?;
    let tags = match (input::tags(request)?, previous) {
        (Some(tags), _) => tags.into(),
        (None, Some(previous)) => previous.tags.clone(),
        (None, None) => Arc::default(),
    };
    let generation = Generation {
        template,
        parameters: Arc::new(parameters),
        capabilities: capabilities.into(),
        tags,
    };
    let key = match found {
        Some(key) => key,
        None => review(world, call, request, generation.clone())?,
    };
    let (now, uuid) = (world.now(), world.ids.uuid());
    let stack = &world.stacks[key];
    let changed = creates || stacks::would_change(stack, &generation);
    let set = ChangeSet {
        stack: key,
        name,
        uuid,
        description: request.get("Description").map(str::to_owned),
        token,
        created: now,
        ready: now + world.scenario.stack_sets.resource_time,
        failure: (!changed).then_some(NO_CHANGES),
        changes: if changed {
            changes(stack, &generation)
        } else {
            Vec::new()
        },
        epoch: stack.epoch,
        executed: false,
        generation,
    };
    let reply = created(&set, stack);
    world.stacks.change_sets.push(set);
    Ok(reply)
}

fn review(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
    generation: Generation,
) -> Result<StackKey, AwsError> {
    let new = NewStack {
        account: call.caller.account,
        region: call.region.as_str().into(),
        name: plain::new_name(request)?.to_owned(),
        generation,
        execution_role: "".into(),
        plain: Some(Box::new(PlainStack {
            caller: call.caller.clone(),
            client_token: None,
            token_since: world.now(),
            disable_rollback: false,
            timeout_minutes: None,
            retain_except_on_create: false,
        })),
        on_failure: OnFailure::Rollback,
        task: None,
    };
    Ok(stacks::review(world, new))
}

/// ExecuteChangeSet. The other change sets of the stack go.
pub(super) fn execute(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let position = find(world, call, request)?;
    let token = input::token(request, "ClientRequestToken")?;
    let except_on_create = request.boolean("RetainExceptOnCreate")? == Some(true);
    let set = &world.stacks.change_sets[position];
    let (key, generation) = (set.stack, set.generation.clone());
    let stack = &world.stacks[key];
    let same = |plain: &PlainStack| token.is_some() && plain.client_token == token;
    if set.executed && stack.plain.as_deref().is_some_and(same) {
        return Ok(Xml::new().into());
    }
    let (status, execution) = status(world, set);
    if execution != "AVAILABLE" {
        return Err(errors::invalid_change_set_status(format!(
            "ChangeSet [{}] cannot be executed in its current status of [{}]",
            set.id(stack),
            if status == "CREATE_COMPLETE" {
                execution
            } else {
                status
            }
        )));
    }
    let uuid = set.uuid;
    let sets = &mut world.stacks.change_sets;
    sets[position].executed = true;
    sets.retain(|set| set.stack != key || set.uuid == uuid);
    plain::mark(world, call, key, token);
    if let Some(plain) = world.stacks[key].plain.as_mut() {
        plain.retain_except_on_create = except_on_create;
    }
    if world.stacks[key].status == Status::ReviewInProgress {
        stacks::create_reviewed(world, key, generation);
    } else {
        stacks::update(world, key, generation, None);
    }
    Ok(Xml::new().into())
}

/// DeleteChangeSet. One that does not exist is deleted already.
pub(super) fn delete(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let position = match find(world, call, request) {
        Ok(position) => position,
        Err(error) if error.code == "ChangeSetNotFound" => return Ok(Xml::new().into()),
        Err(error) => return Err(error),
    };
    let set = &world.stacks.change_sets[position];
    if status(world, set).1 == "EXECUTE_IN_PROGRESS" {
        return Err(errors::invalid_change_set_status(format!(
            "ChangeSet [{}] cannot be deleted in its current status of [EXECUTE_IN_PROGRESS]",
            set.id(&world.stacks[set.stack])
        )));
    }
    world.stacks.change_sets.remove(position);
    Ok(Xml::new().into())
}
