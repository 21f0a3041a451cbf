//! Building the tree of units and accounts, and refusing one that contradicts itself.

use std::collections::{BTreeMap, HashMap};

use onboarding_core::{
    ids::OuId,
    inventory::{Account, OrganizationSnapshot, OrganizationalUnit},
};

use super::OrganizationDescription;
use crate::error::{AwsError, ErrorClass};

/// A tree under construction. A unit's name may come later than the unit.
#[derive(Default)]
pub(super) struct Tree {
    units: Vec<(OuId, Option<u32>, Option<Box<str>>)>,
    index: HashMap<OuId, u32>,
    /// The unit that a path ends in, by the path without the account: most accounts share theirs with others.
    paths: HashMap<Box<str>, u32>,
    pub(super) accounts: Vec<Account>,
}

impl Tree {
    /// Adds a unit, or checks that it is where it was before.
    pub(super) fn add(
        &mut self,
        operation: &'static str,
        id: &OuId,
        parent: Option<u32>,
    ) -> Result<u32, AwsError> {
        if let Some(&index) = self.index.get(id) {
            if self.units[index as usize].1 != parent {
                return Err(inconsistent(operation, &format!("{id} has two parents")));
            }
            return Ok(index);
        }
        if parent.is_none() && !self.units.is_empty() {
            return Err(inconsistent(operation, "the organization has two roots"));
        }
        let index = u32::try_from(self.units.len())
            .map_err(|_| AwsError::malformed(operation, "too many units"))?;
        self.units.push((id.clone(), parent, None));
        self.index.insert(id.clone(), index);
        Ok(index)
    }

    /// Names a unit.
    pub(super) fn name(&mut self, index: u32, name: Box<str>) {
        if let Some(unit) = self.units.get_mut(index as usize) {
            unit.2 = Some(name);
        }
    }

    pub(super) fn contains(&self, id: &OuId) -> bool {
        self.index.contains_key(id)
    }

    pub(super) fn id(&self, index: u32) -> &OuId {
        &self.units[index as usize].0
    }

    /// Adds the units of a path of an account (`o-…/r-…/ou-…/123456789012/`) and tells the last one.
    pub(super) fn add_path(
        &mut self,
        operation: &'static str,
        path: &str,
    ) -> Result<u32, AwsError> {
        let invalid = || AwsError::malformed(operation, "an account whose path cannot be read");
        let trimmed = path.trim_end_matches('/');
        let units = match trimmed.rsplit_once('/') {
            Some((units, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => units,
            _ => trimmed,
        };
        if let Some(&index) = self.paths.get(units) {
            return Ok(index);
        }
        let mut parent = None;
        for id in units.split('/').skip_while(|part| part.starts_with("o-")) {
            let id: OuId = id.parse().map_err(|_| invalid())?;
            if id.is_root() != parent.is_none() {
                return Err(invalid());
            }
            parent = Some(self.add(operation, &id, parent)?);
        }
        let index = parent.ok_or_else(invalid)?;
        self.paths.insert(units.into(), index);
        Ok(index)
    }

    /// Names every unit that has no name yet and whose name is known.
    pub(super) fn name_from(&mut self, known: &BTreeMap<OuId, Box<str>>) {
        for (id, _, name) in &mut self.units {
            if name.is_none() {
                *name = known.get(id).cloned();
            }
        }
    }

    /// Adds the units of another tree, with their names.
    pub(super) fn merge(&mut self, operation: &'static str, other: Self) -> Result<(), AwsError> {
        // Parents come before their children, because a unit is only added under one that is there.
        let mut indices: Vec<u32> = Vec::with_capacity(other.units.len());
        for (id, parent, name) in other.units {
            let parent = parent.map(|parent| indices[parent as usize]);
            let index = self.add(operation, &id, parent)?;
            if let Some(name) = name {
                self.name(index, name);
            }
            indices.push(index);
        }
        Ok(())
    }

    /// The parents of the units that have no name.
    pub(super) fn parents_of_nameless(&self) -> Vec<u32> {
        let mut parents: Vec<u32> = self
            .units
            .iter()
            .filter(|(_, _, name)| name.is_none())
            .filter_map(|(_, parent, _)| *parent)
            .collect();
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    /// The finished organization: the root first, units and accounts sorted by id.
    pub(super) fn finish(
        self,
        operation: &'static str,
        organization: &OrganizationDescription,
    ) -> Result<OrganizationSnapshot, AwsError> {
        let mut order: Vec<usize> = (0..self.units.len()).collect();
        order.sort_unstable_by(|a, b| {
            let key = |index: usize| (self.units[index].1.is_some(), &self.units[index].0);
            key(*a).cmp(&key(*b))
        });
        let mut moved = vec![0_u32; order.len()];
        for (new, old) in (0_u32..).zip(&order) {
            moved[*old] = new;
        }
        let mut old_units: Vec<_> = self.units.into_iter().map(Some).collect();
        let mut units = Vec::with_capacity(order.len());
        for old in order {
            let Some((id, parent, name)) = old_units[old].take() else {
                continue;
            };
            let name = match name {
                Some(name) => name,
                // The root's name cannot be chosen; AWS names it so.
                None if parent.is_none() => "Root".into(),
                None => return Err(inconsistent(operation, &format!("{id} has no name"))),
            };
            units.push(OrganizationalUnit {
                id,
                name,
                parent: parent.map(|parent| moved[parent as usize]),
            });
        }
        let mut accounts = self.accounts;
        accounts.shrink_to_fit();
        accounts.sort_unstable_by_key(|account| account.id);
        for account in &mut accounts {
            account.parent = moved[account.parent as usize];
        }
        if let Some(twice) = accounts.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(inconsistent(
                operation,
                &format!("account {} was listed twice", twice[0].id),
            ));
        }
        let snapshot = OrganizationSnapshot {
            id: organization.id.clone(),
            management_account: organization.management_account,
            units,
            accounts,
        };
        if snapshot.account(organization.management_account).is_none() {
            return Err(inconsistent(
                operation,
                "the management account was not listed",
            ));
        }
        Ok(snapshot)
    }
}

/// The listing contradicts itself: never a partial organization.
pub(super) fn inconsistent(operation: &'static str, what: &str) -> AwsError {
    AwsError::new(
        operation,
        ErrorClass::Conflict,
        format!("{what}; the organization changed while it was read, run again"),
    )
}
