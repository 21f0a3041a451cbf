//! Which account belongs to which profile: the targets of the configuration resolved against the organization's tree.

use std::collections::{BTreeMap, BTreeSet};

use super::{PlanError, nearest_path::nearest_path};
use crate::{
    desired::{Deployment, Desired, OuRef, Profile, Targets},
    ids::{AwsAccountId, OuId},
    inventory::OrganizationSnapshot,
};

/// The resolved targets of all profiles, in their order.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// One entry per profile.
    pub profiles: Vec<ResolvedProfile>,
}

/// The resolved targets of one profile.
#[derive(Debug, Clone, Default)]
pub struct ResolvedProfile {
    /// Indices into the organization's units: the parents that the profile names, without those below another of them.
    pub ous: Vec<u32>,
    /// Per account of the organization (same order): whether the profile targets it.
    pub targeted: Vec<bool>,
    /// Accounts below the named parents that an exclude takes out, as indices into the organization's accounts.
    pub excluded: Vec<u32>,
}

/// Who deploys to accounts that appear later.
///
/// # Errors
/// The profile asks for auto-deployment together with a selection that AWS ignores.
pub fn effective_deployment(profile: &Profile) -> Result<Deployment, PlanError> {
    let finer = profile.targets.is_finer_than_ous();
    match profile.deployment {
        Some(Deployment::Auto) if finer => Err(PlanError::AutoIgnoresSelection {
            profile: profile.name.clone(),
        }),
        Some(deployment) => Ok(deployment),
        None if finer => Ok(Deployment::Runner),
        None => Ok(Deployment::Auto),
    }
}

/// Resolves the targets of every profile.
///
/// # Errors
/// A parent or account that is not there, a path that fits several, or two profiles on one account.
pub fn resolve(
    organization: &OrganizationSnapshot,
    desired: &Desired,
) -> Result<Resolved, PlanError> {
    let mut owner: Vec<Option<usize>> = vec![None; organization.accounts.len()];
    let mut overlaps: BTreeMap<(usize, usize), Vec<AwsAccountId>> = BTreeMap::new();
    let mut profiles = Vec::with_capacity(desired.profiles.len());
    for (number, profile) in desired.profiles.iter().enumerate() {
        let resolved = resolve_profile(organization, profile)?;
        for (index, _) in resolved
            .targeted
            .iter()
            .enumerate()
            .filter(|(_, targeted)| **targeted)
        {
            match owner[index] {
                Some(first) => {
                    overlaps
                        .entry((first, number))
                        .or_default()
                        .push(organization.accounts[index].id);
                }
                None => owner[index] = Some(number),
            }
        }
        profiles.push(resolved);
    }
    if let Some(((first, second), accounts)) = overlaps.into_iter().next() {
        let shown: Vec<String> = accounts.iter().take(3).map(ToString::to_string).collect();
        let more = if accounts.len() > shown.len() {
            format!(" and {} more", accounts.len() - shown.len())
        } else {
            String::new()
        };
        return Err(PlanError::Overlap {
            first: desired.profiles[first].name.clone(),
            second: desired.profiles[second].name.clone(),
            accounts: format!("{}{more}", shown.join(", ")),
        });
    }
    Ok(Resolved { profiles })
}

fn resolve_profile(
    organization: &OrganizationSnapshot,
    profile: &Profile,
) -> Result<ResolvedProfile, PlanError> {
    let find = |reference: &OuRef| find_unit(organization, &profile.name, reference);
    let included: BTreeSet<u32> = profile
        .targets
        .ous
        .iter()
        .map(find)
        .collect::<Result<_, _>>()?;
    let excluded: BTreeSet<u32> = profile
        .targets
        .exclude_ous
        .iter()
        .map(find)
        .collect::<Result<_, _>>()?;
    // Whether each unit lies below an included or excluded parent; parents come before their children is not assumed.
    let below = |set: &BTreeSet<u32>| -> Vec<bool> {
        (0..organization.units.len())
            .map(|index| {
                u32::try_from(index).is_ok_and(|index| {
                    organization
                        .lineage(index)
                        .any(|(unit, _)| set.contains(&unit))
                })
            })
            .collect()
    };
    let (unit_included, unit_excluded) = (below(&included), below(&excluded));
    for account in profile
        .targets
        .accounts
        .iter()
        .chain(&profile.targets.exclude_accounts)
    {
        if organization.account(*account).is_none() && profile.targets.accounts.contains(account) {
            return Err(PlanError::UnknownAccount {
                profile: profile.name.clone(),
                account: account.to_string(),
            });
        }
    }
    let mut resolved = ResolvedProfile {
        ous: included
            .iter()
            .copied()
            .filter(|unit| {
                organization
                    .lineage(*unit)
                    .skip(1)
                    .all(|(above, _)| !included.contains(&above))
            })
            .collect(),
        targeted: Vec::with_capacity(organization.accounts.len()),
        excluded: Vec::new(),
    };
    for (index, account) in organization.accounts.iter().enumerate() {
        let unit = account.parent as usize;
        let listed = profile.targets.accounts.contains(&account.id);
        let selected = listed || unit_included.get(unit).copied().unwrap_or(false);
        let out = profile.targets.exclude_accounts.contains(&account.id)
            || (!listed && unit_excluded.get(unit).copied().unwrap_or(false));
        resolved.targeted.push(selected && !out);
        if selected
            && out
            && let Ok(index) = u32::try_from(index)
        {
            resolved.excluded.push(index);
        }
    }
    Ok(resolved)
}

