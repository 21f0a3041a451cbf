//! Accounts that come, move and go.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::account_not_found;
use super::input::{account_id, constraint, invalid_input, optional, parent, pattern, required};
use super::tags;
use super::tree::{Account, OuIndex, ROOT, State};
use crate::clock::SimTime;
use crate::events;
use crate::ids::AccountId;
use crate::stack_sets;
use crate::timers;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// What happens to accounts by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// A CreateAccount request is done.
    Created {
        /// `car-…`.
        request: String,
    },
    /// A CloseAccount request is done.
    Closed(AccountId),
    /// A closed account disappears from the organization.
    Gone(AccountId),
}

/// A CreateAccount request.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    name: String,
    email: String,
    tags: BTreeMap<String, String>,
    requested: SimTime,
    completed: Option<SimTime>,
    outcome: Option<Result<AccountId, &'static str>>,
}

/// Continues what an event is about.
pub(crate) fn on_event(world: &mut World, event: Event) {
    match event {
        Event::Created { request } => created(world, &request),
        Event::Closed(id) => {
            world.organization.set_state(id, State::Closed);
            events::account_closed(world, id);
            let stays = world.scenario.organization.closed_account_stays;
            world.schedule(stays, timers::Event::Organizations(Event::Gone(id)));
        }
        Event::Gone(id) => {
            if world
                .organization
                .account(id)
                .is_some_and(|account| account.state == State::Closed)
            {
                take_out(world, id, "CLEANED");
            }
        }
    }
}

/// Creates an account at once, as the admin API does; it comes to the root.
pub(crate) fn create_account(world: &mut World, name: &str, email: Option<&str>) -> AccountId {
    let id = add_account(world, name, email);
    events::account_created(world, None, id);
    id
}

fn add_account(world: &mut World, name: &str, email: Option<&str>) -> AccountId {
    let id = world.organization.unused_account_id(&mut world.ids);
    let joined = world.now();
    world.organization.insert(Account {
        id,
        parent: ROOT,
        state: State::Active,
        scp_blocked: false,
        unlisted: false,
        invited: false,
        joined,
        name: name.into(),
        custom_email: email.map(Into::into),
        tags: BTreeMap::new(),
    });
    events::account_joined(world, id);
    stack_sets::account_joined(world, id);
    id
}

/// Moves an account and tells the stack sets.
pub(crate) fn move_account(world: &mut World, id: AccountId, to: OuIndex) {
    let Some(from) = world.organization.account(id).map(|account| account.parent) else {
        return;
    };
    if from != to {
        world.organization.relocate(id, to);
        let asked = json!({
            "accountId": id.to_string(),
            "sourceParentId": world.organization.ou(from).id,
            "destinationParentId": world.organization.ou(to).id,
        });
        events::called(world, "MoveAccount", asked, Value::Null);
        stack_sets::account_moved(world, id, from, to);
    }
}

/// Starts to close an account.
pub(crate) fn close_account(world: &mut World, id: AccountId) {
    world.organization.set_state(id, State::PendingClosure);
    let asked = json!({ "accountId": id.to_string() });
    events::called(world, "CloseAccount", asked, Value::Null);
    let time = world.scenario.organization.close_account_time;
    world.schedule(time, timers::Event::Organizations(Event::Closed(id)));
}

/// Removes an account from the organization and tells the stack sets.
pub(crate) fn remove_account(world: &mut World, id: AccountId) {
    let asked = json!({ "accountId": id.to_string() });
    events::called(world, "RemoveAccountFromOrganization", asked, Value::Null);
    take_out(world, id, "REMOVED");
}

fn take_out(world: &mut World, id: AccountId, method: &str) {
    if let Some(account) = world.organization.remove(id) {
        events::account_left(world, id, method);
        stack_sets::account_left(world, id, account.parent);
    }
}

