//! The API's operations on managed policies.

use super::authorize::{authorize, aws_managed};
use super::policies::{
    self, PolicySpec, add_version, create_managed_policy, delete_conflict, delete_managed_policy,
};
use super::store::ManagedPolicy;
use super::{no_such_entity, write};
use crate::caller::Caller;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

type Answer = Result<QueryReply, AwsError>;

/// CreatePolicy.
pub(super) fn create(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let spec = PolicySpec {
        name: request.require("PolicyName")?.to_owned(),
        path: request.get("Path").unwrap_or_default().to_owned(),
        document: request.require("PolicyDocument")?.to_owned(),
        description: request.get("Description").map(str::to_owned),
    };
    let arn = create_managed_policy(world, caller, spec)?;
    describe(world, caller, &arn)
}

/// GetPolicy: never the document.
pub(super) fn get(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let arn = policy_arn(request)?;
    authorize(world, caller, "iam:GetPolicy", arn)?;
    if let Some(name) = arn
        .strip_prefix("arn:aws:iam::aws:policy/")
        .filter(|_| aws_managed(arn).is_some())
    {
        let mut xml = Xml::new();
        xml.element("Policy", |xml| {
            xml.text("PolicyName", name)
                .text("Arn", arn)
                .text("Path", "/")
                .text("DefaultVersionId", "v1")
                .text(
                    "AttachmentCount",
                    policies::attachments(world, caller.account, arn),
                )
                .text("IsAttachable", true);
        });
        return Ok(xml.into());
    }
    describe(world, caller, arn)
}

/// ListPolicies: the customer managed ones (`Scope=Local`; others are empty here).
pub(super) fn list(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    authorize(world, caller, "iam:ListPolicies", "*")?;
    let local = request.get("Scope") != Some("AWS");
    let found: Vec<&ManagedPolicy> = world
        .iam
        .account(caller.account)
        .filter(|_| local)
        .into_iter()
        .flat_map(|iam| iam.policies())
        .collect();
    let mut xml = Xml::new();
    let part = write::page(&mut xml, request, world.scenario.iam.page_size, found)?;
    xml.list("Policies", part, |xml, policy| {
        let arn = policy.arn(caller.account);
        let attached = policies::attachments(world, caller.account, &arn);
        write::policy(xml, &arn, policy, attached);
    });
    Ok(xml.into())
}

/// DeletePolicy: refuses while it is attached or has other versions than the default one.
pub(super) fn delete(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let arn = policy_arn(request)?;
    authorize(world, caller, "iam:DeletePolicy", arn)?;
    if policies::find(world, caller.account, arn)?.versions.len() > 1 {
        return Err(delete_conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        ));
    }
    delete_managed_policy(world, caller, arn)?;
    Ok(QueryReply::NoResult)
}

/// CreatePolicyVersion.
pub(super) fn create_version(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (arn, document) = (policy_arn(request)?, request.require("PolicyDocument")?);
    let default = request.boolean("SetAsDefault")?.unwrap_or(false);
    let number = add_version(world, caller, arn, document, default)?;
    let policy = policies::find(world, caller.account, arn)?;
    let mut xml = Xml::new();
    if let Some(version) = policy
        .versions
        .iter()
        .find(|version| version.number == number)
    {
        xml.element("PolicyVersion", |xml| {
            write::version(xml, policy, version, false)
        });
    }
    Ok(xml.into())
}

/// GetPolicyVersion.
pub(super) fn get_version(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let arn = policy_arn(request)?;
    authorize(world, caller, "iam:GetPolicyVersion", arn)?;
    let mut xml = Xml::new();
    if let Some(document) = aws_managed(arn).filter(|_| request.get("VersionId") == Some("v1")) {
        xml.element("PolicyVersion", |xml| {
            xml.text("Document", write::encode(document))
                .text("VersionId", "v1")
                .text("IsDefaultVersion", true);
        });
        return Ok(xml.into());
    }
    let number = version_number(request)?;
    let policy = policies::find(world, caller.account, arn)?;
    let version = policy
        .versions
        .iter()
        .find(|version| version.number == number)
        .ok_or_else(|| no_version(arn, number))?;
    xml.element("PolicyVersion", |xml| {
        write::version(xml, policy, version, true)
    });
    Ok(xml.into())
}

/// ListPolicyVersions: newest first, without documents.
pub(super) fn list_versions(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let arn = policy_arn(request)?;
    authorize(world, caller, "iam:ListPolicyVersions", arn)?;
    let policy = policies::find(world, caller.account, arn)?;
    let mut xml = Xml::new();
    let versions = policy.versions.iter().rev().collect();
    let part = write::page(&mut xml, request, world.scenario.iam.page_size, versions)?;
    xml.list("Versions", part, |xml, version| {
        write::version(xml, policy, version, false);
    });
    Ok(xml.into())
}

/// DeletePolicyVersion: not the default one.
pub(super) fn delete_version(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (arn, number) = (policy_arn(request)?, version_number(request)?);
    authorize(world, caller, "iam:DeletePolicyVersion", arn)?;
    let policy = policies::find_mut(world, caller.account, arn)?;
    if policy.default == number {
        return Err(delete_conflict(
            "Cannot delete the default version of a policy.",
        ));
    }
    let before = policy.versions.len();
    policy.versions.retain(|version| version.number != number);
    if policy.versions.len() == before {
        return Err(no_version(arn, number));
    }
    Ok(QueryReply::NoResult)
}

/// SetDefaultPolicyVersion.
pub(super) fn set_default(world: &mut World, caller: &Caller, request: &QueryRequest) -> Answer {
    let (arn, number) = (policy_arn(request)?, version_number(request)?);
    authorize(world, caller, "iam:SetDefaultPolicyVersion", arn)?;
    let now = world.now();
    let policy = policies::find_mut(world, caller.account, arn)?;
    if !policy
        .versions
        .iter()
        .any(|version| version.number == number)
    {
        return Err(no_version(arn, number));
    }
    policy.default = number;
    policy.updated = now;
    Ok(QueryReply::NoResult)
}

fn describe(world: &World, caller: &Caller, arn: &str) -> Answer {
    let policy = policies::find(world, caller.account, arn)?;
    let attachments = policies::attachments(world, caller.account, arn);
    let mut xml = Xml::new();
    xml.element("Policy", |xml| write::policy(xml, arn, policy, attachments));
    Ok(xml.into())
}

fn policy_arn(request: &QueryRequest) -> Result<&str, AwsError> {
    let arn = request.require("PolicyArn")?;
    if arn.starts_with("arn:aws") && arn.contains(":policy/") {
        return Ok(arn);
    }
    Err(AwsError::new(
        400,
        "InvalidInput",
        format!("ARN {arn} is not valid."),
    ))
}

fn version_number(request: &QueryRequest) -> Result<u32, AwsError> {
    let id = request.require("VersionId")?;
    id.strip_prefix('v').and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        AwsError::validation(format!(
            "1 validation error detected: Value '{id}' at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"
        ))
    })
}

fn no_version(arn: &str, number: u32) -> AwsError {
    no_such_entity(format!(
        "Policy {arn} version v{number} does not exist or is not attachable."
    ))
}
