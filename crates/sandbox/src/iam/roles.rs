//! Roles: making, changing and deleting them on behalf of a caller.

use std::sync::Arc;

use super::authorize::{authorize, authorize_with, aws_managed};
use super::document::{check_form, check_trust, size};
use super::policies::delete_conflict;
use super::store::{Role, prepare};
use super::{limit_exceeded, no_such_entity};
use crate::caller::Caller;
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

/// What a role shall be.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleSpec {
    /// Its name, at most 64 characters.
    pub(crate) name: String,
    /// Its path; empty means `/`.
    pub(crate) path: String,
    /// The trust policy, JSON text.
    pub(crate) trust: String,
    /// Its description.
    pub(crate) description: Option<String>,
    /// The longest session, in seconds; 3600 when not given.
    pub(crate) max_session: Option<u32>,
    /// ARNs of managed policies to attach.
    pub(crate) managed_policies: Vec<String>,
    /// Inline policies: name and JSON text.
    pub(crate) inline: Vec<(String, String)>,
    /// Tags.
    pub(crate) tags: Vec<(String, String)>,
    /// ARN of the permissions boundary.
    pub(crate) boundary: Option<String>,
}

/// The names of a role that was made.
#[derive(Clone, Debug)]
pub(crate) struct RoleIdentity {
    /// Its ARN.
    pub(crate) arn: String,
    /// `AROA…`.
    pub(crate) id: String,
}

/// Creates a role in the caller's account with its policies.
pub(crate) fn create_role(
    world: &mut World,
    caller: &Caller,
    spec: RoleSpec,
) -> Result<RoleIdentity, AwsError> {
    let account = caller.account;
    prepare(world, account);
    check_name(&spec.name, 64, "roleName")?;
    let path = if spec.path.is_empty() {
        "/"
    } else {
        &spec.path
    };
    let arn = format!("arn:aws:iam::{account}:role{path}{}", spec.name);
    let boundary = spec.boundary.as_deref().map(bounded_by);
    authorize_with(world, caller, "iam:CreateRole", &arn, boundary.as_slice())?;
    check_trust(&spec.trust)?;
    let max_session = spec.max_session.unwrap_or(3600);
    if !(3600..=43_200).contains(&max_session) {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{max_session}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200"
        )));
    }
    if world.iam.role(account, &spec.name).is_some() {
        return Err(AwsError::new(
            409,
            "EntityAlreadyExists",
            format!("Role with name {} already exists.", spec.name),
        ));
    }
    let now = world.now();
    let id = format!("AROA{}", world.ids.upper(17));
    let role = Role {
        name: spec.name.as_str().into(),
        path: path.into(),
        id: id.as_str().into(),
        trust: world.iam.intern(&spec.trust),
        previous_trust: None,
        trust_visible: now + world.scenario.iam.propagation,
        description: spec
            .description
            .as_deref()
            .map(|text| world.iam.intern(text)),
        max_session,
        created: now,
        attached: Vec::new(),
        inline: Vec::new(),
        tags: spec
            .tags
            .iter()
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect(),
        boundary: spec.boundary.as_deref().map(Into::into),
        last_used: None,
    };
    world.iam.account_mut(account).insert_role(role);
    // CloudFormation removes a role again whose policies it could not set.
    if let Err(error) = set_policies(world, caller, &spec.name, &RoleSpec::default(), &spec) {
        world.iam.account_mut(account).remove_role(&spec.name);
        return Err(error);
    }
    Ok(RoleIdentity { arn, id })
}

/// The condition key of a call that gives a role this permissions boundary.
fn bounded_by(boundary: &str) -> (&str, &str) {
    ("iam:PermissionsBoundary", boundary)
}

