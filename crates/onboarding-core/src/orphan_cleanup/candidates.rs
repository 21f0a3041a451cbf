//! The orphans, and how far each is from being deleted.

use std::collections::BTreeMap;

use super::{
    clock,
    observed::{CleanupObserved, CleanupRules, Deleted, Place, Reach},
    protection::{self, Protection},
    verdict::{Judged, Verdict, Why, instances},
};
use crate::{desired::Desired, ids::AwsAccountId};

/// An orphan.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// The Spot account.
    pub(super) judged: &'a Judged<'a>,
    /// Why nobody needs it.
    pub(super) why: Why,
    /// Since when (Unix seconds).
    pub(super) since: i64,
    /// Where its AWS account is, or was.
    pub(super) place: Option<Place>,
    /// How far it is.
    pub(super) stand: Stand,
}

/// How far an orphan is from being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    /// It is protected, for this reason.
    Protected(String),
    /// It is an orphan for less than the grace period.
    Waiting {
        /// So many seconds are left.
        left: i64,
        /// For how long nobody had looked, in seconds, where the grace period began anew because of that.
        unseen: Option<i64>,
    },
    /// A stack instance of its account has to go first, and does not in this run.
    InstanceStays,
    /// The stack that was left in its account has to go first, and does not in this run, for this reason.
    OutOfReach(Reach),
    /// Something runs in it.
    Running(Vec<String>),
    /// A limit leaves it to a later run.
    OverLimit,
    /// It is deleted when nothing runs in it and the limits let it.
    Due {
        /// Whether a stack instance of its account, or the stack that was left there, goes first.
        after_stack: bool,
    },
    /// It is deleted.
    Chosen {
        /// Whether a stack instance of its account, or the stack that was left there, goes first.
        after_stack: bool,
    },
}

/// A deletion of the Spot account that was begun in the last 24 hours, and whose outcome nobody has seen.
pub(super) fn begun<'a>(observed: &'a CleanupObserved, judged: &Judged<'_>) -> Option<&'a Deleted> {
    let mut deleted = observed.deleted.iter();
    deleted.find(|one| !one.is_settled && one.spot_account == judged.record.id)
}

/// Whether the stack that was left in its account could not be deleted before.
pub(super) fn has_failed(observed: &CleanupObserved, judged: &Judged<'_>) -> bool {
    let id = &judged.record.id;
    let has_failed =
        observed.reach.get(id) == Some(&Reach::FailedBefore) || observed.failed_at(id).is_some();
    judged.leftover.is_some() && has_failed
}

/// The orphans: first those whose deletion was begun, last those whose stack could not be deleted before, and else the oldest first.
/// Those that could not take turns: the one that was not tried for longest goes first.
/// `taken_out`: how many stack instances of each account go in this run by themselves.
pub(super) fn candidates<'a>(
    observed: &CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
    protection: &Protection,
    judged: &'a [Judged<'a>],
    taken_out: &BTreeMap<AwsAccountId, usize>,
) -> Vec<Candidate<'a>> {
    let now = observed.sync.now;
    let instances = instances(observed, desired);
    let orphan = |judged: &'a Judged<'a>| {
        let Verdict::Orphan(why) = judged.verdict else {
            return None;
        };
        let account = judged.account;
        let (clock, unseen) = clock::of(observed, rules, judged, why);
        let since = clock.first_seen;
        let place = protection::place(observed, account);
        let protected = protection.of(account, &[&*judged.record.name], place.as_ref());
        let left = rules
            .grace_seconds
            .saturating_sub(now.saturating_sub(since));
        // In the targets, the account keeps its stack and another Spot account.
        let there = match why {
            Why::Duplicate | Why::NeverLinked => 0,
            Why::Departed | Why::Closed | Why::OutsideTargets => {
                instances.get(&account).map_or(0, Vec::len)
            }
        };
        let goes = match why {
            Why::OutsideTargets => there,
            _ => taken_out.get(&account).copied().unwrap_or(0),
        };
        let reach = judged.leftover.as_ref();
        let reach = reach.and_then(|_| observed.reach.get(&judged.record.id));
        let out_of_reach = reach.filter(|reach| **reach != Reach::FailedBefore);
        let stand = match (protected, out_of_reach) {
            (Some(why), _) => Stand::Protected(why),
            (None, _) if left > 0 => Stand::Waiting { left, unseen },
            (None, _) if goes < there => Stand::InstanceStays,
            (None, Some(reach)) => Stand::OutOfReach(reach.clone()),
            (None, None) => Stand::Due {
                after_stack: there > 0 || judged.leftover.is_some(),
            },
        };
        Some(Candidate {
            judged,
            why,
            since,
            place,
            stand,
        })
    };
    let mut candidates: Vec<_> = judged.iter().filter_map(orphan).collect();
    candidates.sort_by_cached_key(|one| {
        let judged = one.judged;
        let is_begun = begun(observed, judged).is_some();
        let has_failed = has_failed(observed, judged);
        let tried_at = observed.failed_at(&judged.record.id);
        let tried_at = tried_at.filter(|_| has_failed);
        let id = judged.record.id.clone();
        (has_failed, tried_at, !is_begun, one.since, id)
    });
    candidates
}
