//! The reading operations over accounts and units.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::account_not_found;
use super::input::{account_id, invalid_input, parent, pattern, required};
use super::pages::Page;
use super::tree::{Account, Organization, OuIndex};
use super::write;
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::wire::json::{JsonReply, push_string};
use crate::world::World;

const PARENT_NOT_FOUND: &str = "ParentNotFoundException";

/// ListRoots.
pub(super) fn roots(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    Page::of(input, "roots")?;
    let organization = &world.organization;
    let (id, root) = (&organization.id, organization.root_id());
    Ok(JsonReply::Done(json!({ "Roots": [{
        "Id": root,
        "Arn": format!("arn:aws:organizations::{}:root/{id}/{root}", organization.management),
        "Name": "Root",
        "PolicyTypes": [{ "Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED" }],
    }]})))
}

/// ListOrganizationalUnitsForParent.
pub(super) fn units_for_parent(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let of = parent(&world.organization, input, "ParentId", PARENT_NOT_FOUND)?;
    let page = Page::of(input, &format!("units {}", of.0))?;
    let shape = &world.scenario.clone().organization;
    list_units(
        world,
        &page,
        of,
        "OrganizationalUnits",
        |out, organization, unit| {
            write::unit(out, organization, shape, organization.ou(unit));
        },
    )
}

/// ListAccountsForParent.
pub(super) fn accounts_for_parent(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let of = parent(&world.organization, input, "ParentId", PARENT_NOT_FOUND)?;
    let page = Page::of(input, &format!("accounts {}", of.0))?;
    list_accounts(world, &page, Some(of))
}

/// ListAccounts.
pub(super) fn accounts(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let page = Page::of(input, "all accounts")?;
    list_accounts(world, &page, None)
}

/// ListChildren.
pub(super) fn children(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let of = parent(&world.organization, input, "ParentId", PARENT_NOT_FOUND)?;
    let kind = required(input, "ChildType")?;
    let page = Page::of(input, &format!("{kind} children {}", of.0))?;
    match kind {
        "ACCOUNT" => {
            let organization = &world.organization;
            let entries = organization
                .slots_in(of, page.start)
                .map(|(slot, account)| {
                    (
                        slot,
                        format!("{{\"Id\":\"{}\",\"Type\":\"ACCOUNT\"}}", account.id),
                    )
                });
            let (body, next) = collect(&page, entries, "Children");
            Ok(finish(world, &page, body, next))
        }
        "ORGANIZATIONAL_UNIT" => {
            list_units(world, &page, of, "Children", |out, organization, unit| {
                // Writing to a String cannot fail.
                let _ = write!(
                    out,
                    "{{\"Id\":\"{}\",\"Type\":\"ORGANIZATIONAL_UNIT\"}}",
                    organization.ou(unit).id
                );
            })
        }
        _ => Err(invalid_input(
            "INVALID_ENUM",
            "You specified an invalid value for ChildType.",
        )),
    }
}

/// ListParents.
pub(super) fn parents(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let child = required(input, "ChildId")?;
    Page::of(input, "parents")?;
    let organization = &world.organization;
    let found = if child.starts_with("ou-") {
        organization
            .find_ou(child)
            .and_then(|unit| organization.ou(unit).parent)
    } else {
        let id: AccountId = child.parse().map_err(|()| pattern("ChildId"))?;
        organization.account(id).map(|account| account.parent)
    };
    let parent = organization.ou(found.ok_or_else(|| {
        AwsError::new(
            400,
            "ChildNotFoundException",
            "You specified an organizational unit (OU) or account that doesn't exist.",
        )
    })?);
    let kind = if parent.parent.is_none() {
        "ROOT"
    } else {
        "ORGANIZATIONAL_UNIT"
    };
    Ok(JsonReply::Done(
        json!({ "Parents": [{ "Id": parent.id, "Type": kind }] }),
    ))
}

