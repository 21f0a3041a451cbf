//! Which instances an operation is about, and in which order.

use std::collections::BTreeMap;

use super::model::{
    Instance, InstanceKey, InstanceStatus, Operation, OperationAction, RegionIndex, StackSet,
};
use super::targets::{Filter, Targets};
use crate::organizations::{Organization, OuIndex};

/// The instances that an operation is about, in the order of accounts.
pub(super) fn rows_of(
    set: &StackSet,
    organization: &Organization,
    operation: &Operation,
) -> Vec<(InstanceKey, Option<OuIndex>)> {
    let region_wanted = |region: RegionIndex| {
        operation.target_regions.is_empty() || operation.target_regions.contains(&region)
    };
    let untargeted = operation.targets == Targets::default();
    let members = if untargeted {
        BTreeMap::new()
    } else {
        operation.targets.resolve(organization)
    };
    if operation.action == OperationAction::Create {
        let mut rows = Vec::new();
        for (account, unit) in members {
            for region in &operation.target_regions {
                // Instances that are as they should be are left alone; a repeated request works on the others.
                // One that another operation works on will have changed by the time this one may start.
                let wanted = set
                    .instances
                    .get(&(account, *region))
                    .is_none_or(|instance| {
                        instance.busy || instance.status == InstanceStatus::Outdated
                    });
                if wanted {
                    rows.push(((account, *region), unit));
                }
            }
        }
        return rows;
    }
    let deleting = operation.action == OperationAction::Delete;
    let by_unit = |key: &InstanceKey, instance: &Instance| {
        let targets = &operation.targets;
        let listed = targets.accounts.contains(&key.0);
        let filtered = match targets.filter {
            Some(Filter::Intersection) => listed,
            Some(Filter::Difference) => !listed,
            _ => true,
        };
        let under = |unit| {
            targets
                .units
                .iter()
                .any(|target| organization.is_under(unit, *target))
        };
        filtered && instance.unit.is_some_and(under)
    };
    let wanted = |key: &InstanceKey, instance: &Instance| {
        region_wanted(key.1)
            && (deleting || instance.status != InstanceStatus::Inoperable)
            && (untargeted || members.contains_key(&key.0) || (deleting && by_unit(key, instance)))
    };
    // One account's instances are found without looking at all of them: auto-deployment works that way.
    if operation.targets.filter == Some(Filter::Intersection)
        || operation.targets.units.is_empty() && !untargeted
    {
        let range = |account| (account, RegionIndex(0))..=(account, RegionIndex(u16::MAX));
        let listed = operation.targets.accounts.iter();
        return listed
            .flat_map(|account| set.instances.range(range(*account)))
            .filter(|(key, instance)| wanted(key, instance))
            .map(|(key, instance)| (*key, instance.unit))
            .collect();
    }
    set.instances
        .iter()
        .filter(|(key, instance)| wanted(key, instance))
        .map(|(key, instance)| (*key, instance.unit))
        .collect()
}

/// Regions in the order of work: `RegionOrder` first, the others as the set came to know them.
pub(super) fn region_order(set: &mut StackSet, index: u32) -> Vec<RegionIndex> {
    let named = set.operations[index as usize]
        .preferences
        .region_order
        .clone();
    let mut order: Vec<RegionIndex> = named.iter().map(|name| set.region(name)).collect();
    for index in 0..set.regions.len() {
        let region = RegionIndex(u16::try_from(index).unwrap_or(u16::MAX));
        if !order.contains(&region) {
            order.push(region);
        }
    }
    order
}
