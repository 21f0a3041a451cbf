//! Which accounts a wave is for.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::{
    desired::OuRef,
    ids::AwsAccountId,
    inventory::{AccountState, InstanceStatus, StackInstance},
    stackset_sync::{PlanError, SyncObserved, targets},
};

/// A wave, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaveSettings {
    /// Its name.
    pub name: String,
    /// Its accounts; none: all that are left.
    pub selector: Option<Selector>,
    /// How many accounts at a time; none: as the stack set's other operations.
    pub concurrency: Option<u32>,
    /// How many of its accounts may go wrong, in the operation or at a gate.
    pub failures: usize,
    /// Whether CloudFormation goes slower the more accounts fail (STRICT_FAILURE_TOLERANCE), or keeps its pace and may so
    /// exceed the tolerance.
    pub strict: bool,
    /// How long it soaks before its gates can be passed, in seconds.
    pub soak: i64,
}

/// Accounts that one of these names, and of those a share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// All below these.
    pub ous: Vec<OuRef>,
    /// These.
    pub accounts: BTreeSet<AwsAccountId>,
    /// Those that carry every one of these tags, with one of its values.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// So many of a hundred, at least one; all of the profile's when nothing else is said.
    pub percent: Option<u8>,
}

impl Selector {
    /// Whether it only says a share.
    fn is_share_of_all(&self) -> bool {
        self.ous.is_empty() && self.accounts.is_empty() && self.tags.is_empty()
    }
}

/// Accounts that a wave can update: active, targeted, with a stack that has what its stack set says.
#[must_use]
pub fn eligible<'a>(
    observed: &'a SyncObserved,
    targeted: &BTreeSet<AwsAccountId>,
) -> BTreeMap<AwsAccountId, &'a StackInstance> {
    let instances = observed.profiles.iter().flat_map(|state| &state.instances);
    let can_be = |instance: &&StackInstance| {
        let account = observed.organization.account(instance.account);
        instance.status == InstanceStatus::Current
            && targeted.contains(&instance.account)
            && account.is_some_and(|account| account.state == AccountState::Active)
    };
    let instances = instances.filter(can_be);
    instances
        .map(|instance| (instance.account, instance))
        .collect()
}

/// The accounts of a wave, of those that are left. A share is of all that the rest of the selector names, of `all`, whether or
/// not an earlier wave has them; which ones is decided by a digest of version and account, so that it is the same at every look
/// and others the next time.
///
/// # Errors
/// A unit that is not there, or a path that fits several.
pub fn select(
    wave: &WaveSettings,
    version: &str,
    observed: &SyncObserved,
    all: &BTreeSet<AwsAccountId>,
    left: &BTreeSet<AwsAccountId>,
) -> Result<BTreeSet<AwsAccountId>, PlanError> {
    let Some(selector) = &wave.selector else {
        return Ok(left.clone());
    };
    let organization = &observed.organization;
    let units = selector
        .ous
        .iter()
        .map(|unit| targets::find_unit(organization, &format!("(wave {})", wave.name), unit));
    let units: BTreeSet<u32> = units.collect::<Result<_, _>>()?;
    let is_named = |account: &AwsAccountId| {
        let known = organization.account(*account);
        let is_below = known.is_some_and(|known| {
            let mut lineage = organization.lineage(known.parent);
            lineage.any(|(unit, _)| units.contains(&unit))
        });
        let has_tags = !selector.tags.is_empty()
            && observed.account_tags.get(account).is_some_and(|tags| {
                let mut asked = selector.tags.iter();
                asked.all(|(key, values)| tags.get(key).is_some_and(|value| values.contains(value)))
            });
        is_below || has_tags || selector.accounts.contains(account) || selector.is_share_of_all()
    };
    let named: BTreeSet<AwsAccountId> = all.iter().copied().filter(is_named).collect();
    let Some(percent) = selector.percent else {
        return Ok(named.intersection(left).copied().collect());
    };
    let share = (named.len() * usize::from(percent)).div_ceil(100);
    let mut drawn: Vec<AwsAccountId> = named.intersection(left).copied().collect();
    drawn.sort_by_cached_key(|account| Sha256::digest(format!("{version}/{account}")));
    drawn.truncate(share);
    Ok(drawn.into_iter().collect())
}