/// Changes a role from what one spec says to what another says. What differs from the first by somebody else's hand, and
/// is the same in both, stays as it is.
pub(crate) fn update_role(
    world: &mut World,
    caller: &Caller,
    name: &str,
    before: &RoleSpec,
    after: &RoleSpec,
) -> Result<(), AwsError> {
    let arn = find(world, caller.account, name)?.arn(caller.account);
    if before.description != after.description || before.max_session != after.max_session {
        authorize(world, caller, "iam:UpdateRole", &arn)?;
    }
    match (before.boundary.as_deref(), after.boundary.as_deref()) {
        (before, after) if before == after => {}
        (_, Some(boundary)) => {
            let context = [bounded_by(boundary)];
            authorize_with(
                world,
                caller,
                "iam:PutRolePermissionsBoundary",
                &arn,
                &context,
            )?;
        }
        (_, None) => authorize(world, caller, "iam:DeleteRolePermissionsBoundary", &arn)?,
    }
    if before.trust != after.trust {
        set_trust(world, caller, name, &after.trust)?;
    }
    let description = after
        .description
        .as_deref()
        .map(|text| world.iam.intern(text));
    if let Some(role) = world.iam.role_mut(caller.account, name) {
        if before.description != after.description {
            role.description = description;
        }
        if before.max_session != after.max_session {
            role.max_session = after.max_session.unwrap_or(3600);
        }
        role.tags = after
            .tags
            .iter()
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect();
        if before.boundary != after.boundary {
            role.boundary = after.boundary.as_deref().map(Into::into);
        }
    }
    set_policies(world, caller, name, before, after)
}

/// Deletes a role with the inline and attached policies that a spec says. It must have no others.
pub(crate) fn delete_role(
    world: &mut World,
    caller: &Caller,
    name: &str,
    own: &RoleSpec,
) -> Result<(), AwsError> {
    let role = find(world, caller.account, name)?;
    authorize(world, caller, "iam:DeleteRole", &role.arn(caller.account))?;
    if !(role.attached.iter()).all(|arn| own.managed_policies.iter().any(|own| **arn == *own)) {
        return Err(delete_conflict(
            "Cannot delete entity, must detach all policies first.",
        ));
    }
    if !(role.inline.iter()).all(|(name, _)| own.inline.iter().any(|(own, _)| **name == *own)) {
        return Err(delete_conflict(
            "Cannot delete entity, must delete policies first.",
        ));
    }
    let (arn, attached) = (role.arn(caller.account), role.attached.clone());
    for policy in &attached {
        let context = [("iam:PolicyARN", &**policy)];
        authorize_with(world, caller, "iam:DetachRolePolicy", &arn, &context)?;
    }
    if !role.inline.is_empty() {
        authorize(world, caller, "iam:DeleteRolePolicy", &arn)?;
    }
    world.iam.account_mut(caller.account).remove_role(name);
    Ok(())
}

/// Replaces a trust policy; other services see the old one a while longer.
pub(super) fn set_trust(
    world: &mut World,
    caller: &Caller,
    name: &str,
    trust: &str,
) -> Result<(), AwsError> {
    let arn = find(world, caller.account, name)?.arn(caller.account);
    authorize(world, caller, "iam:UpdateAssumeRolePolicy", &arn)?;
    check_trust(trust)?;
    let (now, propagation) = (world.now(), world.scenario.iam.propagation);
    let trust = world.iam.intern(trust);
    if let Some(role) = world.iam.role_mut(caller.account, name) {
        role.previous_trust = seen(role, now);
        role.trust_visible = now + propagation;
        role.trust = trust;
    }
    Ok(())
}

/// The trust policy of a role that other services see now; none for a role that is too new.
pub(crate) fn effective_trust(world: &World, account: AccountId, name: &str) -> Option<Arc<str>> {
    world
        .iam
        .role(account, name)
        .and_then(|role| seen(role, world.now()))
}

fn seen(role: &Role, now: crate::clock::SimTime) -> Option<Arc<str>> {
    if now >= role.trust_visible {
        Some(role.trust.clone())
    } else {
        role.previous_trust.clone()
    }
}

