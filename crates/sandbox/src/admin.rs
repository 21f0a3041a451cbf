//! The admin API under `/_sandbox`: changes the world as nobody could from outside, and shows it.
//!
//! JSON in, JSON out, no authentication, no latency, no rates, no faults; see docs/sandbox.md.

use std::collections::{BTreeMap, HashMap};

use axum::response::Response;
use serde_json::{Value, json};

use crate::caller::administrator_key;
use crate::config_service;
use crate::ids::AccountId;
use crate::organizations::{self, Account, State};
use crate::server::{Incoming, reply};
use crate::spot;
use crate::stack_sets;
use crate::world::{SharedWorld, World};

/// Why an admin request was refused: an HTTP status and a text.
type Refusal = (u16, String);

/// Answers one admin request.
pub(crate) fn handle(world: &SharedWorld, incoming: &Incoming) -> Response {
    let body = if incoming.body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_slice(&incoming.body)
    };
    let path: Vec<&str> = incoming
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .skip(1)
        .collect();
    let answer = match body {
        Ok(body) => route(&mut world.lock(), incoming.method.as_str(), &path, &body),
        Err(error) => Err((400, format!("the body is not JSON: {error}"))),
    };
    match answer {
        Ok(value) => reply::json(200, value.to_string()),
        Err((status, message)) => reply::json(status, json!({ "error": message }).to_string()),
    }
}

fn route(world: &mut World, method: &str, path: &[&str], body: &Value) -> Result<Value, Refusal> {
    match (method, path) {
        ("GET", ["state"]) => Ok(state(world)),
        ("POST", ["clock"]) => set_clock(world, body),
        ("GET", ["ous"]) => Ok(units(world)),
        ("GET", ["accounts"]) => Ok(accounts(world)),
        ("POST", ["accounts"]) => create_account(world, body),
        ("GET", ["accounts", id]) => account(world, find(world, id)?),
        ("POST", ["accounts", id, action]) => {
            let id = find(world, id)?;
            change_account(world, id, action, body)?;
            account_or_gone(world, id)
        }
        ("POST", ["recorders"]) => {
            config_service::look_now(world);
            Ok(config_service::state(world))
        }
        ("GET", ["calls"]) => Ok(json!({
            "calls": world.calls.arrived(),
            "throttled": world.calls.throttled(),
        })),
        ("DELETE", ["calls"]) => {
            world.calls.reset();
            Ok(json!({}))
        }
        ("GET", ["faults"]) => Ok(json!({ "faults": world.faults.rules() })),
        ("POST", ["faults"]) => {
            let rule = serde_json::from_value(body.clone())
                .map_err(|error| (400, format!("not a fault rule: {error}")))?;
            world.faults.add(rule);
            Ok(json!({ "faults": world.faults.rules() }))
        }
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            Ok(json!({}))
        }
        ("GET", ["spot"]) => Ok(json!({
            "accounts": spot::overview(world, None),
            "user_groups": spot::user_groups(world),
        })),
        ("POST", ["spot", id, "unlist"]) => {
            let unlisted = body["unlisted"].as_bool().unwrap_or(true);
            spot::set_unlisted(world, id, unlisted)
                .map_err(|error| (error.status, error.message))?;
            Ok(json!({}))
        }
        ("POST", ["spot", id, "running"]) => {
            let running = body["running"].as_bool().unwrap_or(true);
            spot::set_running(world, id, running).map_err(|error| (error.status, error.message))?;
            Ok(json!({}))
        }
        ("POST", ["spot", id, "unlink"]) => {
            spot::unlink(world, id).map_err(|error| (error.status, error.message))?;
            Ok(json!({}))
        }
        ("POST", ["spot", id, "cost-intelligence-off"]) => {
            spot::switch_off_cost_intelligence(world, id)
                .map_err(|error| (error.status, error.message))?;
            Ok(json!({}))
        }
        _ => Err((
            404,
            format!("there is no {method} /_sandbox/{}", path.join("/")),
        )),
    }
}

fn state(world: &World) -> Value {
    let organization = &world.organization;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for account in organization.accounts() {
        *states.entry(account.state.name()).or_default() += 1;
    }
    json!({
        "time": world.now().to_string(),
        "clock_speed": world.clock.speed(),
        "pending_events": world.timers.len(),
        "organization": {
            "id": organization.id,
            "root": organization.root_id(),
            "management": organization.management.to_string(),
            "ous": organization.ous().len() - 1,
            "accounts": organization.len(),
            "states": states,
            "trusted_services": organization.trusted_services.keys().collect::<Vec<_>>(),
        },
        "spot": { "accounts": world.spot.len() },
        "stack_sets": stack_sets::state(world),
        "config": config_service::state(world),
    })
}

