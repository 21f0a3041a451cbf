//! `orphan-cleanup`: Spot accounts of ours that nobody needs any more, and what may be deleted of them, when.
//!
//! The contract of every deletion is here: what is ours, what is protected, how long something must have been an orphan, how
//! many go in a run and a day, which listings are believed, and what must be true at the moment of deletion
//! ([`still_orphan`]).
//!
//! Guarantees: pure; no plan touches a protected account or a Spot account that is not ours; a listing of AWS Organizations
//! or Spot that is empty or has shrunk gives a plan without steps. Stacks that were left in accounts go only right before their Spot
//! accounts, under the same limits. Stack instances of accounts that are gone are taken out by
//! the steps of [`stackset_sync`] itself, under its limits, of those accounts whose Spot account is deleted next.

mod action;
mod candidates;
mod clock;
mod fresh;
mod instances;
mod late;
mod leftover;
mod limits;
mod observed;
pub mod protection;
mod report;
mod turn;
pub mod undo;
mod verdict;

pub use action::{CleanupAction, CleanupConsent};
pub use clock::OrphanClock;
pub use fresh::{Evidence, OutsideEvidence, still_left, still_orphan, still_outside};
pub use late::add_late;
pub use leftover::{Foreign, LeftStack, is_the_left_one};
pub use limits::{allowance, most_a_day};
pub use observed::{
    CleanupObserved, CleanupRules, Deleted, EmptyPattern, Known, KnownOwner, KnownTombstone,
    NamePattern, Place, Reach, SentCreation, Tried,
};
pub use turn::{of_the_day, turn};
pub use verdict::{Judged, Verdict, Why, delete_stack_command, judge};

use std::collections::BTreeMap;

use candidates::{Candidate, Stand};
use protection::Protection;

use crate::{
    desired::Desired,
    ids::{SpotAccountId, StackId},
    plan::{Plan, Refusal, Step},
    stackset_sync::{self, PlanError},
    status::Reason,
};

/// The kind's name, as in job files.
pub const KIND: &str = "orphan-cleanup";

/// The clock of each orphan, as it is to be kept. What came back has none: it begins anew.
///
/// # Errors
/// As [`judge`].
pub fn clocks(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<BTreeMap<SpotAccountId, OrphanClock>, PlanError> {
    let judged = judge(observed, desired, rules)?;
    let clock = |one: &Judged<'_>| match one.verdict {
        Verdict::Orphan(why) => Some((
            one.record.id.clone(),
            clock::of(observed, rules, one, why).0,
        )),
        Verdict::InUse | Verdict::Kept(..) => None,
    };
    Ok(judged.iter().filter_map(clock).collect())
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
        let remains = matches!(one.verdict, Verdict::Kept(Reason::StackRemains, _));
        (remains || one.leftover.is_some()) && one.known.tombstone.is_none()
    });
    Ok(unclear
        .filter_map(|one| {
            let owner = one.known.owner.as_ref()?;
            let owner = owner.stack.is_real().then_some(owner)?;
            Some((one.record.id.clone(), owner.stack.clone()))
        })
        .collect())
}

/// A Spot account that is due and not protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// The stack that was left in its account and is deleted first, through the remediation role.
    pub leftover: Option<StackId>,
    /// Whether its deletion was begun in the last 24 hours, and nobody has seen what became of it: it is counted already.
    pub is_begun: bool,
}

/// The Spot accounts that are due and not protected, those whose deletion was begun first, then the oldest: what runs in them, and whether stacks that were left can be
/// deleted, decides which are deleted.
///
/// # Errors
/// As [`plan`].
pub fn due(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<Vec<Due>, PlanError> {
    let judged = judge(observed, desired, rules)?;
    let sync = stackset_sync::plan(&observed.sync, desired)?;
    let protection = Protection::new(&observed.sync.organization, desired, rules)?;
    let taken_out = instances::removals(&sync);
    let all = candidates::candidates(observed, desired, rules, &protection, &judged, &taken_out);
    let due = all
        .into_iter()
        .filter(|one| matches!(one.stand, Stand::Due { .. }));
    let due = due.map(|one| Due {
        spot_account: one.judged.record.id.clone(),
        leftover: one.judged.leftover.clone(),
        is_begun: candidates::begun(observed, one.judged).is_some(),
    });
    Ok(due.collect())
}

/// Whether what is listed may be believed; else why nothing is removed.
#[must_use]
pub fn distrust(observed: &CleanupObserved, desired: &Desired) -> Option<Refusal> {
    limits::distrust(observed, desired, false)
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
    let protection = Protection::new(&observed.sync.organization, desired, rules)?;
    let mut plan = Plan::default();
    let refused = distrust(observed, desired);
    if let Some(refusal) = refused.or_else(|| limits::unknown_default(observed, rules)) {
        plan.refusals.push(refusal);
        return Ok(plan);
    }
    let sync = stackset_sync::plan(&observed.sync, desired)?;
    let taken_out = instances::removals(&sync);
    let judged = judge(observed, desired, rules)?;
    let mut all =
        candidates::candidates(observed, desired, rules, &protection, &judged, &taken_out);
    limits::apply(observed, rules, judged.len(), &mut all, &mut plan);
    let of_removals = ["shrink-guard", "max-removals"];
    let refused = sync.refusals.iter();
    let refused = refused.filter(|refusal| of_removals.contains(&&*refusal.guard));
    plan.refusals.extend(refused.cloned());
    instances::of_gone(&sync, &all, &mut plan);
    instances::outside(observed, desired, &all, &mut plan);
    plan.steps.extend(all.iter().filter_map(leftover::step));
    let deletions: Vec<Step> = all
        .iter()
        .filter_map(|one| action::deletion(one, desired.profiles.len(), &plan.steps))
        .collect();
    plan.steps.extend(deletions);
    report::rows(observed, &judged, &all, &mut plan);
    report::findings(observed, &judged, &all, &mut plan);
    report::unjudged(observed, &all, &mut plan);
    if !plan.steps.is_empty()
        && let Some(refusal) = limits::distrust(observed, desired, true)
    {
        plan.steps.clear();
        plan.refusals.push(refusal);
    }
    plan.steps
        .sort_by(|one, other| (one.order, &one.id).cmp(&(other.order, &other.id)));
    Ok(plan)
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