/// CreateOrganizationalUnit.
pub(super) fn create_unit_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let of = parent(
        &world.organization,
        input,
        "ParentId",
        "ParentNotFoundException",
    )?;
    let name = required(input, "Name")?;
    let organization = &world.organization;
    if organization.depth(of) >= 5 {
        return Err(constraint(
            "OU_DEPTH_LIMIT_EXCEEDED",
            "You have exceeded the depth limit of the organizational unit tree.",
        ));
    }
    if organization
        .ou(of)
        .units
        .iter()
        .any(|unit| organization.ou(*unit).name == name)
    {
        return Err(AwsError::new(
            400,
            "DuplicateOrganizationalUnitException",
            "An OU with the same name already exists.",
        ));
    }
    let suffix = organization.root_id().trim_start_matches("r-").to_owned();
    let id = format!("ou-{suffix}-{}", world.ids.lower(8));
    let unit = world.organization.insert_ou(id, name.to_owned(), of);
    let mut out = String::from("{\"OrganizationalUnit\":");
    let asked = json!({ "parentId": world.organization.ou(of).id, "name": name });
    events::called(world, "CreateOrganizationalUnit", asked, Value::Null);
    let organization = &world.organization;
    super::write::unit(
        &mut out,
        organization,
        &world.scenario.organization,
        organization.ou(unit),
    );
    out.push('}');
    Ok(JsonReply::Text(out))
}

/// MoveAccount. It answers before stack sets react.
pub(super) fn move_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = account_id(input, "AccountId")?;
    let organization = &world.organization;
    let from = parent(
        organization,
        input,
        "SourceParentId",
        "SourceParentNotFoundException",
    )?;
    let to = parent(
        organization,
        input,
        "DestinationParentId",
        "DestinationParentNotFoundException",
    )?;
    let account = organization.account(id).ok_or_else(account_not_found)?;
    if account.parent == to {
        return Err(AwsError::new(
            400,
            "DuplicateAccountException",
            "That account is already present in the specified destination.",
        ));
    }
    if account.parent != from {
        return Err(account_not_found());
    }
    move_account(world, id, to);
    Ok(JsonReply::Done(json!({})))
}

/// CreateAccount: accepted at once, done later.
pub(super) fn create_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let (name, email) = (required(input, "AccountName")?, required(input, "Email")?);
    if name.len() > 50 || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(pattern("AccountName"));
    }
    let (local, domain) = email.split_once('@').unwrap_or_default();
    if !(6..=64).contains(&email.len()) || local.is_empty() || !domain.contains('.') {
        return Err(invalid_input(
            "INVALID_EMAIL_ADDRESS_PATTERN",
            "You provided an invalid email address.",
        ));
    }
    if world.organization.len() >= world.scenario.organization.account_limit {
        return Err(constraint(
            "ACCOUNT_NUMBER_LIMIT_EXCEEDED",
            "You have exceeded the allowed number of AWS accounts.",
        ));
    }
    let running = world
        .organization
        .creations
        .values()
        .filter(|creation| creation.outcome.is_none())
        .count();
    if running >= 5 {
        return Err(AwsError::new(
            400,
            "ConcurrentModificationException",
            "AWS Organizations is already creating five accounts. Try again later.",
        ));
    }
    let creation = Creation {
        name: name.to_owned(),
        email: email.to_owned(),
        tags: tags::read(input)?,
        requested: world.now(),
        completed: None,
        outcome: None,
    };
    let request = format!("car-{}", world.ids.hex(32));
    let answer = status(&request, &creation);
    world
        .organization
        .creations
        .insert(request.clone(), creation);
    let answered = json!({ "createAccountStatus": { "id": request, "state": "IN_PROGRESS" } });
    events::called(world, "CreateAccount", Value::Null, answered);
    let time = world.scenario.organization.create_account_time;
    world.schedule(
        time,
        timers::Event::Organizations(Event::Created { request }),
    );
    Ok(JsonReply::Done(json!({ "CreateAccountStatus": answer })))
}

/// DescribeCreateAccountStatus.
pub(super) fn describe_create_call(
    world: &mut World,
    input: &Value,
) -> Result<JsonReply, AwsError> {
    let request = required(input, "CreateAccountRequestId")?;
    let creation = world.organization.creations.get(request).ok_or_else(|| {
        AwsError::new(
            400,
            "CreateAccountStatusNotFoundException",
            "You specified a create account request that doesn't exist.",
        )
    })?;
    Ok(JsonReply::Done(
        json!({ "CreateAccountStatus": status(request, creation) }),
    ))
}

