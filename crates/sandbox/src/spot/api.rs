//! What each route of the Spot API does and answers.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::SpotError;
use super::accounts::{self, SpotAccount, SpotId};
use super::envelope::{Payload, no_route};
use super::route::{Query, Route};
use super::{link, products, user_groups};
use crate::ids::AccountId;
use crate::wire::json::push_string;
use crate::world::World;

const USER_GROUP: &str = "spotinst:setup:access:userGroup";

/// Answers a request whose token and rate are fine.
pub(crate) fn handle(
    world: &mut World,
    route: Route,
    id: &str,
    query: &Query,
    body: &[u8],
) -> Result<Payload, SpotError> {
    if route.for_admins(query) && !world.scenario.spot.token_is_admin {
        return Err(SpotError::new(
            403,
            "FORBIDDEN",
            "this action requires organization administrator permissions",
        ));
    }
    match route {
        Route::ListAccounts => list_accounts(world, query),
        Route::CreateAccount => create_account(world, &read(body)?),
        Route::GetAccount => {
            let account = accounts::find(world, id)?;
            let mut out = String::from("[");
            write_account(&mut out, world, account);
            out.push(']');
            Ok(Payload::Items {
                kind: "spotinst:setup:account",
                items: out,
                count: 1,
                pagination: None,
            })
        }
        Route::RenameAccount => {
            let body = read(body)?;
            match &body["account"]["name"] {
                // Other settings may be changed without a name.
                Value::Null if body["account"].is_object() => accounts::find(world, id).map(|_| ()),
                name => accounts::rename_account(world, id, name.as_str().unwrap_or_default()),
            }?;
            Ok(Payload::Nothing)
        }
        Route::DeleteAccount => accounts::delete_account(world, id).map(|()| Payload::Nothing),
        Route::CreateExternalId => create_external_id(world, query),
        Route::GetExternalId => external_id(world, id),
        Route::GetCredentials => credentials(world, query),
        Route::SetCredentials => set_credentials(world, query, &read(body)?),
        Route::ListCostIntelligence => paged(
            world,
            query,
            "spotinst:cbi:inventory:ciRegisteredAccount",
            products::cost_intelligence,
        ),
        Route::SetUpCostIntelligence => {
            let id = text(&read(body)?["account"]["accountId"], "account.accountId")?;
            let item = products::set_up_cost_intelligence(world, &id)?;
            Ok(items("spotinst:cbi:inventory:ciRegisteredAccount", &[item]))
        }
        Route::ValidateCostIntelligence => {
            let id = text(&read(body)?["account"]["accountId"], "account.accountId")?;
            let steps = products::validate_cost_intelligence(world, &id)?;
            Ok(items("spotinst:cbi:accountRegistrationValidation", &steps))
        }
        Route::ListBilling => paged(
            world,
            query,
            "spotinst:cloudBilling:beRegisteredAccount",
            products::billing,
        ),
        Route::SetUpBilling => {
            let body = read(body)?;
            let id = text(&body["accountId"], "accountId")?;
            let item = products::set_up_billing(world, &id, &body["config"])?;
            Ok(items("spotinst:cloudBilling:beRegisteredAccount", &[item]))
        }
        Route::ValidateBilling => {
            let body = read(body)?;
            let id = text(&body["accountId"], "accountId")?;
            let steps = products::validate_billing(world, &id, &body["config"])?;
            Ok(items("spotinst:cbi:accountRegistrationValidation", &steps))
        }
        Route::ListElastigroups => running(world, query, "spotinst:aws:ec2:group", "sig-"),
        Route::ListOceanClusters => running(world, query, "spotinst:ocean:aws:k8s:cluster", "o-"),
        Route::ListEcsClusters => {
            scoped(world, query)?;
            Ok(items("spotinst:ocean:aws:ecs:cluster", &[]))
        }
        Route::ListAccessPolicies => Ok(items(
            "spotinst:organization:policy",
            &user_groups::policies(),
        )),
        Route::ListUserGroups => Ok(items(USER_GROUP, &user_groups::list(world))),
        Route::CreateUserGroup => {
            let made = user_groups::create(world, &read(body)?)?;
            Ok(items(USER_GROUP, &[made]))
        }
        Route::GetUserGroup => Ok(items(USER_GROUP, &[user_groups::details(world, id)?])),
        Route::MapUserGroupPolicies => {
            user_groups::map_policies(world, id, &read(body)?).map(|()| Payload::Nothing)
        }
    }
}

fn list_accounts(world: &World, query: &Query) -> Result<Payload, SpotError> {
    // An id that is none is linked to nothing.
    let filter = query
        .get("cloudAccountId")
        .map(|text| text.parse().unwrap_or(AccountId(u64::MAX)));
    let mut out = String::from("[");
    let mut count = 0;
    for account in world.spot.accounts() {
        if filter.map_or(account.unlisted, |cloud| account.cloud != Some(cloud)) {
            continue;
        }
        if count > 0 {
            out.push(',');
        }
        write_account(&mut out, world, account);
        count += 1;
    }
    out.push(']');
    Ok(Payload::Items {
        kind: "spotinst:setup:account",
        items: out,
        count,
        pagination: None,
    })
}

fn write_account(out: &mut String, world: &World, account: &SpotAccount) {
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{\"accountId\":\"{}\",\"organizationId\":{},\"name\":",
        account.id, world.spot.organization
    );
    push_string(out, &account.name);
    if let Some(cloud) = account.cloud {
        let _ = write!(
            out,
            ",\"cloudProvider\":\"AWS\",\"providerExternalId\":\"{cloud}\""
        );
    }
    out.push('}');
}

