//! The API's operations on roles.

use super::authorize::{authorize, authorize_with};
use super::roles::{self, RoleSpec, create_role};
use super::store::Role;
use super::{no_such_entity, write};
use crate::caller::Caller;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

type Answer = Result<QueryReply, AwsError>;

/// CreateRole.
pub(super) fn create(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let name = request.require("RoleName")?.to_owned();
    let tags = request.structures("Tags").unwrap_or_default();
    let spec = RoleSpec {
        name: name.clone(),
        path: request.get("Path").unwrap_or_default().to_owned(),
        trust: request.require("AssumeRolePolicyDocument")?.to_owned(),
        description: request.get("Description").map(str::to_owned),
        max_session: request
            .number("MaxSessionDuration")?
            .map(|seconds| seconds as u32),
        managed_policies: Vec::new(),
        inline: Vec::new(),
        tags: tags
            .iter()
            .map(|tag| {
                Ok((
                    tag.require("Key")?.to_owned(),
                    tag.get("Value").unwrap_or("").to_owned(),
                ))
            })
            .collect::<Result<_, AwsError>>()?,
        boundary: request.get("PermissionsBoundary").map(str::to_owned),
    };
    create_role(world, caller, spec)?;
    let role = roles::find(world, caller.account, &name)?;
    let mut xml = Xml::new();
    xml.element("Role", |xml| write::role(xml, caller.account, role, true));
    Ok(xml.into())
}

/// GetRole.
pub(super) fn get(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let role = read(world, caller, request, "iam:GetRole")?;
    let mut xml = Xml::new();
    xml.element("Role", |xml| write::role(xml, caller.account, role, true));
    Ok(xml.into())
}

/// ListRoles: without permissions boundary, tags and last use, as in AWS.
pub(super) fn list(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    authorize(world, caller, "iam:ListRoles", "*")?;
    let prefix = request.get("PathPrefix").unwrap_or("/");
    let found: Vec<&Role> = world
        .iam
        .account(caller.account)
        .into_iter()
        .flat_map(|iam| iam.roles())
        .filter(|role| role.path.starts_with(prefix))
        .collect();
    let mut xml = Xml::new();
    let part = write::page(&mut xml, request, world.scenario.iam.page_size, found)?;
    xml.list("Roles", part, |xml, role| {
        write::role(xml, caller.account, role, false);
    });
    Ok(xml.into())
}

/// UpdateRole: description and longest session.
pub(super) fn update(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    read(world, caller, request, "iam:UpdateRole")?;
    let description = request
        .get("Description")
        .map(|text| world.iam.intern(text));
    let seconds = request.number("MaxSessionDuration")?;
    if let Some(role) = world
        .iam
        .role_mut(caller.account, request.require("RoleName")?)
    {
        if description.is_some() {
            role.description = description;
        }
        if let Some(seconds) = seconds {
            role.max_session = seconds as u32;
        }
    }
    Ok(Xml::new().into())
}

/// UpdateAssumeRolePolicy.
pub(super) fn update_trust(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (name, trust) = (
        request.require("RoleName")?,
        request.require("PolicyDocument")?,
    );
    roles::set_trust(world, caller, name, trust)?;
    Ok(QueryReply::NoResult)
}

/// DeleteRole: refuses while policies are attached or inline ones are left.
pub(super) fn delete(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let name = request.require("RoleName")?;
    read(world, caller, request, "iam:DeleteRole")?;
    roles::delete_role(world, caller, name, &RoleSpec::default())?;
    Ok(QueryReply::NoResult)
}

/// TagRole.
pub(super) fn tag(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    read(world, caller, request, "iam:TagRole")?;
    let mut new = Vec::new();
    for tag in request.structures("Tags").unwrap_or_default() {
        new.push((
            Box::from(tag.require("Key")?),
            Box::from(tag.get("Value").unwrap_or("")),
        ));
    }
    if let Some(role) = world
        .iam
        .role_mut(caller.account, request.require("RoleName")?)
    {
        role.tags
            .retain(|(key, _)| new.iter().all(|(other, _)| other != key));
        role.tags.extend(new);
    }
    Ok(QueryReply::NoResult)
}