/// The index of the unit that a target names.
fn find_unit(
    organization: &OrganizationSnapshot,
    profile: &str,
    reference: &OuRef,
) -> Result<u32, PlanError> {
    let unknown = |nearest: String| PlanError::UnknownOu {
        profile: profile.to_owned(),
        target: reference.to_string(),
        nearest,
    };
    match reference {
        OuRef::Root => organization
            .units
            .iter()
            .position(|unit| unit.parent.is_none())
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| unknown(String::new())),
        OuRef::Id(id) => organization
            .unit_index(id)
            .ok_or_else(|| unknown(String::new())),
        OuRef::Path(path) => {
            let below_root = |index: u32| {
                let full = organization.path(index);
                full.split_once('/')
                    .map(|(_, rest)| rest.to_owned())
                    .unwrap_or_default()
            };
            let all: Vec<(u32, String)> = (0..organization.units.len())
                .filter_map(|i| u32::try_from(i).ok())
                .map(|i| (i, below_root(i)))
                .collect();
            let found: Vec<u32> = all
                .iter()
                .filter(|(_, name)| name == path)
                .map(|(index, _)| *index)
                .collect();
            match found.as_slice() {
                [one] => Ok(*one),
                [] => {
                    let names = all.iter().map(|(_, name)| name.as_str());
                    let nearest = nearest_path(path, names.filter(|name| !name.is_empty()))
                        .map(|name| format!(" (nearest: {name:?})"))
                        .unwrap_or_default();
                    Err(unknown(nearest))
                }
                several => Err(PlanError::AmbiguousOu {
                    profile: profile.to_owned(),
                    target: path.clone(),
                    candidates: several
                        .iter()
                        .filter_map(|index| organization.unit(*index))
                        .map(|unit| unit.id.to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                }),
            }
        }
    }
}

/// Whether these targets select an account, given its parents from the one that it is in up to the root, each with its
/// name where that is known. For single accounts; [`resolve`] is for all of them. None when a path of names would decide
/// and a name is not known.
#[must_use]
pub fn selects(
    targets: &Targets,
    account: AwsAccountId,
    lineage: &[(OuId, Option<&str>)],
) -> Option<bool> {
    if targets.exclude_accounts.contains(&account) {
        return Some(false);
    }
    if targets.accounts.contains(&account) {
        return Some(true);
    }
    Some(is_below(&targets.ous, lineage)? && !is_below(&targets.exclude_ous, lineage)?)
}

/// Whether one of the parents is named.
fn is_below(named: &[OuRef], lineage: &[(OuId, Option<&str>)]) -> Option<bool> {
    let by_id = |reference: &OuRef| {
        lineage.iter().any(|(id, _)| match reference {
            OuRef::Root => id.is_root(),
            OuRef::Id(named) => named == id,
            OuRef::Path(_) => false,
        })
    };
    if named.iter().any(by_id) {
        return Some(true);
    }
    if !named
        .iter()
        .any(|reference| matches!(reference, OuRef::Path(_)))
    {
        return Some(false);
    }
    let mut path = String::new();
    for (id, name) in lineage.iter().rev() {
        if id.is_root() {
            continue;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str((*name)?);
        if named
            .iter()
            .any(|reference| matches!(reference, OuRef::Path(named) if *named == path))
        {
            return Some(true);
        }
    }
    Some(false)
}
