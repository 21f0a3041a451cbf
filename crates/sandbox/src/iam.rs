//! AWS IAM: roles, managed policies and account aliases of every account (Query protocol).
//!
//! The functions that change something take the caller whose account they act on, so that
//! CloudFormation and the API share one set of checks.

mod aliases;
mod authorize;
pub(crate) mod document;
mod policies;
mod policy_calls;
mod role_calls;
mod roles;
mod store;
mod write;

pub(crate) use authorize::{authorize, role_allows};
pub(crate) use policies::{
    PolicySpec, create_managed_policy, delete_managed_policy, update_managed_policy,
};
pub(crate) use roles::{RoleSpec, create_role, delete_role, effective_trust, update_role};
pub(crate) use store::{Iam, ManagedPolicy, Role, prepare};
pub(crate) use write::encode;

use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::QueryReply;
use crate::world::World;

/// The `Version` of the API.
pub(crate) const VERSION: &str = "2010-05-08";

/// Answers one IAM call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    prepare(world, call.caller.account);
    let caller = &call.caller;
    match request.action.as_str() {
        "CreateRole" => role_calls::create(world, caller, request),
        "GetRole" => role_calls::get(world, caller, request),
        "ListRoles" => role_calls::list(world, caller, request),
        "UpdateRole" => role_calls::update(world, caller, request),
        "UpdateAssumeRolePolicy" => role_calls::update_trust(world, caller, request),
        "DeleteRole" => role_calls::delete(world, caller, request),
        "TagRole" => role_calls::tag(world, caller, request),
        "PutRolePolicy" => role_calls::put_inline(world, caller, request),
        "GetRolePolicy" => role_calls::get_inline(world, caller, request),
        "ListRolePolicies" => role_calls::list_inline(world, caller, request),
        "DeleteRolePolicy" => role_calls::delete_inline(world, caller, request),
        "AttachRolePolicy" => role_calls::attach(world, caller, request),
        "DetachRolePolicy" => role_calls::detach(world, caller, request),
        "ListAttachedRolePolicies" => role_calls::list_attached(world, caller, request),
        "CreatePolicy" => policy_calls::create(world, caller, request),
        "GetPolicy" => policy_calls::get(world, caller, request),
        "ListPolicies" => policy_calls::list(world, caller, request),
        "DeletePolicy" => policy_calls::delete(world, caller, request),
        "CreatePolicyVersion" => policy_calls::create_version(world, caller, request),
        "GetPolicyVersion" => policy_calls::get_version(world, caller, request),
        "ListPolicyVersions" => policy_calls::list_versions(world, caller, request),
        "DeletePolicyVersion" => policy_calls::delete_version(world, caller, request),
        "SetDefaultPolicyVersion" => policy_calls::set_default(world, caller, request),
        "CreateAccountAlias" => aliases::create(world, caller, request),
        "DeleteAccountAlias" => aliases::delete(world, caller, request),
        "ListAccountAliases" => aliases::list(world, caller),
        _ => Err(AwsError::invalid_action(&request.action, VERSION)),
    }
}

fn no_such_entity(message: impl Into<String>) -> AwsError {
    AwsError::new(404, "NoSuchEntity", message)
}

fn limit_exceeded(message: impl Into<String>) -> AwsError {
    AwsError::new(409, "LimitExceeded", message)
}