/// PutRolePolicy.
pub(super) fn put_inline(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (name, policy) = (request.require("RoleName")?, request.require("PolicyName")?);
    roles::put_inline(
        world,
        caller,
        name,
        policy,
        request.require("PolicyDocument")?,
    )?;
    Ok(QueryReply::NoResult)
}

/// GetRolePolicy.
pub(super) fn get_inline(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let policy = request.require("PolicyName")?;
    let role = read(world, caller, request, "iam:GetRolePolicy")?;
    let document = role
        .inline
        .iter()
        .find(|(name, _)| **name == *policy)
        .map(|(_, document)| document)
        .ok_or_else(|| no_inline(policy))?;
    let mut xml = Xml::new();
    xml.text("RoleName", &role.name)
        .text("PolicyName", policy)
        .text("PolicyDocument", write::encode(document));
    Ok(xml.into())
}

/// ListRolePolicies: names only.
pub(super) fn list_inline(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let role = read(world, caller, request, "iam:ListRolePolicies")?;
    let mut names: Vec<&str> = role.inline.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    let mut xml = Xml::new();
    let part = write::page(&mut xml, request, world.scenario.iam.page_size, names)?;
    xml.strings("PolicyNames", part);
    Ok(xml.into())
}

/// DeleteRolePolicy.
pub(super) fn delete_inline(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let policy = request.require("PolicyName")?;
    read(world, caller, request, "iam:DeleteRolePolicy")?;
    let role = world
        .iam
        .role_mut(caller.account, request.require("RoleName")?);
    let removed = role.map(|role| {
        let before = role.inline.len();
        role.inline.retain(|(name, _)| **name != *policy);
        role.inline.len() < before
    });
    if removed == Some(true) {
        Ok(QueryReply::NoResult)
    } else {
        Err(no_inline(policy))
    }
}

/// AttachRolePolicy.
pub(super) fn attach(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    roles::attach(
        world,
        caller,
        request.require("RoleName")?,
        request.require("PolicyArn")?,
    )?;
    Ok(QueryReply::NoResult)
}

/// DetachRolePolicy.
pub(super) fn detach(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (name, policy) = (request.require("RoleName")?, request.require("PolicyArn")?);
    let arn = role_arn(world, caller, name);
    let detached = [("iam:PolicyARN", policy)];
    authorize_with(world, caller, "iam:DetachRolePolicy", &arn, &detached)?;
    let role = roles::find(world, caller.account, name)?;
    if !role.attached.iter().any(|arn| **arn == *policy) {
        return Err(no_such_entity(format!("Policy {policy} was not found.")));
    }
    if let Some(role) = world.iam.role_mut(caller.account, name) {
        role.attached.retain(|arn| **arn != *policy);
    }
    Ok(QueryReply::NoResult)
}

/// ListAttachedRolePolicies.
pub(super) fn list_attached(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let role = read(world, caller, request, "iam:ListAttachedRolePolicies")?;
    let mut xml = Xml::new();
    let attached = role.attached.iter().map(|arn| &**arn).collect();
    let part = write::page(&mut xml, request, world.scenario.iam.page_size, attached)?;
    xml.list("AttachedPolicies", part, |xml, arn: &str| {
        xml.text("PolicyName", arn.rsplit('/').next().unwrap_or_default())
            .text("PolicyArn", arn);
    });
    Ok(xml.into())
}

fn read<'a>(
    world: &'a World,
    caller: &Caller,
    request: &QueryRequest,
    action: &str,
) -> Result<&'a Role, AwsError> {
    let name = request.require("RoleName")?;
    authorize(world, caller, action, &role_arn(world, caller, name))?;
    roles::find(world, caller.account, name)
}

/// The ARN of a role that is called by its name, whether or not there is one.
fn role_arn(world: &World, caller: &Caller, name: &str) -> String {
    match world.iam.role(caller.account, name) {
        Some(role) => role.arn(caller.account),
        None => format!("arn:aws:iam::{}:role/{name}", caller.account),
    }
}

fn no_inline(policy: &str) -> AwsError {
    no_such_entity(format!(
        "The role policy with name {policy} cannot be found."
    ))
}
