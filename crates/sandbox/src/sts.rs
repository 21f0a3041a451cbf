//! AWS STS: who am I, and assuming roles (Query protocol).

use std::time::{Duration, SystemTime};

use crate::caller::{Caller, Identity, Session};
use crate::clock::SimTime;
use crate::iam::document::{Decision, Principal, Request, evaluate};
use crate::iam::{self, authorize, effective_trust};
use crate::ids::AccountId;
use crate::organizations::State;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// The `Version` of the API.
pub(crate) const VERSION: &str = "2011-06-15";

/// Answers one STS call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    match request.action.as_str() {
        "GetCallerIdentity" => {
            let mut xml = Xml::new();
            xml.text("UserId", &call.caller.user_id)
                .text("Account", call.caller.account)
                .text("Arn", &call.caller.arn);
            Ok(xml.into())
        }
        "AssumeRole" => assume_role(world, call, request),
        _ => Err(AwsError::invalid_action(&request.action, VERSION)),
    }
}

fn assume_role(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let arn = request.require("RoleArn")?;
    let session = request.require("RoleSessionName")?;
    if !(2..=64).contains(&session.len())
        || !session
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_=,.@-+".contains(&b))
    {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        )));
    }
    let seconds = request.number("DurationSeconds")?.unwrap_or(3600);
    if !(900..=43_200).contains(&seconds) {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200"
        )));
    }
    let caller = &call.caller;
    let denied = || {
        AwsError::access_denied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            caller.arn
        ))
    };
    authorize(world, caller, "sts:AssumeRole", arn)?;
    let (account, name) = role_of(arn).ok_or_else(denied)?;
    let usable = world
        .organization
        .account(account)
        .is_some_and(|a| a.state == State::Active);
    if !usable || !trusts(world, account, name, caller, request.get("ExternalId")) {
        return Err(denied());
    }
    let now = world.now();
    let role = world.iam.role_mut(account, name).ok_or_else(denied)?;
    let chained = matches!(caller.identity, Identity::Role(_));
    if seconds > u64::from(role.max_session) || (chained && seconds > 3600) {
        return Err(AwsError::validation(if chained {
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        } else {
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        }));
    }
    role.last_used = Some(now);
    let (role_name, role_id) = (role.name.to_string(), role.id.to_string());
    let assumed = Caller {
        account,
        arn: format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session}"),
        user_id: format!("{role_id}:{session}"),
        identity: Identity::Role(role_name),
        via_cloudformation: false,
    };
    Ok(issue(world, assumed, seconds).into())
}

fn issue(world: &mut World, caller: Caller, seconds: u64) -> Xml {
    let key = format!("ASIA{}", world.ids.upper(16));
    let (secret, token) = (world.ids.lower(40), format!("IQoJ{}", world.ids.hex(64)));
    let now = SystemTime::now();
    let expires = now + Duration::from_secs(seconds);
    world.sessions.0.retain(|_, session| session.expires > now);
    let mut xml = Xml::new();
    xml.element("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &caller.user_id)
            .text("Arn", &caller.arn);
    })
    .element("Credentials", |xml| {
        xml.text("AccessKeyId", &key)
            .text("SecretAccessKey", &secret)
            .text("SessionToken", &token)
            .text("Expiration", SimTime::from_system(expires));
    })
    .text("PackedPolicySize", 0);
    world.sessions.0.insert(
        key,
        Session {
            caller,
            token,
            expires,
        },
    );
    xml
}

/// Whether a role's trust policy, as far as it has spread, lets a caller in.
fn trusts(
    world: &mut World,
    account: AccountId,
    name: &str,
    caller: &Caller,
    external_id: Option<&str>,
) -> bool {
    iam::prepare(world, account);
    let Some(trust) = effective_trust(world, account, name) else {
        return false;
    };
    let mut arns = vec![caller.arn.clone()];
    if let Identity::Role(role) = &caller.identity
        && let Some(role) = world.iam.role(caller.account, role)
    {
        arns.push(role.arn(caller.account));
    }
    let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
    let caller_account = caller.account.to_string();
    let mut context = vec![
        ("aws:PrincipalAccount", caller_account.as_str()),
        ("aws:PrincipalArn", arns[arns.len() - 1]),
    ];
    let organization = world.organization.id.clone();
    if world.organization.account(caller.account).is_some() {
        context.push(("aws:PrincipalOrgID", &organization));
    }
    if let Some(id) = external_id {
        context.push(("sts:ExternalId", id));
    }
    let request = Request {
        principal: Principal::Aws {
            account: caller.account,
            arns: &arns,
        },
        action: "sts:AssumeRole",
        resource: "",
        context: &context,
    };
    evaluate(&trust, &request) == Decision::Allow
}

/// The account and name in a role's ARN, whatever its path.
pub(crate) fn role_of(arn: &str) -> Option<(AccountId, &str)> {
    let rest = arn.strip_prefix("arn:aws:iam::")?;
    let (account, role) = rest.split_once(":role/")?;
    Some((account.parse().ok()?, role.rsplit('/').next()?))
}
