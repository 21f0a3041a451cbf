//! Which account belongs to which profile: the targets of the configuration resolved against the organization's tree.

mod single;

use std::collections::{BTreeMap, BTreeSet};

pub use single::{Missing, selects};

use super::{PlanError, nearest_path::nearest_path};
use crate::{
    desired::{Deployment, Desired, OuRef, Profile, Targets},
    ids::AwsAccountId,
    inventory::{Account, AccountTags, OrganizationSnapshot},
    status::Reason,
};

/// The resolved targets of all profiles, in their order.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// One entry per profile.
    pub profiles: Vec<ResolvedProfile>,
    /// What any profile targets, whether or not it is asked for.
    pub union: ResolvedProfile,
}

/// The resolved targets of one profile.
#[derive(Debug, Clone, Default)]
pub struct ResolvedProfile {
    /// Indices into the organization's units: the parents that the profile names, without those below another of them.
    pub ous: Vec<u32>,
    /// Per account of the organization (same order): whether the profile targets it.
    pub targeted: Vec<bool>,
    /// Accounts below the named parents that the profile leaves out, as indices into the organization's accounts, and
    /// why ([`Reason::is_left_out`]).
    pub left_out: Vec<(u32, Reason)>,
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

/// Resolves the targets of every profile. An account that tags decide about and whose tags are not known is not
/// targeted, and left out for that reason.
///
/// # Errors
/// A parent or account that is not there, a path that fits several, or two profiles on one account.
pub fn resolve(
    organization: &OrganizationSnapshot,
    account_tags: &AccountTags,
    desired: &Desired,
) -> Result<Resolved, PlanError> {
    let mut owner: Vec<Option<usize>> = vec![None; organization.accounts.len()];
    let mut overlaps: BTreeMap<(usize, usize), Vec<AwsAccountId>> = BTreeMap::new();
    let all: Vec<_> = all_profiles(desired).collect();
    let mut profiles = Vec::with_capacity(all.len());
    for (number, (name, targets)) in all.iter().enumerate() {
        let resolved = resolve_profile(organization, account_tags, name, targets)?;
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
            first: all[first].0.to_owned(),
            second: all[second].0.to_owned(),
            accounts: format!("{}{more}", shown.join(", ")),
        });
    }
    let union = union(organization, &profiles);
    profiles.truncate(desired.profiles.len());
    Ok(Resolved { profiles, union })
}

/// The accounts of all profiles, and the parents that they name without those below another of them.
fn union(organization: &OrganizationSnapshot, profiles: &[ResolvedProfile]) -> ResolvedProfile {
    let named: BTreeSet<u32> = profiles
        .iter()
        .flat_map(|profile| profile.ous.iter().copied())
        .collect();
    let is_highest = |unit: &u32| {
        let mut above = organization.lineage(*unit).skip(1);
        above.all(|(unit, _)| !named.contains(&unit))
    };
    let targets = |index: usize| {
        let mut profiles = profiles.iter();
        profiles.any(|profile| profile.targeted.get(index) == Some(&true))
    };
    ResolvedProfile {
        ous: named.iter().copied().filter(is_highest).collect(),
        targeted: (0..organization.accounts.len()).map(targets).collect(),
        left_out: Vec::new(),
    }
}

/// The accounts of all profiles, with those of the units that have the remediation role as well, but for protected accounts in them.
///
/// # Errors
/// A unit that is not there, or a path that fits several.
pub(super) fn with_leftover_units(
    organization: &OrganizationSnapshot,
    desired: &Desired,
    union: &ResolvedProfile,
) -> Result<ResolvedProfile, PlanError> {
    let (Some(remediation), [_, ..]) = (&desired.remediation, desired.leftover_units()) else {
        return Ok(union.clone());
    };
    let targets = Targets {
        ous: remediation.leftover_units.clone(),
        exclude_accounts: desired.protected_accounts.clone(),
        ..Targets::default()
    };
    let name = &remediation.profile.name;
    let units = resolve_profile(organization, &AccountTags::default(), name, &targets)?;
    Ok(self::union(organization, &[union.clone(), units]))
}

/// The names and targets of all profiles: first those that are asked for, in their order.
fn all_profiles(desired: &Desired) -> impl Iterator<Item = (&str, &Targets)> {
    let asked_for = desired.profiles.iter();
    let others = desired.other_profiles.iter();
    asked_for
        .map(|profile| (profile.name.as_str(), &profile.targets))
        .chain(others.map(|(name, targets)| (name.as_str(), targets)))
}

