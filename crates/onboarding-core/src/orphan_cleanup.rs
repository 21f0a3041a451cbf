//! `orphan-cleanup`: Spot accounts of ours that nobody needs any more, and what may be deleted of them, when.
//!
//! The contract of every deletion is here: what is ours, what is protected, how long something must have been an orphan, how
//! many go in a run and a day, which listings are believed, and what must be true at the moment of deletion
//! ([`still_orphan`]).
//!
//! Guarantees: pure; no plan touches a protected account or a Spot account that is not ours; a listing of AWS Organizations
//! or Spot that is empty or has shrunk gives a plan without steps. Stack instances of accounts that are gone are taken out by
//! the steps of [`stackset_sync`] itself, under its limits: one rule for one thing.

mod action;
mod candidates;
mod fresh;
mod limits;
mod observed;
mod outside;
pub mod protection;
mod report;
pub mod undo;
mod verdict;

pub use action::{CleanupAction, CleanupConsent};
pub use fresh::{Evidence, still_orphan};
pub use limits::allowance;
pub use observed::{
    CleanupObserved, CleanupRules, Deleted, EmptyPattern, Known, KnownOwner, KnownTombstone,
    NamePattern, Place,
};
pub use verdict::{Judged, Verdict, Why, judge};

use std::collections::{BTreeMap, BTreeSet};

use candidates::{Candidate, Stand};

use crate::{
    desired::Desired,
    ids::{AwsAccountId, SpotAccountId, StackId},
    plan::{Plan, Step},
    stackset_sync::{self, PlanError},
    status::Reason,
};

/// The kind's name, as in job files.
pub const KIND: &str = "orphan-cleanup";

/// Since when each orphan is one, with those that are new since `now`. What came back has no entry: it begins anew.
///
/// # Errors
/// As [`judge`].
pub fn clocks(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<BTreeMap<SpotAccountId, i64>, PlanError> {
    let now = observed.sync.now;
    let judged = judge(observed, desired, rules)?.into_iter();
    let orphans = judged.filter(|one| matches!(one.verdict, Verdict::Orphan(_)));
    let since = |id: &SpotAccountId| observed.first_seen.get(id).copied().unwrap_or(now);
    Ok(orphans
        .map(|one| (one.record.id.clone(), since(&one.record.id)))
        .collect())
}

/// The stacks of active accounts that nobody targets of which nothing tells whether they are still there, with the Spot accounts
/// that they linked. Whoever can read the accounts can tell.
///
/// # Errors
/// As [`judge`].
pub fn unclear_stacks(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<Vec<(SpotAccountId, StackId)>, PlanError> {
    let judged = judge(observed, desired, rules)?.into_iter();
    let unclear = judged.filter(|one| {
        matches!(one.verdict, Verdict::Kept(Reason::StackRemains, _))
            && one.known.tombstone.is_none()
    });
    Ok(unclear
        .filter_map(|one| {
            let owner = one.known.owner.as_ref()?;
            let owner = owner.has_real_stack().then_some(owner)?;
            Some((one.record.id.clone(), owner.stack.clone()))
        })
        .collect())
}

/// The Spot accounts that are due and not protected, the oldest first: what runs in them decides which are deleted.
///
/// # Errors
/// As [`plan`].
pub fn due(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<Vec<SpotAccountId>, PlanError> {
    let judged = judge(observed, desired, rules)?;
    let sync = stackset_sync::plan(&observed.sync, desired)?;
    let all = candidates::candidates(observed, desired, rules, &judged, &removals(&sync));
    let due = all
        .into_iter()
        .filter(|one| matches!(one.stand, Stand::Due { .. }));
    Ok(due.map(|one| one.judged.record.id.clone()).collect())
}

/// Whether what is listed may be believed; else why nothing is removed.
#[must_use]
pub fn distrust(observed: &CleanupObserved, desired: &Desired) -> Option<String> {
    limits::shrunk(observed, desired, false)
}

/// Plans a run.
///
/// # Errors
/// The configuration contradicts itself or the organization: see [`PlanError`].
pub fn plan(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<Plan, PlanError> {
    protection::check(&observed.sync.organization, rules)?;
    let mut plan = Plan::default();
    if let Some(message) = distrust(observed, desired) {
        limits::refuse_all(&mut plan, message);
        return Ok(plan);
    }
    let sync = stackset_sync::plan(&observed.sync, desired)?;
    let taken_out = removals(&sync);
    let judged = judge(observed, desired, rules)?;
    let mut all = candidates::candidates(observed, desired, rules, &judged, &taken_out);
    limits::apply(observed, rules, judged.len(), &mut all, &mut plan);
    let of_removals = ["shrink-guard", "max-removals"];
    let refused = sync.refusals.iter();
    let refused = refused.filter(|refusal| of_removals.contains(&&*refusal.guard));
    plan.refusals.extend(refused.cloned());
    plan.steps = sync.steps.into_iter().filter(is_removal).collect();
    outside::steps(observed, desired, &all, &mut plan);
    let deletions: Vec<Step> = all
        .iter()
        .filter_map(|one| action::deletion(one, desired.profiles.len(), &plan.steps))
        .collect();
    plan.steps.extend(deletions);
    report::rows(observed, &judged, &all, &mut plan);
    report::others(sync.accounts, &mut plan);
    report::findings(observed, &judged, &all, &mut plan);
    if !plan.steps.is_empty()
        && let Some(message) = limits::shrunk(observed, desired, true)
    {
        plan.steps.clear();
        limits::refuse_all(&mut plan, message);
    }
    plan.steps
        .sort_by(|one, other| (one.order, &one.id).cmp(&(other.order, &other.id)));
    Ok(plan)
}

/// Whether a step of `stackset-sync` takes out stack instances.
fn is_removal(step: &Step) -> bool {
    step.action == "delete-stack-instances"
}

/// How many stack instances of each account `stackset-sync` would take out.
fn removals(sync: &Plan) -> BTreeMap<AwsAccountId, usize> {
    let mut removals = BTreeMap::new();
    for step in sync.steps.iter().filter(|step| is_removal(step)) {
        let accounts: BTreeSet<_> = step.accounts.iter().collect();
        for account in accounts {
            *removals.entry(*account).or_default() += 1;
        }
    }
    removals
}

/// A time in words, to the hour where it is days.
fn words(seconds: i64) -> String {
    let minutes = seconds.max(0).unsigned_abs().div_ceil(60);
    let (days, hours) = (minutes / (24 * 60), minutes / 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {} min", minutes % 60),
        (days, hours) => format!("{days} d {} h", hours % 24),
    }
}

/// What an account is called: by its name, where that is known.
fn named(candidate: &Candidate<'_>) -> String {
    let account = candidate.judged.account;
    match &candidate.place {
        Some(place) => format!("{account} ({})", place.name),
        None => account.to_string(),
    }
}