/// `{"speed"}`: simulated seconds per real second; 0 stops the clock.
fn set_clock(world: &mut World, body: &Value) -> Result<Value, Refusal> {
    let speed = body["speed"]
        .as_f64()
        .filter(|speed| (0.0..=1e9).contains(speed))
        .ok_or((400, "speed must be a number from 0 to 1e9".to_owned()))?;
    world.clock.set_speed(speed);
    world.timers.wake();
    Ok(json!({ "time": world.now().to_string(), "clock_speed": speed }))
}

fn units(world: &World) -> Value {
    let organization = &world.organization;
    let units: Vec<Value> = organization
        .ous()
        .iter()
        .map(|unit| {
            json!({
                "id": unit.id,
                "name": unit.name,
                "parent": unit.parent.map(|parent| &organization.ou(parent).id),
                "path": unit.path,
            })
        })
        .collect();
    json!({ "ous": units })
}

fn accounts(world: &World) -> Value {
    let mut linked: HashMap<AccountId, Vec<String>> = HashMap::new();
    for (cloud, id) in spot::links(world) {
        linked.entry(cloud).or_default().push(id);
    }
    let all: Vec<Value> = world
        .organization
        .accounts()
        .map(|account| {
            let mut entry = describe(world, account);
            entry["spot_accounts"] = json!(linked.remove(&account.id).unwrap_or_default());
            entry
        })
        .collect();
    json!({ "accounts": all })
}

fn describe(world: &World, account: &Account) -> Value {
    let unit = world.organization.ou(account.parent);
    json!({
        "id": account.id.to_string(),
        "name": account.name,
        "parent": unit.id,
        "parent_name": unit.name,
        "state": account.state.name(),
        "invited": account.invited,
        "scp_blocked": account.scp_blocked,
        "tags": account.tags,
        "management": account.id == world.organization.management,
    })
}

fn account(world: &World, id: AccountId) -> Result<Value, Refusal> {
    let member = world
        .organization
        .account(id)
        .ok_or((404, format!("no account {id}")))?;
    let mut entry = describe(world, member);
    entry["spot_accounts"] = json!(spot::overview(world, Some(id)));
    entry["environment"] = json!({
        "AWS_ACCESS_KEY_ID": administrator_key(id),
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    });
    Ok(entry)
}

fn account_or_gone(world: &World, id: AccountId) -> Result<Value, Refusal> {
    account(world, id).or_else(|_| Ok(json!({ "id": id.to_string(), "removed": true })))
}

/// `{"name", "ou"?, "email"?}`: the account comes to the root and is moved from there, as Control
/// Tower does it.
fn create_account(world: &mut World, body: &Value) -> Result<Value, Refusal> {
    let name = body["name"]
        .as_str()
        .ok_or((400, "an account needs a name".to_owned()))?;
    let unit = body["ou"].as_str();
    if let Some(unit) = unit
        && world.organization.find_ou(unit).is_none()
    {
        return Err((404, format!("no organizational unit {unit}")));
    }
    let id = organizations::create_account(world, name, body["email"].as_str());
    if let Some(unit) = unit.and_then(|unit| world.organization.find_ou(unit)) {
        organizations::move_account(world, id, unit);
    }
    account(world, id)
}

fn change_account(
    world: &mut World,
    id: AccountId,
    action: &str,
    body: &Value,
) -> Result<(), Refusal> {
    if id == world.organization.management {
        return Err((400, "the management account stays as it is".into()));
    }
    match action {
        "move" => {
            let unit = body["ou"].as_str().unwrap_or_default();
            let to = world
                .organization
                .find_ou(unit)
                .ok_or((404, format!("no organizational unit {unit:?}")))?;
            organizations::move_account(world, id, to);
        }
        "close" => organizations::close_account(world, id),
        "remove" => organizations::remove_account(world, id),
        "suspend" => world.organization.set_state(id, State::Suspended),
        "activate" => world.organization.set_state(id, State::Active),
        "unlist" => {
            let unlisted = body["unlisted"].as_bool().unwrap_or(true);
            world.organization.set_unlisted(id, unlisted);
        }
        "scp" => {
            let blocked = body["blocked"].as_bool().unwrap_or(true);
            world.organization.set_scp_blocked(id, blocked);
        }
        _ => {
            return Err((
                404,
                format!("{action} is none of move, close, remove, suspend, activate, unlist, scp"),
            ));
        }
    }
    Ok(())
}

fn find(world: &World, id: &str) -> Result<AccountId, Refusal> {
    id.parse()
        .ok()
        .filter(|id| world.organization.account(*id).is_some())
        .ok_or((404, format!("no account {id}")))
}
