//! Customer managed policies and their versions.

use super::authorize::authorize;
use super::document::{check_form, check_size};
use super::roles::check_name;
use super::store::{ManagedPolicy, PolicyVersion, policy_path, prepare};
use super::{limit_exceeded, no_such_entity};
use crate::caller::Caller;
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

/// AWS's quota: characters of a managed policy without white space.
const MAX_SIZE: usize = 6144;
/// AWS's quota: versions of a managed policy.
const MAX_VERSIONS: usize = 5;

/// What a managed policy shall be.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicySpec {
    /// Its name.
    pub(crate) name: String,
    /// Its path; empty means `/`.
    pub(crate) path: String,
    /// JSON text.
    pub(crate) document: String,
    /// Its description.
    pub(crate) description: Option<String>,
}

/// Creates a managed policy in the caller's account; returns its ARN.
pub(crate) fn create_managed_policy(
    world: &mut World,
    caller: &Caller,
    spec: PolicySpec,
) -> Result<String, AwsError> {
    let account = caller.account;
    prepare(world, account);
    check_name(&spec.name, 128, "policyName")?;
    let path = if spec.path.is_empty() {
        "/"
    } else {
        &spec.path
    };
    let arn = format!("arn:aws:iam::{account}:policy{path}{}", spec.name);
    authorize(world, caller, "iam:CreatePolicy", &arn)?;
    check_form(&spec.document)?;
    check_size(&spec.document, MAX_SIZE, "PolicySize")?;
    let lower = spec.name.to_lowercase();
    if world
        .iam
        .account_mut(account)
        .policies()
        .any(|policy| policy.name.to_lowercase() == lower)
    {
        return Err(AwsError::new(
            409,
            "EntityAlreadyExists",
            format!(
                "A policy called {} already exists. Duplicate names are not allowed.",
                spec.name
            ),
        ));
    }
    let now = world.now();
    let policy = ManagedPolicy {
        name: spec.name.as_str().into(),
        path: path.into(),
        id: format!("ANPA{}", world.ids.upper(17)).into(),
        description: spec
            .description
            .as_deref()
            .map(|text| world.iam.intern(text)),
        versions: vec![PolicyVersion {
            number: 1,
            document: world.iam.intern(&spec.document),
            created: now,
        }],
        default: 1,
        created: now,
        updated: now,
    };
    world.iam.account_mut(account).insert_policy(policy);
    Ok(arn)
}

/// Adds a default version as CloudFormation does: the oldest other one makes room when there are five.
pub(crate) fn update_managed_policy(
    world: &mut World,
    caller: &Caller,
    arn: &str,
    document: &str,
) -> Result<(), AwsError> {
    if find(world, caller.account, arn)?.versions.len() >= MAX_VERSIONS
        && let Some(policy) = world.iam.policy_mut(caller.account, arn)
        && let Some(oldest) = policy
            .versions
            .iter()
            .position(|v| v.number != policy.default)
    {
        policy.versions.remove(oldest);
    }
    add_version(world, caller, arn, document, true).map(|_| ())
}

/// Adds a version; returns its number.
pub(super) fn add_version(
    world: &mut World,
    caller: &Caller,
    arn: &str,
    document: &str,
    default: bool,
) -> Result<u32, AwsError> {
    let policy = find(world, caller.account, arn)?;
    let count = policy.versions.len();
    authorize(world, caller, "iam:CreatePolicyVersion", arn)?;
    check_form(document)?;
    check_size(document, MAX_SIZE, "PolicySize")?;
    if count >= MAX_VERSIONS {
        return Err(limit_exceeded(
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
        ));
    }
    let (now, document) = (world.now(), world.iam.intern(document));
    let policy = find_mut(world, caller.account, arn)?;
    let number = policy
        .versions
        .iter()
        .map(|v| v.number)
        .max()
        .unwrap_or_default()
        + 1;
    policy.versions.push(PolicyVersion {
        number,
        document,
        created: now,
    });
    policy.updated = now;
    if default {
        policy.default = number;
    }
    Ok(number)
}

/// Deletes a managed policy with all its versions; it must not be attached.
pub(crate) fn delete_managed_policy(
    world: &mut World,
    caller: &Caller,
    arn: &str,
) -> Result<(), AwsError> {
    find(world, caller.account, arn)?;
    authorize(world, caller, "iam:DeletePolicy", arn)?;
    if attachments(world, caller.account, arn) > 0 {
        return Err(delete_conflict(
            "Cannot delete a policy attached to entities.",
        ));
    }
    let path_and_name = policy_path(caller.account, arn).unwrap_or_default();
    world
        .iam
        .account_mut(caller.account)
        .remove_policy(path_and_name);
    Ok(())
}

/// How many roles a policy is attached to.
pub(super) fn attachments(world: &World, account: AccountId, arn: &str) -> usize {
    let roles = world
        .iam
        .account(account)
        .into_iter()
        .flat_map(|iam| iam.roles());
    roles
        .filter(|role| role.attached.iter().any(|attached| **attached == *arn))
        .count()
}

/// A policy of an account, or `NoSuchEntity`/404.
pub(super) fn find<'a>(
    world: &'a World,
    account: AccountId,
    arn: &str,
) -> Result<&'a ManagedPolicy, AwsError> {
    world.iam.policy(account, arn).ok_or_else(|| missing(arn))
}

/// The same, to be changed.
pub(super) fn find_mut<'a>(
    world: &'a mut World,
    account: AccountId,
    arn: &str,
) -> Result<&'a mut ManagedPolicy, AwsError> {
    world
        .iam
        .policy_mut(account, arn)
        .ok_or_else(|| missing(arn))
}

/// `DeleteConflict`/409.
pub(super) fn delete_conflict(message: &str) -> AwsError {
    AwsError::new(409, "DeleteConflict", message)
}

fn missing(arn: &str) -> AwsError {
    no_such_entity(format!("Policy {arn} was not found."))
}
