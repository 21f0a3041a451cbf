//! What nothing is ever removed from.

use super::observed::{CleanupObserved, CleanupRules, Place};
use crate::{
    desired::{Desired, OuRef},
    ids::AwsAccountId,
    inventory::{OrganizationSnapshot, SpotAccountRecord},
    stackset_sync::{PlanError, targets},
};

/// Checks that the protected units are there: one that was renamed would protect nobody any more.
///
/// # Errors
/// The rules name a unit that this organization does not have, or a path that fits several.
pub fn check(organization: &OrganizationSnapshot, rules: &CleanupRules) -> Result<(), PlanError> {
    for unit in &rules.protected_ous {
        targets::find_unit(organization, "protected_ous", unit).map_err(|_| {
            PlanError::UnknownProtectedUnit {
                target: unit.to_string(),
            }
        })?;
    }
    Ok(())
}

/// Where an account is, or was last.
#[must_use]
pub fn place(observed: &CleanupObserved, account: AwsAccountId) -> Option<Place> {
    let organization = &observed.sync.organization;
    match organization.account(account) {
        Some(_) => place_in(organization, account),
        None => observed.places.get(&account).cloned(),
    }
}

/// Where an account of the organization is.
#[must_use]
pub fn place_in(organization: &OrganizationSnapshot, account: AwsAccountId) -> Option<Place> {
    let account = organization.account(account)?;
    let units = organization.lineage(account.parent);
    Some(Place {
        name: account.name.to_string(),
        units: units.map(|(_, unit)| unit.id.clone()).collect(),
        path: organization.path(account.parent),
    })
}

/// Why nothing of an account is removed.
#[must_use]
pub fn protects(
    desired: &Desired,
    rules: &CleanupRules,
    record: &SpotAccountRecord,
    account: AwsAccountId,
    place: Option<&Place>,
) -> Option<String> {
    if desired.protected_accounts.contains(&account) {
        return Some("`protected_accounts` has its AWS account".to_owned());
    }
    let names = [Some(&*record.name), place.map(|place| place.name.as_str())];
    for name in names.into_iter().flatten() {
        if let Some(pattern) = rules.protected_names.iter().find(|one| one.fits(name)) {
            return Some(format!(
                "`protected_names` has {pattern:?}, and it is named {name:?}",
                pattern = pattern.to_string()
            ));
        }
    }
    let Some(place) = place else {
        let is_careful = !rules.protected_ous.is_empty() || !rules.protected_names.is_empty();
        return is_careful.then(|| {
            "it left the organization before this job saw its name and place, so nothing tells that neither `protected_ous` nor \
             `protected_names` has it"
                .to_owned()
        });
    };
    let unit = rules
        .protected_ous
        .iter()
        .find(|unit| is_below(place, unit))?;
    Some(format!(
        "`protected_ous` has {unit}, and it is in {}",
        place.path
    ))
}

fn is_below(place: &Place, unit: &OuRef) -> bool {
    match unit {
        OuRef::Root => true,
        OuRef::Id(id) => place.units.contains(id),
        OuRef::Path(path) => {
            let below_root = place.path.split_once('/').map_or("", |(_, rest)| rest);
            let rest = below_root.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}
