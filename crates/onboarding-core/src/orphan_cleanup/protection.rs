//! What nothing is ever removed from.

use std::collections::BTreeSet;

use super::observed::{CleanupObserved, CleanupRules, NamePattern, Place};
use crate::{
    desired::{Desired, OuRef},
    ids::{AwsAccountId, OuId},
    inventory::OrganizationSnapshot,
    stackset_sync::{PlanError, targets},
};

/// The protected accounts, units and names. The units were looked up once, by the organization as it was listed: what is asked
/// at the moment of a deletion is where an account is, not what its unit is called.
#[derive(Debug, Clone)]
pub struct Protection {
    accounts: BTreeSet<AwsAccountId>,
    /// With all units below each, so that a unit which was moved into one after an account had left it counts as well.
    units: Vec<(OuRef, BTreeSet<OuId>)>,
    names: Vec<NamePattern>,
}

impl Protection {
    /// Looks the units up: one that was renamed would protect nobody any more.
    ///
    /// # Errors
    /// The rules name a unit that this organization does not have, or a path that fits several.
    pub fn new(
        organization: &OrganizationSnapshot,
        desired: &Desired,
        rules: &CleanupRules,
    ) -> Result<Self, PlanError> {
        let unit = |unit: &OuRef| {
            let found = targets::find_unit(organization, "protected_ous", unit).map_err(|_| {
                PlanError::UnknownProtectedUnit {
                    target: unit.to_string(),
                }
            })?;
            let is_below = |index: &u32| {
                organization
                    .lineage(*index)
                    .any(|(above, _)| above == found)
            };
            let all = (0_u32..).take(organization.units.len());
            let below = all
                .filter(is_below)
                .filter_map(|index| organization.unit(index));
            Ok::<_, PlanError>((unit.clone(), below.map(|unit| unit.id.clone()).collect()))
        };
        Ok(Self {
            accounts: desired.protected_accounts.clone(),
            units: rules
                .protected_ous
                .iter()
                .map(unit)
                .collect::<Result<_, PlanError>>()?,
            names: rules.protected_names.clone(),
        })
    }

    /// Why nothing of an account is removed. `spot_names` are those of its Spot accounts; where it is, or was last, may not be
    /// known.
    #[must_use]
    pub fn of(
        &self,
        account: AwsAccountId,
        spot_names: &[&str],
        place: Option<&Place>,
    ) -> Option<String> {
        if self.accounts.contains(&account) {
            return Some("`protected_accounts` has its AWS account".to_owned());
        }
        let spot_names = spot_names.iter().copied();
        for name in spot_names.chain(place.map(|place| place.name.as_str())) {
            if let Some(pattern) = self.names.iter().find(|one| one.fits(name)) {
                return Some(format!(
                    "`protected_names` has {pattern:?}, and it is named {name:?}",
                    pattern = pattern.to_string()
                ));
            }
        }
        let Some(place) = place else {
            let is_careful = !self.units.is_empty() || !self.names.is_empty();
            return is_careful.then(|| {
                "it left the organization before this job saw its name and place, so nothing tells that neither `protected_ous` nor \
                 `protected_names` has it"
                    .to_owned()
            });
        };
        let (unit, _) = self.units.iter().find(|unit| is_below(place, unit))?;
        Some(match place.path.as_str() {
            "" => format!("`protected_ous` has {unit}, and it is in it"),
            path => format!("`protected_ous` has {unit}, and it is in {path}"),
        })
    }
}

/// Whether an account is, or was, in a unit. One that left may have been in a unit of this name that is gone and was made again.
fn is_below(place: &Place, (unit, below): &(OuRef, BTreeSet<OuId>)) -> bool {
    if place.units.iter().any(|one| below.contains(one)) {
        return true;
    }
    match unit {
        OuRef::Root => true,
        OuRef::Id(_) => false,
        OuRef::Path(path) => {
            let below_root = place.path.split_once('/').map_or("", |(_, rest)| rest);
            let rest = below_root.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
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