fn create_account(world: &mut World, body: &Value) -> Result<Payload, SpotError> {
    let name = body["account"]["name"].as_str().unwrap_or_default();
    accounts::check_name(world, name)?;
    let id = accounts::create_account(world, name)?;
    let organization = world.spot.organization.to_string();
    let item = json!({ "id": id, "name": name, "organizationId": organization });
    Ok(items("spotinst:setup:account", &[item]))
}

fn create_external_id(world: &mut World, query: &Query) -> Result<Payload, SpotError> {
    let id = scoped(world, query)?.to_string();
    let external_id = link::create_external_id(world, &id)?;
    let until = accounts::find(world, &id)?
        .external_ids
        .last()
        .map(|e| e.valid_until.to_string());
    let item = json!({ "externalId": external_id, "maxValidUntil": until });
    Ok(items("spotinst:setup:aws:externalId", &[item]))
}

fn external_id(world: &World, id: &str) -> Result<Payload, SpotError> {
    if !world.scenario.spot.external_id_read {
        return Err(no_route());
    }
    let account = accounts::find(world, id)?;
    let current = account
        .external_ids
        .iter()
        .rfind(|external_id| external_id.linked)
        .or(account.external_ids.last());
    let found: Vec<Value> = current
        .map(|external_id| json!({ "accountId": id, "externalId": external_id.value }))
        .into_iter()
        .collect();
    Ok(items("spotinst:setup:aws:externalId", &found))
}

fn credentials(world: &World, query: &Query) -> Result<Payload, SpotError> {
    if !world.scenario.spot.credentials_read {
        return Err(no_route());
    }
    let id = scoped(world, query)?;
    let role = world
        .spot
        .account(id)
        .and_then(|account| account.role.as_deref());
    let found: Vec<Value> = role
        .map(|role| json!({ "iamRole": role }))
        .into_iter()
        .collect();
    Ok(items("spotinst:setup:credentials:aws", &found))
}

fn set_credentials(world: &mut World, query: &Query, body: &Value) -> Result<Payload, SpotError> {
    let id = scoped(world, query)?.to_string();
    let role = text(&body["credentials"]["iamRole"], "iamRole")?;
    link::set_credentials(world, &id, &role)?;
    Ok(Payload::Nothing)
}

fn running(
    world: &World,
    query: &Query,
    kind: &'static str,
    prefix: &str,
) -> Result<Payload, SpotError> {
    let id = scoped(world, query)?;
    let found: Vec<Value> = world
        .spot
        .account(id)
        .filter(|account| account.running)
        .map(|account| {
            json!({
                "id": format!("{prefix}{:08x}", account.id.0.rotate_left(13)),
                "name": format!("{}-workers", account.name),
            })
        })
        .into_iter()
        .collect();
    Ok(items(kind, &found))
}

/// The registrations of a product, page by page.
fn paged(
    world: &World,
    query: &Query,
    kind: &'static str,
    registration: fn(&World, &SpotAccount) -> Option<Value>,
) -> Result<Payload, SpotError> {
    let number = |name| match query.get(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<usize>()
            .map(Some)
            .map_err(|_| SpotError::new(422, "VALIDATION_ERROR", format!("{name} is not valid"))),
    };
    let size = number("paginationSize")?.unwrap_or(50).clamp(1, 1000);
    let start = number("paginationKey")?.unwrap_or(0);
    let all: Vec<Value> = world
        .spot
        .accounts()
        .filter_map(|account| {
            let mut item = registration(world, account)?;
            item["statusSummary"] = products::status_summary(world, account).into();
            Some(item)
        })
        .collect();
    let page: Vec<Value> = all.iter().skip(start).take(size).cloned().collect();
    let next = start.saturating_add(size);
    let pagination = json!({
        "totalCount": all.len(),
        "nextKey": (next < all.len()).then(|| next.to_string()),
        "previousKey": (start > 0).then(|| start.saturating_sub(size).to_string()),
    });
    let Payload::Items {
        kind, items, count, ..
    } = items(kind, &page)
    else {
        return Ok(Payload::Nothing);
    };
    Ok(Payload::Items {
        kind,
        items,
        count,
        pagination: Some(pagination),
    })
}

/// The account that a call is about: `accountId`, or the organization's oldest.
fn scoped(world: &World, query: &Query) -> Result<SpotId, SpotError> {
    match query.get("accountId") {
        None => world.spot.default_account().ok_or_else(no_route),
        Some(text) => text
            .parse()
            .ok()
            .filter(|id| world.spot.account(*id).is_some())
            .ok_or_else(|| {
                SpotError::new(
                    403,
                    "FORBIDDEN",
                    format!("the token has no permission for account {text}"),
                )
            }),
    }
}

fn items(kind: &'static str, items: &[Value]) -> Payload {
    let text = serde_json::to_string(items).unwrap_or_else(|_| "[]".into());
    Payload::Items {
        kind,
        items: text,
        count: items.len(),
        pagination: None,
    }
}

fn read(body: &[u8]) -> Result<Value, SpotError> {
    serde_json::from_slice(body).map_err(|error| {
        SpotError::new(
            400,
            "INVALID_JSON",
            format!("the body is not JSON: {error}"),
        )
    })
}

fn text(value: &Value, field: &'static str) -> Result<String, SpotError> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| SpotError::of_field(field, format!("{field} is required")))
}
