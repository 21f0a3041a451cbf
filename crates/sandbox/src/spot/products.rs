//! Cost Intelligence and Billing Engine.

use serde_json::{Value, json};

use super::SpotError;
use super::accounts::{SpotAccount, find, find_mut};
use super::link::link_works;
use crate::clock::SimTime;
use crate::iam;
use crate::ids::AccountId;
use crate::sts::role_of;
use crate::world::World;

/// What the Billing Engine was set up with.
#[derive(Clone, Debug)]
pub(crate) struct Billing {
    enabled: SimTime,
    updated: SimTime,
}

/// Switches Cost Intelligence on; the account must be linked.
fn enable_cost_intelligence(world: &mut World, id: &str) -> Result<(), SpotError> {
    let now = world.now();
    linked(find(world, id)?)?;
    let account = find_mut(world, id)?;
    let since = account.cost_intelligence.map_or(now, |(since, _)| since);
    account.cost_intelligence = Some((since, now));
    Ok(())
}

/// `POST /cbi/v1/setup/account`.
pub(super) fn set_up_cost_intelligence(world: &mut World, id: &str) -> Result<Value, SpotError> {
    enable_cost_intelligence(world, id)?;
    let account = find(world, id)?;
    Ok(cost_intelligence(world, account).unwrap_or_default())
}

/// A registration of Cost Intelligence, if the account has it.
pub(super) fn cost_intelligence(world: &World, account: &SpotAccount) -> Option<Value> {
    let (enabled, updated) = account.cost_intelligence?;
    Some(json!({
        "organizationId": world.spot.organization.to_string(),
        "accountId": account.id.to_string(),
        "providerName": "aws",
        "externalProviderId": account.cloud.map(|cloud| cloud.to_string()),
        "enabledDate": enabled.to_string(),
        "updatedDate": updated.to_string(),
    }))
}

/// `POST /cloudBilling/v1/setup/account`: for the payer, which is the management account.
pub(super) fn set_up_billing(
    world: &mut World,
    id: &str,
    config: &Value,
) -> Result<Value, SpotError> {
    check_billing(world, id, config)?;
    let now = world.now();
    let account = find_mut(world, id)?;
    let enabled = account
        .billing
        .as_ref()
        .map_or(now, |billing| billing.enabled);
    account.billing = Some(Box::new(Billing {
        enabled,
        updated: now,
    }));
    let account = find(world, id)?;
    let mut item = billing(world, account).unwrap_or_default();
    item["isBillingAccount"] = true.into();
    item["config"] = config.clone();
    Ok(item)
}

/// A registration of the Billing Engine, if the account has it.
pub(super) fn billing(world: &World, account: &SpotAccount) -> Option<Value> {
    let billing = account.billing.as_ref()?;
    Some(json!({
        "organizationId": world.spot.organization.to_string(),
        "accountId": account.id.to_string(),
        "cloudProvider": "aws",
        "externalProviderId": account.cloud.map(|cloud| cloud.to_string()),
        "externalProviderName": account.cloud.and_then(|cloud| {
            world.organization.account(cloud).map(|member| member.name.to_string())
        }),
        "enabledDate": billing.enabled.to_string(),
        "updatedDate": billing.updated.to_string(),
    }))
}

/// `connected` or `notConnected`: whether the role can be assumed now.
pub(super) fn status_summary(world: &World, account: &SpotAccount) -> &'static str {
    if link_works(world, account) {
        "connected"
    } else {
        "notConnected"
    }
}

/// The steps of a validation of Cost Intelligence.
pub(super) fn validate_cost_intelligence(world: &World, id: &str) -> Result<Vec<Value>, SpotError> {
    let account = find(world, id)?;
    linked(account)?;
    Ok(validation(world, account, "ec2:DescribeInstances"))
}

/// The steps of a validation of the Billing Engine.
pub(super) fn validate_billing(
    world: &World,
    id: &str,
    config: &Value,
) -> Result<Vec<Value>, SpotError> {
    check_billing(world, id, config)?;
    Ok(validation(world, find(world, id)?, "s3:GetObject"))
}

fn validation(world: &World, account: &SpotAccount, action: &str) -> Vec<Value> {
    let works = link_works(world, account);
    let allowed = works && role_allows(world, account, action);
    let step = |id: &str, description: &str, status: &str, info: Option<String>| json!({ "id": id, "description": description, "status": status, "validationInfo": info });
    vec![
        step(
            "assumeRole",
            "Assume the IAM role of the account",
            if works { "success" } else { "failed" },
            (!works)
                .then(|| "the role cannot be assumed with the external ID of the account".into()),
        ),
        step(
            "permissions",
            "Check the permissions of the IAM role",
            match (works, allowed) {
                (false, _) => "skipped",
                (true, true) => "success",
                (true, false) => "failed",
            },
            (works && !allowed).then(|| format!("missing permission {action}")),
        ),
    ]
}

fn role_allows(world: &World, account: &SpotAccount, action: &str) -> bool {
    account
        .role
        .as_deref()
        .and_then(role_of)
        .is_some_and(|(cloud, name)| iam::role_allows(world, cloud, name, action))
}

fn check_billing(world: &World, id: &str, config: &Value) -> Result<(), SpotError> {
    let cloud = linked(find(world, id)?)?;
    for field in ["bucket", "region", "pathPrefix"] {
        if config["billingSource"][field]
            .as_str()
            .is_none_or(str::is_empty)
        {
            return Err(SpotError::new(
                422,
                "VALIDATION_ERROR",
                format!("config.billingSource.{field} is required"),
            ));
        }
    }
    if cloud != world.organization.management {
        return Err(SpotError::new(
            400,
            "NOT_A_BILLING_ACCOUNT",
            "the account is not linked to a master payer account",
        ));
    }
    Ok(())
}

fn linked(account: &SpotAccount) -> Result<AccountId, SpotError> {
    account.cloud.ok_or_else(|| {
        SpotError::new(
            400,
            "ACCOUNT_NOT_LINKED",
            format!(
                "account {} has no credentials of a cloud provider account",
                account.id
            ),
        )
    })
}