/// ListCreateAccountStatus.
pub(super) fn list_create_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    optional(input, "NextToken")?;
    let states = input.get("States").and_then(Value::as_array);
    let found: Vec<Value> = world
        .organization
        .creations
        .iter()
        .map(|(request, creation)| status(request, creation))
        .filter(|status| states.is_none_or(|states| states.contains(&status["State"])))
        .collect();
    Ok(JsonReply::Done(json!({ "CreateAccountStatuses": found })))
}

/// CloseAccount.
pub(super) fn close_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = account_id(input, "AccountId")?;
    let organization = &world.organization;
    let account = organization.account(id).ok_or_else(account_not_found)?;
    if id == organization.management {
        return Err(constraint(
            "CANNOT_CLOSE_MANAGEMENT_ACCOUNT",
            "You cannot close the management account.",
        ));
    }
    let closing = organization
        .accounts()
        .filter(|a| a.state == State::PendingClosure)
        .count();
    match account.state {
        State::Closed | State::Suspended => Err(AwsError::new(
            400,
            "AccountAlreadyClosedException",
            "You attempted to close an account that is already closed.",
        )),
        State::PendingClosure => Err(AwsError::new(
            400,
            "ConflictException",
            "The account is being closed already.",
        )),
        State::Active if closing >= 3 => Err(constraint(
            "CLOSE_ACCOUNT_REQUESTS_LIMIT_EXCEEDED",
            "You have exceeded the number of accounts that can be closed at a time.",
        )),
        State::Active => {
            close_account(world, id);
            Ok(JsonReply::Done(json!({})))
        }
    }
}

/// RemoveAccountFromOrganization.
pub(super) fn remove_call(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = account_id(input, "AccountId")?;
    let organization = &world.organization;
    organization.account(id).ok_or_else(account_not_found)?;
    if id == organization.management {
        return Err(AwsError::new(
            400,
            "MasterCannotLeaveOrganizationException",
            "You can't remove a management account from an organization.",
        ));
    }
    if organization.delegated.contains_key(&id) {
        return Err(constraint(
            "CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG",
            "You must deregister the account as a delegated administrator first.",
        ));
    }
    remove_account(world, id);
    Ok(JsonReply::Done(json!({})))
}

fn created(world: &mut World, request: &str) {
    let Some(creation) = world.organization.creations.get(request).cloned() else {
        return;
    };
    let taken = world
        .organization
        .accounts()
        .any(|account| account.email(&world.organization.id) == creation.email);
    let outcome = if taken {
        let reason = "EMAIL_ALREADY_EXISTS";
        events::creation_failed(world, request, reason);
        Err(reason)
    } else {
        let id = add_account(world, &creation.name, Some(&creation.email));
        events::account_created(world, Some(request), id);
        if let Some(account) = world.organization.account_mut(id) {
            account.tags = creation.tags;
        }
        Ok(id)
    };
    let now = world.now();
    if let Some(creation) = world.organization.creations.get_mut(request) {
        creation.completed = Some(now);
        creation.outcome = Some(outcome);
    }
}

fn status(request: &str, creation: &Creation) -> Value {
    let mut status = json!({
        "Id": request,
        "AccountName": creation.name,
        "State": match creation.outcome {
            None => "IN_PROGRESS",
            Some(Ok(_)) => "SUCCEEDED",
            Some(Err(_)) => "FAILED",
        },
        "RequestedTimestamp": creation.requested.epoch_seconds(),
    });
    if let Some(completed) = creation.completed {
        status["CompletedTimestamp"] = completed.epoch_seconds().into();
    }
    match creation.outcome {
        Some(Ok(id)) => status["AccountId"] = id.to_string().into(),
        Some(Err(reason)) => status["FailureReason"] = reason.into(),
        None => {}
    }
    status
}
