//! Writes accounts and units as JSON text, straight into the answer.

use std::fmt::Write as _;

use super::tree::{Account, Organization, Ou};
use crate::scenario::OrganizationScenario;
use crate::wire::json::push_string;

/// Appends one `Account` object.
pub(super) fn account(
    out: &mut String,
    organization: &Organization,
    shape: &OrganizationScenario,
    account: &Account,
) {
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{\"Id\":\"{id}\",\"Arn\":\"arn:aws:organizations::{management}:account/{organization}/{id}\",\"Email\":",
        id = account.id,
        management = organization.management,
        organization = organization.id,
    );
    push_string(out, &account.email(&organization.id));
    out.push_str(",\"Name\":");
    push_string(out, &account.name);
    if shape.legacy_status {
        let _ = write!(out, ",\"Status\":\"{}\"", account.state.legacy_name());
    }
    if shape.state {
        let _ = write!(out, ",\"State\":\"{}\"", account.state.name());
    }
    if shape.paths {
        let path = &organization.ou(account.parent).path;
        let _ = write!(out, ",\"Paths\":[\"{path}{}/\"]", account.id);
    }
    let _ = write!(
        out,
        ",\"JoinedMethod\":\"{}\",\"JoinedTimestamp\":{:.3}}}",
        if account.invited {
            "INVITED"
        } else {
            "CREATED"
        },
        account.joined.epoch_seconds(),
    );
}

/// Appends one `OrganizationalUnit` object.
pub(super) fn unit(
    out: &mut String,
    organization: &Organization,
    shape: &OrganizationScenario,
    unit: &Ou,
) {
    let _ = write!(
        out,
        "{{\"Id\":\"{id}\",\"Arn\":\"arn:aws:organizations::{management}:ou/{organization}/{id}\",\"Name\":",
        id = unit.id,
        management = organization.management,
        organization = organization.id,
    );
    push_string(out, &unit.name);
    if shape.paths {
        let _ = write!(out, ",\"Path\":\"{}\"", unit.path);
    }
    out.push('}');
}