/// The accounts whose tags decide whether a profile targets them: in its organizational units, neither listed nor
/// excluded. Nobody else's tags are needed.
///
/// # Errors
/// As [`resolve`], but for two profiles on one account.
pub fn decided_by_tags(
    organization: &OrganizationSnapshot,
    desired: &Desired,
) -> Result<BTreeSet<AwsAccountId>, PlanError> {
    let mut accounts = BTreeSet::new();
    for (name, targets) in all_profiles(desired) {
        let units = Units::of(organization, name, targets)?;
        let decided =
            |account: &&Account| units.membership(targets, account) == Membership::DecidedByTags;
        accounts.extend(organization.accounts.iter().filter(decided).map(|a| a.id));
    }
    Ok(accounts)
}

/// How an account relates to a profile before its tags are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Outside,
    Excluded,
    DecidedByTags,
    Targeted,
}

/// The organizational units that a profile names, resolved.
struct Units {
    /// The included ones, as indices into the organization's units.
    included: BTreeSet<u32>,
    /// Per unit of the organization: whether it lies below an included one.
    below_included: Vec<bool>,
    /// The same for excluded ones.
    below_excluded: Vec<bool>,
}

impl Units {
    fn of(
        organization: &OrganizationSnapshot,
        profile: &str,
        targets: &Targets,
    ) -> Result<Self, PlanError> {
        let find = |references: &[OuRef]| -> Result<BTreeSet<u32>, PlanError> {
            let found = references
                .iter()
                .map(|reference| find_unit(organization, profile, reference));
            found.collect()
        };
        let included = find(&targets.ous)?;
        let excluded = find(&targets.exclude_ous)?;
        // That parents come before their children is not assumed.
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
        Ok(Self {
            below_included: below(&included),
            below_excluded: below(&excluded),
            included,
        })
    }

    fn membership(&self, targets: &Targets, account: &Account) -> Membership {
        let is_in = |units: &[bool]| units.get(account.parent as usize).copied().unwrap_or(false);
        let listed = targets.accounts.contains(&account.id);
        if !listed && !is_in(&self.below_included) {
            Membership::Outside
        } else if targets.exclude_accounts.contains(&account.id)
            || (!listed && is_in(&self.below_excluded))
        {
            Membership::Excluded
        } else if !listed && !targets.tags.is_empty() {
            Membership::DecidedByTags
        } else {
            Membership::Targeted
        }
    }
}

fn resolve_profile(
    organization: &OrganizationSnapshot,
    account_tags: &AccountTags,
    profile: &str,
    targets: &Targets,
) -> Result<ResolvedProfile, PlanError> {
    let units = Units::of(organization, profile, targets)?;
    if let Some(account) = targets
        .accounts
        .iter()
        .find(|account| organization.account(**account).is_none())
    {
        return Err(PlanError::UnknownAccount {
            profile: profile.to_owned(),
            account: account.to_string(),
        });
    }
    let mut resolved = ResolvedProfile {
        ous: units
            .included
            .iter()
            .copied()
            .filter(|unit| {
                organization
                    .lineage(*unit)
                    .skip(1)
                    .all(|(above, _)| !units.included.contains(&above))
            })
            .collect(),
        targeted: Vec::with_capacity(organization.accounts.len()),
        left_out: Vec::new(),
    };
    for (index, account) in (0..).zip(&organization.accounts) {
        let (targeted, left_out) = match units.membership(targets, account) {
            Membership::Outside => (false, None),
            Membership::Targeted => (true, None),
            Membership::Excluded => (false, Some(Reason::Excluded)),
            Membership::DecidedByTags => match account_tags.get(&account.id) {
                None => (false, Some(Reason::TagsUnknown)),
                Some(tags) if targets.tags_match(tags) => (true, None),
                Some(_) => (false, Some(Reason::TagMismatch)),
            },
        };
        resolved.targeted.push(targeted);
        if let Some(reason) = left_out {
            resolved.left_out.push((index, reason));
        }
    }
    Ok(resolved)
}

/// Whether a reference names one unit of the organization.
#[must_use]
pub fn names_a_unit(organization: &OrganizationSnapshot, reference: &OuRef) -> bool {
    find_unit(organization, "", reference).is_ok()
}

/// The index of the unit that a target names.
pub(crate) fn find_unit(
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
