//! What Spot has: names, products, and accounts of ours whose AWS account is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{AuditObserved, AuditReason, about};
use crate::{
    custom_resource::AccountNames,
    drift::Drift,
    ids::{AwsAccountId, SpotAccountId},
    inventory::AccountState,
    orphan_cleanup,
    plan::{AccountRow, Finding, Plan},
    stackset_sync::spot_links::{Link, SpotLinks},
    status::Standing,
};

const RENAME: &str = "needs a person: rename it in Spot";
const SWITCH_ON: &str =
    "needs a person: switch it on in Spot, or see there why its validation fails";
const VALIDATE: &str =
    "needs a person: see what the role lacks, or whether a policy of the organization denies it";
const DELETE: &str = orphan_cleanup::KIND;
const CHOOSE: &str = "needs a person: say which of them may go, and unlink it in Spot; `orphan-cleanup` deletes none of several by itself";
const LOOK_INTO_IT: &str = "`exec enroll --set params.depth=full` where its role is what is wrong; else needs a person: see in Spot's console what it \
                            lacks";
const MEND_ITS_ROLE: &str = "what mends its role, as its other findings say";
const LOOK_AT_SPOT: &str = "needs a person: its role is as it should be; see in Spot's console what it lacks, or whether a policy of the organization \
                            denies it";

/// Whether Cost Intelligence works where it is switched on, as Spot lists it (OpenAPI, accountStatusSummary).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It does.
    Connected,
    /// It does in part.
    Partly,
    /// It does not.
    Not,
    /// Spot says something that it does not document.
    Unknown,
}

impl Connection {
    /// What Spot says, in words; none when nothing is wrong.
    fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Connected => None,
            Self::Partly => Some("is partially connected"),
            Self::Not => Some("is not connected"),
            Self::Unknown => Some(
                "has a status that Spot does not document, so that nobody knows whether it is connected",
            ),
        }
    }
}

/// Names and products that are not as they should be, of accounts that are enrolled. Only Spot accounts that are ours are judged.
pub(crate) fn of_names_and_products(observed: &AuditObserved, plan: &Plan) -> Vec<Finding> {
    let links = SpotLinks::new(&observed.sync.spot_accounts);
    let records = observed.sync.spot_accounts.iter();
    let names: BTreeMap<&SpotAccountId, &str> =
        records.map(|record| (&record.id, &*record.name)).collect();
    let mut found = Vec::new();
    for row in plan.accounts.iter().filter(|row| row.targeted) {
        let Link::One(spot) = links.of(row.account) else {
            continue;
        };
        let is_ours = observed.sync.owned_links.get(&row.account) == Some(spot);
        if is_ours && row.standing == Standing::Ok {
            found.extend(misnamed(observed, row, spot, &names));
            found.extend(product_off(observed, row, spot));
        }
        let can_work = matches!(
            row.standing,
            Standing::Ok | Standing::Due | Standing::Failed
        );
        if is_ours && can_work {
            found.extend(not_connected(observed, row, spot));
        }
    }
    found
}

/// All that Spot has and should not, or not so.
pub(super) fn findings(observed: &AuditObserved, plan: &mut Plan) {
    let links = SpotLinks::new(&observed.sync.spot_accounts);
    let mut found = of_names_and_products(observed, plan);
    for row in plan.accounts.iter().filter(|row| row.targeted) {
        let why = observed.validations.get(&row.account);
        if let (Some(why), Link::One(spot)) = (why, links.of(row.account)) {
            let message = format!(
                "Spot's validation of Cost Intelligence has not passed for its Spot account {spot}: {why}"
            );
            let reason = AuditReason::CostIntelligenceInvalid;
            found.push(of(row, reason, spot, message, VALIDATE));
        }
    }
    found.extend(of_departed(observed, &links));
    plan.findings.extend(found);
}

