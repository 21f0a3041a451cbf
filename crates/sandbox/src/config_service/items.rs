//! Configuration items of roles and managed policies: what IAM tells, as JSON in a text.

use serde_json::{Value, json};

use super::recorder::{Captured, capture};
use super::{required, validation};
use crate::iam::{ManagedPolicy, Role, encode};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Answers BatchGetAggregateResourceConfig. What is not there comes back unprocessed, and so does what is too much.
pub(super) fn batch(world: &mut World, input: &Value) -> Result<Value, AwsError> {
    let identifiers = input["ResourceIdentifiers"].as_array();
    let identifiers = identifiers.map_or(&[][..], Vec::as_slice);
    if !(1..=100).contains(&identifiers.len()) {
        return Err(validation(
            "1 validation error detected: Value at 'resourceIdentifiers' failed to satisfy constraint: Member must have length less \
             than or equal to 100 and greater than or equal to 1",
        ));
    }
    let (mut items, mut unprocessed) = (Vec::new(), Vec::new());
    for identifier in identifiers {
        let region = required(identifier, "SourceRegion")?;
        let is_recorded = world
            .scenario
            .config
            .iam_regions
            .iter()
            .any(|one| one == region);
        let account = required(identifier, "SourceAccountId")?;
        let account = account
            .parse()
            .map_err(|()| validation(format!("{account} is no account id")))?;
        let kind = required(identifier, "ResourceType")?;
        let id = required(identifier, "ResourceId")?;
        capture(world, Some(account));
        let is_late = items.len() >= world.scenario.config.batch;
        match item(world, account, kind, id).filter(|_| is_recorded && !is_late) {
            Some(item) => items.push(item),
            None => unprocessed.push(identifier.clone()),
        }
    }
    Ok(json!({ "BaseConfigurationItems": items, "UnprocessedResourceIdentifiers": unprocessed }))
}

fn item(world: &World, account: AccountId, kind: &str, id: &str) -> Option<Value> {
    world.organization.account(account)?;
    let recording = world.recordings.of(account)?;
    match kind {
        "AWS::IAM::Role" => {
            let mut roles = recording.roles.iter();
            let found = roles.find(|one| *one.item.id == *id)?;
            let role = &found.item;
            let names = (&*role.id, &*role.name, role.arn(account));
            Some(base(account, kind, names, found, &of_role(account, role)))
        }
        "AWS::IAM::Policy" => {
            let mut policies = recording.policies.iter();
            let found = policies.find(|one| *one.item.id == *id)?;
            let policy = &found.item;
            let arn = policy.arn(account);
            let attached = recording.roles.iter();
            let attached =
                attached.filter(|role| role.item.attached.iter().any(|one| **one == *arn));
            let configuration = of_policy(&arn, policy, attached.count());
            let names = (&*policy.id, &*policy.name, arn);
            Some(base(account, kind, names, found, &configuration))
        }
        _ => None,
    }
}

fn base<T>(
    account: AccountId,
    kind: &str,
    (id, name, arn): (&str, &str, String),
    captured: &Captured<T>,
    configuration: &Value,
) -> Value {
    json!({
        "version": "1.3",
        "accountId": account.to_string(),
        "configurationItemCaptureTime": captured.at.epoch_seconds(),
        "configurationItemStatus": if captured.is_known { "OK" } else { "ResourceDiscovered" },
        "configurationStateId": captured.at.0.to_string(),
        "arn": arn,
        "resourceType": kind,
        "resourceId": id,
        "resourceName": name,
        // IAM is global, whichever Region recorded it.
        "awsRegion": "global",
        "availabilityZone": "Not Applicable",
        "configuration": configuration.to_string(),
        "supplementaryConfiguration": {},
    })
}

fn of_role(account: AccountId, role: &Role) -> Value {
    let inline = role
        .inline
        .iter()
        .map(|(name, document)| json!({ "policyName": name, "policyDocument": encode(document) }));
    let attached = role
        .attached
        .iter()
        .map(|arn| json!({ "policyName": arn.rsplit('/').next(), "policyArn": arn }));
    let boundary = role
        .boundary
        .as_ref()
        .map(|arn| json!({ "permissionsBoundaryType": "Policy", "permissionsBoundaryArn": arn }));
    let tags = role
        .tags
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }));
    json!({
        "path": role.path,
        "roleName": role.name,
        "roleId": role.id,
        "arn": role.arn(account),
        "createDate": role.created.to_string(),
        "assumeRolePolicyDocument": encode(&role.trust),
        "instanceProfileList": [],
        "rolePolicyList": inline.collect::<Vec<_>>(),
        "attachedManagedPolicies": attached.collect::<Vec<_>>(),
        "permissionsBoundary": boundary,
        "tags": tags.collect::<Vec<_>>(),
        "roleLastUsed": null,
    })
}

fn of_policy(arn: &str, policy: &ManagedPolicy, attachments: usize) -> Value {
    let versions = policy.versions.iter().map(|version| {
        json!({
            "document": encode(&version.document),
            "versionId": format!("v{}", version.number),
            "isDefaultVersion": version.number == policy.default,
            "createDate": version.created.to_string(),
        })
    });
    json!({
        "policyName": policy.name,
        "policyId": policy.id,
        "arn": arn,
        "path": policy.path,
        "defaultVersionId": format!("v{}", policy.default),
        "attachmentCount": attachments,
        "permissionsBoundaryUsageCount": 0,
        "isAttachable": true,
        "description": policy.description,
        "createDate": policy.created.to_string(),
        "updateDate": policy.updated.to_string(),
        "policyVersionList": versions.collect::<Vec<_>>(),
    })
}
