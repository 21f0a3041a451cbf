//! What was seen to be as it should be again: the clocks of its mends stop, whoever mended it, and so do those of accounts that nobody
//! mends any more.

use crate::{
    desired::Desired,
    drift::{DriftKind, Fix},
    drift_audit::{AuditObserved, at_spot},
    ids::{AwsAccountId, SpotAccountId},
    inventory::{AccountState, InstanceStatus},
    stackset_sync::{
        MendKind, MendOf, ObservedProfile, clocks,
        spot_links::{Link, SpotLinks},
        targets::{self, ResolvedProfile},
    },
    status::Reason,
};

/// The clocks that stop, of each profile by name. What was not looked at is not known to be mended.
#[must_use]
pub fn mended(observed: &AuditObserved, desired: &Desired) -> Vec<(String, MendOf)> {
    let sync = &observed.sync;
    let links = SpotLinks::new(&sync.spot_accounts);
    // What cannot be resolved is not known to be over; planning says why it cannot.
    let resolved = targets::resolve(&sync.organization, &sync.account_tags, desired).ok();
    let resolved = |index| resolved.as_ref().and_then(|all| all.profiles.get(index));
    let tells_of_absence = clocks::tells_of_absence(sync, desired);
    let profiles = desired.profiles.iter().zip(&sync.profiles).enumerate();
    profiles
        .flat_map(|(index, (profile, state))| {
            let (links, resolved) = (&links, resolved(index));
            let stops = move |of: &&MendOf| {
                is_given_up(observed, resolved, tells_of_absence, **of)
                    || is_fine(observed, &profile.name, state, links, **of)
            };
            let stopped = state.mend_retries.keys().filter(stops);
            stopped.map(move |of| (profile.name.clone(), *of))
        })
        .collect()
}

/// Whether nobody mends the account any more: it is gone, or no target of the profile.
fn is_given_up(
    observed: &AuditObserved,
    resolved: Option<&ResolvedProfile>,
    tells_of_absence: bool,
    (account, kind): MendOf,
) -> bool {
    let accounts = &observed.sync.organization.accounts;
    let Ok(index) = accounts.binary_search_by_key(&account, |known| known.id) else {
        return tells_of_absence;
    };
    let is_gone = matches!(
        accounts[index].state,
        AccountState::Suspended | AccountState::PendingClosure | AccountState::Closed
    );
    // A stack that another profile's took over from is removed where it is no target.
    let is_no_target = kind != MendKind::TakenOver
        && resolved.is_some_and(|resolved| {
            let mut left_out = resolved.left_out.iter();
            let unknown = left_out.any(|(left_out, reason)| {
                *left_out as usize == index && *reason == Reason::TagsUnknown
            });
            resolved.targeted.get(index) == Some(&false) && !unknown
        });
    is_gone || is_no_target
}

fn is_fine(
    observed: &AuditObserved,
    profile: &str,
    state: &ObservedProfile,
    links: &SpotLinks<'_>,
    (account, kind): MendOf,
) -> bool {
    let sync = &observed.sync;
    let known = sync.organization.account(account);
    let Some(known) = known.filter(|known| known.state == AccountState::Active) else {
        return false;
    };
    let instances = &state.instances;
    let instance = instances.binary_search_by_key(&account, |instance| instance.account);
    let instance = instance.ok().map(|at| &instances[at]);
    if kind == MendKind::TakenOver {
        return instance.is_none();
    }
    let is_current = |status| status == InstanceStatus::Current;
    if !instance.is_some_and(|instance| is_current(instance.status)) {
        return false;
    }
    let linked = match links.of(account) {
        Link::One(spot) => Some(spot).filter(|spot| sync.owned_links.get(&account) == Some(*spot)),
        Link::None | Link::Several(_) => None,
    };
    match kind {
        MendKind::Link | MendKind::SpotAccountGone => linked.is_some(),
        MendKind::Rename => {
            linked.is_some_and(|spot| is_named(observed, profile, &known.name, account, spot))
        }
        MendKind::CostIntelligence => linked.is_some_and(|spot| {
            let on = observed.cost_intelligence.as_ref();
            on.is_some_and(|on| on.contains_key(spot))
        }),
        MendKind::RoleGone => is_read(observed, account, |kind, _| kind == DriftKind::RoleMissing),
        MendKind::Rewrite => is_read(observed, account, |_, fix| *fix == Fix::ReDeploy),
        MendKind::Relink => is_read(observed, account, |kind, _| {
            kind == DriftKind::StoredRoleDiffers
        }),
        MendKind::TakenOver => false,
    }
}

fn is_named(
    observed: &AuditObserved,
    profile: &str,
    account_name: &str,
    account: AwsAccountId,
    spot: &SpotAccountId,
) -> bool {
    let mut records = observed.sync.spot_accounts.iter();
    let actual = records.find(|record| record.id == *spot);
    actual.is_some_and(|actual| {
        at_spot::named_otherwise(observed, profile, account, account_name, &actual.name).is_none()
    })
}

/// Whether the account's role was read, and nothing of this was found.
fn is_read(
    observed: &AuditObserved,
    account: AwsAccountId,
    is_wrong: impl Fn(DriftKind, &Fix) -> bool,
) -> bool {
    let drifts = observed.drifts.as_ref();
    let drifts = drifts.and_then(|drifts| drifts.get(&account));
    drifts.is_some_and(|drifts| {
        !drifts
            .iter()
            .any(|drift| drift.is_unread() || is_wrong(drift.kind, &drift.fix))
    })
}
