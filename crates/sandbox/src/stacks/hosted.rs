//! The functions that Spot hosts for its own StackSet templates, as far as their names are public.
//!
//! They call Spot in process, with the token that the template hands them.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{Event, response};
use crate::spot;
use crate::timers;
use crate::world::World;

/// How often the link is tried while the new role propagates, and how long between two tries.
const LINK_ATTEMPTS: u32 = 12;
const LINK_PAUSE: Duration = Duration::from_secs(5);

/// What came of one run.
enum Ran {
    /// The answer: the physical id, or why not.
    Answer(Result<String, String>),
    /// Try again, the role is not there yet.
    Again,
}

/// Runs a function for a request.
pub(super) fn run(world: &mut World, token: Uuid, function: &str, attempt: u32) {
    let Some(request) = world
        .stacks
        .waiting
        .get(&token)
        .and_then(|pending| pending.request.clone())
    else {
        return;
    };
    match handle(world, function, &request, attempt) {
        Ran::Answer(result) => response::answer(world, token, &request, result),
        Ran::Again => {
            let event = Event::Hosted {
                token,
                function: function.into(),
                attempt: attempt + 1,
            };
            world.schedule(LINK_PAUSE, timers::Event::Stacks(event));
        }
    }
}

fn handle(world: &mut World, function: &str, request: &Value, attempt: u32) -> Ran {
    let property = |name: &str| {
        request["ResourceProperties"][name]
            .as_str()
            .unwrap_or_default()
    };
    let kind = request["RequestType"].as_str().unwrap_or_default();
    let existing = request["PhysicalResourceId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if !spot::token_is_valid(world, property("Token")) {
        // A Delete must not wedge the stack.
        return Ran::Answer(if kind == "Delete" {
            Ok(existing)
        } else {
            Err("the Spot token was refused".into())
        });
    }
    let text = |error: spot::SpotError| error.to_string();
    Ran::Answer(match (function, kind) {
        ("onboarding-stackset-account-lambda", "Create") => {
            spot::create_account(world, property("AwsAccountId")).map_err(text)
        }
        ("onboarding-stackset-account-lambda", "Delete") => {
            if existing.starts_with("act-") {
                spot::delete_account(world, &existing)
                    .map(|()| existing)
                    .map_err(text)
            } else {
                Ok(existing)
            }
        }
        ("onboarding-stackset-external-id-lambda", "Create") => {
            spot::create_external_id(world, property("SpotAccountId")).map_err(text)
        }
        ("spotinst-set-credentials", "Create" | "Update") => {
            match spot::set_credentials(world, property("AccountId"), property("IamRoleArn")) {
                Ok(()) => Ok(format!("credentials-{}", property("AccountId"))),
                Err(_) if attempt < LINK_ATTEMPTS => return Ran::Again,
                Err(error) => Err(text(error)),
            }
        }
        ("onboarding-stackset-alias-lambda", "Create" | "Update") => {
            rename_by_alias(world, property("SpotAccountId"), property("AwsAccountId"))
                .map_err(text)
        }
        (
            "onboarding-stackset-account-lambda"
            | "onboarding-stackset-external-id-lambda"
            | "spotinst-set-credentials"
            | "onboarding-stackset-alias-lambda",
            _,
        ) => Ok(existing),
        _ => Err(format!("Function not found: {function}")),
    })
}

/// Names a Spot account by the alias of its AWS account; without an alias it keeps its name.
fn rename_by_alias(
    world: &mut World,
    spot_account: &str,
    aws_account: &str,
) -> Result<String, spot::SpotError> {
    let alias = aws_account
        .parse()
        .ok()
        .and_then(|account| world.iam.account(account)?.alias.clone());
    if let Some(alias) = alias {
        spot::rename_account(world, spot_account, &alias)?;
    }
    Ok(format!("alias-{spot_account}"))
}