/// Adds or replaces one inline policy.
pub(super) fn put_inline(
    world: &mut World,
    caller: &Caller,
    name: &str,
    policy: &str,
    document: &str,
) -> Result<(), AwsError> {
    let arn = find(world, caller.account, name)?.arn(caller.account);
    authorize(world, caller, "iam:PutRolePolicy", &arn)?;
    check_name(policy, 128, "policyName")?;
    check_form(document)?;
    let document = world.iam.intern(document);
    let Some(role) = world.iam.role_mut(caller.account, name) else {
        return Ok(());
    };
    let others: usize = role
        .inline
        .iter()
        .filter(|(n, _)| **n != *policy)
        .map(|(_, text)| size(text))
        .sum();
    if others + size(&document) > 10_240 {
        return Err(limit_exceeded(format!(
            "Maximum policy size of 10240 bytes exceeded for role {name}"
        )));
    }
    role.inline.retain(|(other, _)| **other != *policy);
    role.inline.push((policy.into(), document));
    Ok(())
}

/// Attaches one managed policy; attaching it twice changes nothing.
pub(super) fn attach(
    world: &mut World,
    caller: &Caller,
    name: &str,
    policy: &str,
) -> Result<(), AwsError> {
    let arn = find(world, caller.account, name)?.arn(caller.account);
    let attached = [("iam:PolicyARN", policy)];
    authorize_with(world, caller, "iam:AttachRolePolicy", &arn, &attached)?;
    let own = world.iam.policy(caller.account, policy).is_some();
    if !own && aws_managed(policy).is_none() {
        return Err(no_such_entity(format!(
            "Policy {policy} does not exist or is not attachable."
        )));
    }
    let shared = if own {
        policy.into()
    } else {
        world.iam.intern(policy)
    };
    let Some(role) = world.iam.role_mut(caller.account, name) else {
        return Ok(());
    };
    if role.attached.iter().any(|attached| **attached == *policy) {
        return Ok(());
    }
    if role.attached.len() >= 10 {
        return Err(limit_exceeded(
            "Cannot exceed quota for PoliciesPerRole: 10",
        ));
    }
    role.attached.reserve_exact(1);
    role.attached.push(shared);
    Ok(())
}

/// A role of an account, or `NoSuchEntity`/404.
pub(super) fn find<'a>(
    world: &'a World,
    account: AccountId,
    name: &str,
) -> Result<&'a Role, AwsError> {
    world
        .iam
        .role(account, name)
        .ok_or_else(|| no_such_entity(format!("The role with name {name} cannot be found.")))
}

/// Checks the form of a name: `ValidationError`/400.
pub(super) fn check_name(name: &str, limit: usize, field: &str) -> Result<(), AwsError> {
    let fits = !name.is_empty()
        && name.len() <= limit
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if fits {
        return Ok(());
    }
    Err(AwsError::validation(format!(
        "1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: Member must have length less than or equal to {limit} and satisfy regular expression pattern: [\\w+=,.@-]+"
    )))
}

/// Takes away the policies that only the first spec has, and writes those that the second has otherwise.
fn set_policies(
    world: &mut World,
    caller: &Caller,
    name: &str,
    before: &RoleSpec,
    after: &RoleSpec,
) -> Result<(), AwsError> {
    if let Some(role) = world.iam.role_mut(caller.account, name) {
        let is_left = |name: &str| {
            let has = |spec: &RoleSpec| spec.inline.iter().any(|(own, _)| own == name);
            has(before) && !has(after)
        };
        role.inline.retain(|(name, _)| !is_left(name));
        role.attached.retain(|arn| {
            let has = |spec: &RoleSpec| spec.managed_policies.iter().any(|own| *own == **arn);
            !has(before) || has(after)
        });
    }
    for policy in &after.inline {
        if !before.inline.contains(policy) {
            put_inline(world, caller, name, &policy.0, &policy.1)?;
        }
    }
    for arn in &after.managed_policies {
        if !before.managed_policies.contains(arn) {
            attach(world, caller, name, arn)?;
        }
    }
    Ok(())
}
