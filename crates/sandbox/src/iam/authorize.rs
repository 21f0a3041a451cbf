//! Decides whether a caller may do something: service control policies first, then its own policies.

use super::document::{Decision, Principal, Request, evaluate, like};
use super::store::Role;
use crate::caller::{Caller, Identity};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Asks whether a caller may perform `action` (`iam:CreateRole`) on a resource ARN.
///
/// # Errors
/// `AccessDenied`/403, with AWS's text for an explicit deny in a service control policy or for a
/// missing permission.
pub(crate) fn authorize(
    world: &World,
    caller: &Caller,
    action: &str,
    resource: &str,
) -> Result<(), AwsError> {
    authorize_with(world, caller, action, resource, &[])
}

/// The same, of a call that has these condition keys beside those of its caller.
///
/// # Errors
/// As [`authorize`].
pub(super) fn authorize_with(
    world: &World,
    caller: &Caller,
    action: &str,
    resource: &str,
    context: &[(&str, &str)],
) -> Result<(), AwsError> {
    let denied = |why: &str| {
        Err(AwsError::access_denied(format!(
            "User: {} is not authorized to perform: {action} on resource: {resource} {why}",
            caller.arn
        )))
    };
    // Service control policies never apply to the management account.
    let blocked = world
        .organization
        .account(caller.account)
        .is_some_and(|a| a.scp_blocked)
        && caller.account != world.organization.management;
    if blocked {
        let patterns = &world.scenario.organization.scp_denied_actions;
        if patterns
            .iter()
            .any(|p| like(&p.to_lowercase(), &action.to_lowercase()))
        {
            return denied("with an explicit deny in a service control policy");
        }
    }
    let Identity::Role(name) = &caller.identity else {
        return Ok(());
    };
    let via: &[(&str, &str)] = match caller.via_cloudformation {
        true => &[("aws:CalledVia", "cloudformation.amazonaws.com")],
        false => &[],
    };
    let context = [via, context].concat();
    let request = Request {
        principal: Principal::Identity,
        action,
        resource,
        context: &context,
    };
    let decision = world
        .iam
        .role(caller.account, name)
        .map_or(Decision::Silent, |role| {
            role_decision(world, caller.account, role, &request)
        });
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny => denied("with an explicit deny in an identity-based policy"),
        Decision::Silent => denied(&format!(
            "because no identity-based policy allows the {action} action"
        )),
    }
}

/// Whether the policies of a role allow an action on everything.
pub(crate) fn role_allows(world: &World, account: AccountId, name: &str, action: &str) -> bool {
    let request = Request {
        principal: Principal::Identity,
        action,
        resource: "*",
        context: &[],
    };
    world
        .iam
        .role(account, name)
        .is_some_and(|role| role_decision(world, account, role, &request) == Decision::Allow)
}

fn role_decision(
    world: &World,
    account: AccountId,
    role: &Role,
    request: &Request<'_>,
) -> Decision {
    let managed = role.attached.iter().filter_map(|arn| {
        world
            .iam
            .policy(account, arn)
            .and_then(|policy| policy.document().map(|document| &**document))
            .or_else(|| aws_managed(arn))
    });
    let inline = role.inline.iter().map(|(_, document)| &**document);
    let mut decision = Decision::Silent;
    for document in managed.chain(inline) {
        match evaluate(document, request) {
            Decision::Deny => return Decision::Deny,
            Decision::Allow => decision = Decision::Allow,
            Decision::Silent => {}
        }
    }
    decision
}

/// The documents of AWS's own managed policies, as far as our services are concerned.
pub(super) fn aws_managed(arn: &str) -> Option<&'static str> {
    match arn.strip_prefix("arn:aws:iam::aws:policy/")? {
        "AdministratorAccess" => Some(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
        ),
        "IAMReadOnlyAccess" => Some(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*"],"Resource":"*"}]}"#,
        ),
        "ReadOnlyAccess" | "SecurityAudit" => Some(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","organizations:Describe*","organizations:List*","cloudformation:Describe*","cloudformation:Get*","cloudformation:List*","sns:Get*","sns:List*","sqs:Get*","sqs:List*"],"Resource":"*"}]}"#,
        ),
        _ => None,
    }
}
