//! Auto-deployment: instances follow accounts into and out of the units that a set was deployed to.
//!
//! It ignores account filters and parameter overrides, as AWS does (CloudFormation user guide, "Enable or
//! disable automatic deployments").

use std::collections::BTreeMap;

use super::model::{InstanceKey, OperationAction, Overrides, RegionIndex};
use super::operations::{self, NewOperation, Start};
use super::preferences::Preferences;
use super::targets::{Filter, Targets};
use super::{Event, SetKey};
use crate::ids::AccountId;
use crate::organizations::OuIndex;
use crate::timers;
use crate::world::World;

/// An account joined the organization; it is in the root.
pub(crate) fn account_joined(world: &mut World, account: AccountId) {
    look_later(world, account);
}

/// An account left the organization, or was closed long ago.
pub(crate) fn account_left(world: &mut World, account: AccountId, _from: OuIndex) {
    look_later(world, account);
}

/// An account was moved.
pub(crate) fn account_moved(world: &mut World, account: AccountId, _from: OuIndex, _to: OuIndex) {
    look_later(world, account);
}

fn look_later(world: &mut World, account: AccountId) {
    let delay = world.scenario.stack_sets.auto_deployment_delay;
    world.schedule(
        delay,
        timers::Event::StackSets(Event::AutoDeploy { account }),
    );
}

/// Compares where an account is with the instances that it has: what is no longer targeted goes, and
/// after that what is newly targeted comes.
pub(super) fn reconcile(world: &mut World, account: AccountId) {
    let keys: Vec<SetKey> = world
        .stack_sets
        .iter()
        .filter(|(_, set)| {
            set.active
                && set
                    .auto_deployment
                    .as_ref()
                    .is_some_and(|auto| auto.enabled)
        })
        .map(|(key, _)| key)
        .collect();
    if account == world.organization.management {
        return;
    }
    for key in keys {
        let set = &world.stack_sets[key];
        let organization = &world.organization;
        let place = organization.account(account).map(|account| account.parent);
        let covers = |unit: OuIndex| place.is_some_and(|place| organization.is_under(place, unit));
        let range = (account, RegionIndex(0))..=(account, RegionIndex(u16::MAX));
        let existing: Vec<(InstanceKey, OuIndex)> = set
            .instances
            .range(range)
            .filter_map(|(key, instance)| Some((*key, instance.unit?)))
            .collect();
        let mut leaving: BTreeMap<OuIndex, Vec<RegionIndex>> = BTreeMap::new();
        for ((_, region), unit) in existing.iter().filter(|(_, unit)| !covers(*unit)) {
            leaving.entry(*unit).or_default().push(*region);
        }
        let mut joining: BTreeMap<OuIndex, Vec<RegionIndex>> = BTreeMap::new();
        for (unit, regions) in set.deployed.iter().filter(|(unit, _)| covers(**unit)) {
            let missing = regions.iter().filter(|region| {
                !existing
                    .iter()
                    .any(|((_, there), unit)| there == *region && covers(*unit))
                    && !joining.values().flatten().any(|joined| joined == *region)
            });
            let missing: Vec<RegionIndex> = missing.copied().collect();
            if !missing.is_empty() {
                joining.insert(*unit, missing);
            }
        }
        let retain = set.auto_deployment.as_ref().map(|auto| auto.retain);
        for (unit, regions) in leaving {
            start(
                world,
                key,
                OperationAction::Delete,
                retain,
                account,
                unit,
                regions,
            );
        }
        for (unit, regions) in joining {
            start(
                world,
                key,
                OperationAction::Create,
                None,
                account,
                unit,
                regions,
            );
        }
    }
}

fn start(
    world: &mut World,
    key: SetKey,
    action: OperationAction,
    retain: Option<bool>,
    account: AccountId,
    unit: OuIndex,
    target_regions: Vec<RegionIndex>,
) {
    let operation = NewOperation {
        id: None,
        action,
        preferences: Preferences::auto_deployment(),
        retain,
        targets: Targets {
            units: vec![unit],
            accounts: vec![account],
            filter: Some(Filter::Intersection),
        },
        target_regions,
        overrides: Overrides::Keep,
        whole_set: false,
    };
    // Auto-deployment always queues, so nothing can be refused.
    let _ = operations::submit_as(world, key, operation, Start::Queue);
}
