//! For which accounts a retry clock goes on. One that is as it should be, by whoever's doing, or that nobody enrolls any more, has
//! failed no longer.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    PlanError, guard, ledger, observed::SyncObserved, spot_links::SpotLinks, steps::ProfileContext,
    targets,
};
use crate::{
    desired::{Desired, Purpose},
    ids::AwsAccountId,
    status::Reason,
};

/// The accounts whose failures count, by the name of each profile that was looked at.
///
/// # Errors
/// As planning with the same observation.
pub fn unsettled<'a>(
    observed: &SyncObserved,
    desired: &'a Desired,
) -> Result<BTreeMap<&'a str, BTreeSet<AwsAccountId>>, PlanError> {
    let resolved = targets::resolve(&observed.organization, &observed.account_tags, desired)?;
    let links = SpotLinks::new(&observed.spot_accounts);
    // Where an account stands with the runner's own roles has nothing to do with its link.
    let no_links = SpotLinks::new(&[]);
    let profiles = desired.profiles.iter().zip(&observed.profiles);
    let profiles = profiles.zip(&resolved.profiles);
    let profiles = profiles.map(|((profile, state), resolved)| (profile, state, resolved, &links));
    let remediation = desired.remediation.as_ref();
    let remediation = remediation.map(|remediation| &remediation.profile);
    let roles = [
        desired.audit.as_ref().zip(observed.audit.as_ref()),
        remediation.zip(observed.remediation.as_ref()),
    ];
    let widest = targets::with_leftover_units(&observed.organization, desired, &resolved.union);
    let roles = roles.into_iter().flatten().filter_map(|(role, state)| {
        let targets = match role.purpose {
            // Nothing is planned for it then.
            Purpose::RemediationRole => widest.as_ref().ok()?,
            Purpose::Enrollment | Purpose::AuditRole => &resolved.union,
        };
        Some((role, state, targets, &no_links))
    });
    let mut unsettled = BTreeMap::new();
    for (profile, state, resolved, links) in profiles.chain(roles) {
        let context = ProfileContext {
            observed,
            desired,
            profile,
            state,
            resolved,
            deployment: targets::effective_deployment(profile)?,
        };
        let rows = ledger::rows(&context, links, false).into_iter();
        let rows = rows.filter(|row| is_unsettled(row.row.reason));
        let accounts = rows.map(|row| row.row.account).collect();
        unsettled.insert(profile.name.as_str(), accounts);
    }
    Ok(unsettled)
}

/// Whether what was observed can tell that accounts are not there any more.
#[must_use]
pub fn tells_of_absence(observed: &SyncObserved, desired: &Desired) -> bool {
    let accounts = observed.organization.accounts.len();
    guard::shrink(&desired.removal, observed.previous_account_count, accounts).is_none()
}

/// The profiles that the configuration has, those of the runner's own roles among them.
#[must_use]
pub fn profiles(desired: &Desired) -> BTreeSet<&str> {
    let looked_at = desired.profiles.iter().chain(desired.roles());
    let looked_at = looked_at.map(|profile| profile.name.as_str());
    let others = desired.other_profiles.keys().map(String::as_str);
    looked_at.chain(others).collect()
}

/// Whether an account that stands like this is still to be enrolled, or nobody knows.
fn is_unsettled(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Enrolling
            | Reason::MissingInstance
            | Reason::InstanceFailed
            | Reason::RetryLater
            | Reason::Quarantined
            | Reason::EnrollmentFailed
            | Reason::EnrollmentUnfinished
            | Reason::ExternalIdMissing
            | Reason::InstanceOutdated
            | Reason::InstanceInoperable
            | Reason::StateUnknown
            | Reason::TagsUnknown
            | Reason::BlockedByScp
            | Reason::BlockedByRcp
            | Reason::StackBlocked
            | Reason::RollingOut
    )
}