/// DescribeAccount.
pub(super) fn describe_account(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = account_id(input, "AccountId")?;
    let organization = &world.organization;
    let account = organization.account(id).ok_or_else(account_not_found)?;
    let mut out = String::from("{\"Account\":");
    write::account(
        &mut out,
        organization,
        &world.scenario.organization,
        account,
    );
    out.push('}');
    Ok(JsonReply::Text(out))
}

/// DescribeOrganizationalUnit.
pub(super) fn describe_unit(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let id = required(input, "OrganizationalUnitId")?;
    let organization = &world.organization;
    let unit = organization
        .find_ou(id)
        .filter(|unit| unit.0 != 0)
        .ok_or_else(|| {
            AwsError::new(
                400,
                "OrganizationalUnitNotFoundException",
                "You specified an organizational unit that doesn't exist.",
            )
        })?;
    let mut out = String::from("{\"OrganizationalUnit\":");
    write::unit(
        &mut out,
        organization,
        &world.scenario.organization,
        organization.ou(unit),
    );
    out.push('}');
    Ok(JsonReply::Text(out))
}

fn list_accounts(
    world: &mut World,
    page: &Page,
    of: Option<OuIndex>,
) -> Result<JsonReply, AwsError> {
    if let Some(reply) = empty_page(world, page, "Accounts") {
        return Ok(reply);
    }
    let (organization, shape) = (&world.organization, &world.scenario.organization);
    let is_listed = |(_, account): &(u32, &Account)| !account.unlisted;
    let text = |(slot, account)| {
        let mut out = String::with_capacity(400);
        write::account(&mut out, organization, shape, account);
        (slot, out)
    };
    let (body, next) = match of {
        Some(of) => collect(
            page,
            organization
                .slots_in(of, page.start)
                .filter(is_listed)
                .map(text),
            "Accounts",
        ),
        None => collect(
            page,
            organization
                .slots_from(page.start)
                .filter(is_listed)
                .map(text),
            "Accounts",
        ),
    };
    Ok(finish(world, page, body, next))
}

fn list_units(
    world: &mut World,
    page: &Page,
    of: OuIndex,
    member: &str,
    write: impl Fn(&mut String, &Organization, OuIndex),
) -> Result<JsonReply, AwsError> {
    if let Some(reply) = empty_page(world, page, member) {
        return Ok(reply);
    }
    let organization = &world.organization;
    let start = page.start as usize;
    let units = organization.ou(of).units.get(start..).unwrap_or_default();
    let entries = units.iter().zip(page.start..).map(|(unit, number)| {
        let mut out = String::new();
        write(&mut out, organization, *unit);
        (number, out)
    });
    let (body, next) = collect(page, entries, member);
    Ok(finish(world, page, body, next))
}

/// With the scenario's probability, an empty page whose token leads to the same entries again.
pub(super) fn empty_page(world: &mut World, page: &Page, member: &str) -> Option<JsonReply> {
    let probability = world.scenario.organization.empty_pages;
    if probability == 0.0 || !world.ids.chance(probability) {
        return None;
    }
    Some(finish(
        world,
        page,
        format!("{{\"{member}\":["),
        Some(page.start),
    ))
}

/// Writes up to a page of entries; returns the open list and where the next page starts.
fn collect(
    page: &Page,
    mut entries: impl Iterator<Item = (u32, String)>,
    member: &str,
) -> (String, Option<u32>) {
    let mut out = format!("{{\"{member}\":[");
    for (number, (_, entry)) in entries.by_ref().take(page.size).enumerate() {
        if number > 0 {
            out.push(',');
        }
        out.push_str(&entry);
    }
    (out, entries.next().map(|(position, _)| position))
}

fn finish(world: &mut World, page: &Page, mut body: String, next: Option<u32>) -> JsonReply {
    body.push(']');
    if let Some(start) = next {
        body.push_str(",\"NextToken\":");
        push_string(&mut body, &page.token(&mut world.organization, start));
    }
    body.push('}');
    JsonReply::Text(body)
}
