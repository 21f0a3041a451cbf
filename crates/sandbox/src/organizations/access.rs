//! Trusted access of services and delegated administrators.

use serde_json::{Value, json};

use super::account_not_found;
use super::input::{account_id, constraint, invalid_input, optional, required};
use super::pages::Page;
use super::tree::{Account, Organization};
use crate::clock::SimTime;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// EnableAWSServiceAccess. For StackSets this alone does not activate trusted access: AWS documents
/// that it must be activated from CloudFormation.
pub(super) fn enable(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let service = service_principal(input)?;
    if !world.scenario.organization.all_features {
        return Err(constraint(
            "ORGANIZATION_NOT_IN_ALL_FEATURES_MODE",
            "The organization must have all features enabled.",
        ));
    }
    let now = world.now();
    world
        .organization
        .trusted_services
        .entry(service)
        .or_insert(now);
    Ok(JsonReply::Done(json!({})))
}

/// DisableAWSServiceAccess.
pub(super) fn disable(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let service = service_principal(input)?;
    world.organization.trusted_services.remove(&service);
    Ok(JsonReply::Done(json!({})))
}

/// ListAWSServiceAccessForOrganization.
pub(super) fn list(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    Page::of(input, "services")?;
    let services: Vec<Value> = world
        .organization
        .trusted_services
        .iter()
        .map(enabled)
        .collect();
    Ok(JsonReply::Done(
        json!({ "EnabledServicePrincipals": services }),
    ))
}

/// RegisterDelegatedAdministrator.
pub(super) fn register(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let (id, service) = (account_id(input, "AccountId")?, service_principal(input)?);
    let now = world.now();
    let organization = &mut world.organization;
    if id == organization.management {
        return Err(constraint(
            "CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR",
            "You cannot register the management account as a delegated administrator.",
        ));
    }
    organization.account(id).ok_or_else(account_not_found)?;
    if !organization.trusted_services.contains_key(&service) {
        return Err(constraint(
            "SERVICE_ACCESS_NOT_ENABLED",
            "You must enable service access before you can register a delegated administrator.",
        ));
    }
    let services = organization.delegated.entry(id).or_default();
    if services.contains_key(&service) {
        return Err(AwsError::new(
            400,
            "AccountAlreadyRegisteredException",
            "The specified account is already a delegated administrator for this AWS service.",
        ));
    }
    services.insert(service, now);
    Ok(JsonReply::Done(json!({})))
}

/// DeregisterDelegatedAdministrator.
pub(super) fn deregister(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let (id, service) = (account_id(input, "AccountId")?, service_principal(input)?);
    let organization = &mut world.organization;
    let removed = organization
        .delegated
        .get_mut(&id)
        .and_then(|services| services.remove(&service));
    if removed.is_none() {
        return Err(not_registered());
    }
    organization
        .delegated
        .retain(|_, services| !services.is_empty());
    Ok(JsonReply::Done(json!({})))
}

/// ListDelegatedAdministrators.
pub(super) fn administrators(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    Page::of(input, "administrators")?;
    let service = optional(input, "ServicePrincipal")?;
    let organization = &world.organization;
    let found: Vec<Value> = organization
        .delegated
        .iter()
        .filter(|(_, services)| service.is_none_or(|service| services.contains_key(service)))
        .filter_map(|(id, services)| {
            let since = services.values().min().copied().unwrap_or_default();
            organization
                .account(*id)
                .map(|account| administrator(organization, account, since))
        })
        .collect();
    Ok(JsonReply::Done(json!({ "DelegatedAdministrators": found })))
}

/// ListDelegatedServicesForAccount.
pub(super) fn services(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = account_id(input, "AccountId")?;
    Page::of(input, "delegated services")?;
    world
        .organization
        .account(id)
        .ok_or_else(account_not_found)?;
    let services = world
        .organization
        .delegated
        .get(&id)
        .ok_or_else(not_registered)?;
    let services: Vec<Value> = services
        .iter()
        .map(|(service, since)| {
            json!({ "ServicePrincipal": service, "DelegationEnabledDate": since.epoch_seconds() })
        })
        .collect();
    Ok(JsonReply::Done(json!({ "DelegatedServices": services })))
}

fn administrator(organization: &Organization, account: &Account, since: SimTime) -> Value {
    json!({
        "Id": account.id.to_string(),
        "Arn": organization.account_arn(account.id),
        "Email": account.email(&organization.id),
        "Name": account.name,
        "Status": account.state.legacy_name(),
        "State": account.state.name(),
        "JoinedMethod": if account.invited { "INVITED" } else { "CREATED" },
        "JoinedTimestamp": account.joined.epoch_seconds(),
        "DelegationEnabledDate": since.epoch_seconds(),
    })
}

fn enabled((service, since): (&String, &SimTime)) -> Value {
    json!({ "ServicePrincipal": service, "DateEnabled": since.epoch_seconds() })
}

fn service_principal(input: &Value) -> Result<String, AwsError> {
    let service = required(input, "ServicePrincipal")?;
    if !service.ends_with(".amazonaws.com") {
        return Err(invalid_input(
            "UNRECOGNIZED_SERVICE_PRINCIPAL",
            "You specified an unrecognized service principal.",
        ));
    }
    Ok(service.to_owned())
}

fn not_registered() -> AwsError {
    AwsError::new(
        400,
        "AccountNotRegisteredException",
        "The specified account is not a delegated administrator for this AWS service.",
    )
}
