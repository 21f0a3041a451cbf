//! AWS Organizations: the tree of accounts, and its API (JSON 1.1).

mod access;
mod accounts;
mod build;
mod input;
mod lists;
mod pages;
mod rates;
mod tags;
mod tree;
mod write;

use serde_json::{Value, json};

pub(crate) use accounts::{
    Event, close_account, create_account, move_account, on_event, remove_account,
};
pub(crate) use tree::{Account, Organization, OuIndex, State};

use crate::ids::AccountId;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// Answers one Organizations call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    operation: &str,
    input: &Value,
) -> Result<JsonReply, AwsError> {
    authorize(world, call, operation, input)?;
    match operation {
        "DescribeOrganization" => Ok(describe_organization(world)),
        "ListRoots" => lists::roots(world, input),
        "ListOrganizationalUnitsForParent" => lists::units_for_parent(world, input),
        "ListAccountsForParent" => lists::accounts_for_parent(world, input),
        "ListAccounts" => lists::accounts(world, input),
        "ListParents" => lists::parents(world, input),
        "ListChildren" => lists::children(world, input),
        "DescribeAccount" => lists::describe_account(world, input),
        "DescribeOrganizationalUnit" => lists::describe_unit(world, input),
        "ListTagsForResource" => tags::list(world, input),
        "TagResource" => tags::tag(world, input),
        "UntagResource" => tags::untag(world, input),
        "CreateOrganizationalUnit" => accounts::create_unit_call(world, input),
        "MoveAccount" => accounts::move_call(world, input),
        "CreateAccount" => accounts::create_call(world, input),
        "DescribeCreateAccountStatus" => accounts::describe_create_call(world, input),
        "ListCreateAccountStatus" => accounts::list_create_call(world, input),
        "CloseAccount" => accounts::close_call(world, input),
        "RemoveAccountFromOrganization" => accounts::remove_call(world, input),
        "EnableAWSServiceAccess" => access::enable(world, input),
        "DisableAWSServiceAccess" => access::disable(world, input),
        "ListAWSServiceAccessForOrganization" => access::list(world, input),
        "RegisterDelegatedAdministrator" => access::register(world, input),
        "DeregisterDelegatedAdministrator" => access::deregister(world, input),
        "ListDelegatedAdministrators" => access::administrators(world, input),
        "ListDelegatedServicesForAccount" => access::services(world, input),
        _ => Err(AwsError::new(400, "UnknownOperationException", "")),
    }
}

/// Writing operations are the management account's; reading ones also a delegated administrator's,
/// for whatever service; DescribeOrganization anybody's.
fn authorize(world: &World, call: &Call, operation: &str, input: &Value) -> Result<(), AwsError> {
    let account = call.caller.account;
    let organization = &world.organization;
    let reads = operation.starts_with("List") || operation.starts_with("Describe");
    let tags = matches!(operation, "TagResource" | "UntagResource");
    let allowed = account == organization.management
        || operation == "DescribeOrganization"
        || (organization.delegated.contains_key(&account) && (reads || tags));
    let denied = || {
        AwsError::new(
            400,
            "AccessDeniedException",
            "You don't have permissions to access this resource.",
        )
    };
    if !allowed {
        return Err(denied());
    }
    crate::iam::authorize(
        world,
        &call.caller,
        &format!("organizations:{operation}"),
        &resource(world, input),
    )
    .map_err(|error| AwsError::new(400, "AccessDeniedException", error.message))
}

/// The ARN of the account, unit or root that a call is about; `*` when it is about none.
fn resource(world: &World, input: &Value) -> String {
    let about = ["AccountId", "ParentId", "ChildId", "ResourceId"];
    let Some(id) = about.iter().find_map(|name| input.get(name)?.as_str()) else {
        return "*".to_owned();
    };
    let kind = match id.split('-').next() {
        Some("r") => "root",
        Some("ou") => "ou",
        _ => "account",
    };
    let organization = &world.organization;
    format!(
        "arn:aws:organizations::{}:{kind}/{}/{id}",
        organization.management, organization.id
    )
}

fn describe_organization(world: &World) -> JsonReply {
    let organization = &world.organization;
    let (id, management) = (&organization.id, organization.management);
    JsonReply::Done(json!({ "Organization": {
        "Id": id,
        "Arn": format!("arn:aws:organizations::{management}:organization/{id}"),
        "FeatureSet": if world.scenario.organization.all_features { "ALL" } else { "CONSOLIDATED_BILLING" },
        "MasterAccountArn": organization.account_arn(management),
        "MasterAccountId": management.to_string(),
        "MasterAccountEmail": organization
            .account(management)
            .map(|account| account.email(&organization.id)),
        "AvailablePolicyTypes": [{ "Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED" }],
    }}))
}

fn account_not_found() -> AwsError {
    AwsError::new(
        400,
        "AccountNotFoundException",
        "You specified an account that doesn't exist.",
    )
}

impl Organization {
    /// `arn:aws:organizations::<management>:account/<organization>/<account>`.
    pub(crate) fn account_arn(&self, account: AccountId) -> String {
        format!(
            "arn:aws:organizations::{}:account/{}/{account}",
            self.management, self.id
        )
    }
}