/// Spot accounts of ours whose AWS account left, or is closed: linked, linked beside others, or unlinked by somebody.
fn of_departed(observed: &AuditObserved, links: &SpotLinks<'_>) -> Vec<Finding> {
    let sync = &observed.sync;
    let records = sync.spot_accounts.iter();
    let unlinked: BTreeSet<&SpotAccountId> = records
        .filter(|record| record.unlinked)
        .map(|record| &record.id)
        .collect();
    let mut found = Vec::new();
    for (account, spot) in &sync.owned_links {
        let known = sync.organization.account(*account);
        let became = match known.map(|known| known.state) {
            None => "left the organization",
            Some(AccountState::Closed) => "is closed",
            Some(_) => continue,
        };
        let (still, fix) = match links.of(*account) {
            Link::One(linked) if linked == spot => ("still there", DELETE),
            Link::Several(linked) if linked.contains(&spot) => (
                "still there, and not the only one that is linked to it",
                CHOOSE,
            ),
            Link::None if unlinked.contains(spot) => ("still there, unlinked", DELETE),
            _ => continue,
        };
        let message =
            format!("AWS account {account} {became}, and its Spot account {spot} is {still}");
        found.push(Finding {
            account: Some(*account),
            account_name: known.map(|known| known.name.to_string()),
            ou_path: known.map(|known| sync.organization.path(known.parent)),
            resource: Some(spot.to_string()),
            ..AuditReason::DepartedSpotAccount.of(spot.as_str(), message, Some(fix))
        });
    }
    found
}

/// An account's name by the rule of its profile. One that the rule takes from the account's alias is not judged: the account
/// is not asked for it.
fn misnamed(
    observed: &AuditObserved,
    row: &AccountRow,
    spot: &SpotAccountId,
    names: &BTreeMap<&SpotAccountId, &str>,
) -> Option<Finding> {
    let actual = *names.get(spot)?;
    let wanted = wanted_name(observed, row, actual)?;
    let message = format!("its Spot account {spot} is named {actual:?}, and should be {wanted:?}");
    let finding = of(row, AuditReason::Misnamed, spot, message, RENAME);
    Some(Finding {
        expected: Some(wanted),
        actual: Some(actual.to_owned()),
        ..finding
    })
}

/// The name that an account should have, when it is not the one it has.
pub(crate) fn wanted_name(
    observed: &AuditObserved,
    row: &AccountRow,
    actual: &str,
) -> Option<String> {
    named_otherwise(observed, &row.profile, row.account, &row.name, actual)
}

/// The same, of an account of a profile.
pub(crate) fn named_otherwise(
    observed: &AuditObserved,
    profile: &str,
    account: AwsAccountId,
    account_name: &str,
    actual: &str,
) -> Option<String> {
    let naming = observed.namings.get(profile)?;
    if naming.needs_alias() {
        return None;
    }
    let known = AccountNames {
        account_name: Some(account_name),
        alias: None,
    };
    let wanted = naming.render(account, known)?;
    (actual != wanted).then_some(wanted)
}

/// Whether Cost Intelligence is off for a Spot account whose profile wants it.
pub(crate) fn lacks_cost_intelligence(
    observed: &AuditObserved,
    row: &AccountRow,
    spot: &SpotAccountId,
) -> bool {
    let on = observed.cost_intelligence.as_ref();
    let is_off = on.is_some_and(|on| !on.contains_key(spot));
    is_off && observed.wants_cost_intelligence.contains(&*row.profile)
}

fn product_off(
    observed: &AuditObserved,
    row: &AccountRow,
    spot: &SpotAccountId,
) -> Option<Finding> {
    lacks_cost_intelligence(observed, row, spot).then(|| {
        let message = format!("Cost Intelligence is not switched on for its Spot account {spot}");
        of(row, AuditReason::ProductOff, spot, message, SWITCH_ON)
    })
}

/// What the listing says that is read anyway: the only word of Spot's on a link that costs no call for each account.
fn not_connected(
    observed: &AuditObserved,
    row: &AccountRow,
    spot: &SpotAccountId,
) -> Option<Finding> {
    let status = observed.cost_intelligence.as_ref()?.get(spot)?;
    let complaint = status.complaint()?;
    let message = format!(
        "Cost Intelligence is switched on for its Spot account {spot} and {complaint}: Spot may have no way into the account"
    );
    let drifts = observed.drifts.as_ref();
    let drifts = drifts.and_then(|drifts| drifts.get(&row.account));
    let fix = match drifts.map(Vec::as_slice) {
        None => LOOK_INTO_IT,
        Some([]) => LOOK_AT_SPOT,
        Some(drifts) if drifts.iter().any(Drift::is_unread) => LOOK_INTO_IT,
        Some(_) => MEND_ITS_ROLE,
    };
    let reason = AuditReason::CostIntelligenceNotConnected;
    Some(of(row, reason, spot, message, fix))
}

fn of(
    row: &AccountRow,
    reason: AuditReason,
    spot: &SpotAccountId,
    message: String,
    fix: &str,
) -> Finding {
    let finding = Finding {
        resource: Some(spot.to_string()),
        ..reason.of(&row.account.to_string(), message, Some(fix))
    };
    about(row, finding)
}
