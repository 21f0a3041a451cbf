//! How much a run, and a day, may delete, and which listings are believed.

use super::{
    candidates::{Candidate, Stand, begun, has_failed},
    observed::{CleanupObserved, CleanupRules, Deleted},
};
use crate::{
    desired::Desired,
    plan::{Plan, Refusal},
    stackset_sync::guard::{Lister, shrink_of},
};

/// How many Spot accounts may be deleted now, of so many that are ours.
#[must_use]
pub fn allowance(observed: &CleanupObserved, rules: &CleanupRules, ours: usize) -> usize {
    left(observed, rules, ours).0
}

/// How many may be deleted now, and which setting says so.
fn left(observed: &CleanupObserved, rules: &CleanupRules, ours: usize) -> (usize, &'static str) {
    let in_a_day = observed.deleted.len();
    let deleted = observed.deleted.iter();
    let in_this_run = deleted.filter(|deleted| deleted.of_this_run).count();
    let share = share_a_day(observed, rules, ours);
    let limits = [
        (
            rules.max_deletions.saturating_sub(in_this_run),
            "max-deletions",
        ),
        (rules.max_per_day.saturating_sub(in_a_day), "max-per-day"),
        (share.saturating_sub(in_a_day), "max-percent"),
    ];
    limits
        .into_iter()
        .min_by_key(|(left, _)| *left)
        .unwrap_or((0, "max-deletions"))
}

/// The most that may be deleted in 24 hours, of so many that are ours.
#[must_use]
pub fn most_a_day(observed: &CleanupObserved, rules: &CleanupRules, ours: usize) -> usize {
    rules.max_per_day.min(share_a_day(observed, rules, ours))
}

/// Of what was there before the day's deletions, and rounded up: a small organization may be cleaned up, too. What may have been
/// deleted is among those that are ours for as long as Spot lists it.
fn share_a_day(observed: &CleanupObserved, rules: &CleanupRules, ours: usize) -> usize {
    let settled = observed.deleted.iter().filter(|deleted| deleted.is_settled);
    share_of(ours.saturating_add(settled.count()), rules.max_share)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of accounts are far below 2^52, and a share lies between 0 and 1"
)]
fn share_of(count: usize, share: f64) -> usize {
    (count as f64 * share.clamp(0.0, 1.0)).ceil() as usize
}

/// What the limits were used up by, and what they are.
struct Budget {
    run: usize,
    day: usize,
    most_a_run: usize,
    most_a_day: usize,
}

impl Budget {
    fn new(observed: &CleanupObserved, rules: &CleanupRules, ours: usize) -> Self {
        let deleted = observed.deleted.iter();
        Self {
            run: deleted.filter(|deleted| deleted.of_this_run).count(),
            day: observed.deleted.len(),
            most_a_run: rules.max_deletions,
            most_a_day: most_a_day(observed, rules, ours),
        }
    }

    /// Whether one more may be deleted, which is counted then. One whose deletion was begun is counted already, and not against
    /// itself: whoever began it may have died right after.
    fn take(&mut self, begun: Option<&Deleted>) -> bool {
        let in_run = usize::from(begun.is_some_and(|begun| begun.of_this_run));
        let run = self.run.saturating_sub(in_run);
        let day = self.day.saturating_sub(usize::from(begun.is_some()));
        let may = run < self.most_a_run && day < self.most_a_day;
        if may {
            (self.run, self.day) = (run + 1, day + 1);
        }
        may
    }
}

/// Chooses what is deleted, in the order of the candidates, and says what is left to later runs. What could not be deleted before
/// is tried again when nothing else waits: each try uses the limits of a day up.
pub(super) fn apply(
    observed: &CleanupObserved,
    rules: &CleanupRules,
    ours: usize,
    candidates: &mut [Candidate<'_>],
    plan: &mut Plan,
) {
    let (_, guard) = left(observed, rules, ours);
    let mut budget = Budget::new(observed, rules, ours);
    let mut over = 0_usize;
    for candidate in candidates {
        let Stand::Due { after_stack } = candidate.stand else {
            continue;
        };
        let judged = candidate.judged;
        let waits = over > 0 && has_failed(observed, judged);
        candidate.stand = match observed.running.get(&judged.record.id) {
            Some(running) if !running.is_empty() => Stand::Running(running.clone()),
            Some(_) if !waits && budget.take(begun(observed, judged)) => {
                Stand::Chosen { after_stack }
            }
            // Not asked, because enough others are due.
            Some(_) | None => {
                over += 1;
                Stand::OverLimit
            }
        };
    }
    if over > 0 {
        plan.refusals.push(Refusal {
            guard: guard.to_owned(),
            message: format!(
                "{over} more Spot accounts are due to be deleted than {} allows now; the oldest go first, the others are left to \
                 later runs",
                setting(guard)
            ),
            whole_plan: false,
        });
    }
}

fn setting(guard: &str) -> String {
    format!("params.{}", guard.replace('-', "_"))
}

/// Why nothing is removed on the word of these listings. A listing that nothing can be compared with matters only where
/// something would be removed.
pub(super) fn distrust(
    observed: &CleanupObserved,
    desired: &Desired,
    removes: bool,
) -> Option<Refusal> {
    let now = &observed.sync.organization.id;
    let previous = observed.previous_organization.as_ref();
    if let Some(previous) = previous.filter(|previous| *previous != now) {
        return Some(refusal(
            "another-organization",
            format!(
                "this is organization {now}, and the state is of {previous}: all of its accounts would look as if they had left; \
                 look at the AWS credentials and at [state] url. If an earlier run had the wrong credentials, let the state forget what it \
                 saw: docs/jobs/orphan-cleanup.md, \"Another organization\""
            ),
        ));
    }
    let listings = [
        (
            Lister::Organization,
            observed.sync.previous_account_count,
            observed.sync.organization.accounts.len(),
        ),
        (
            Lister::Spot,
            observed.previous_spot_count,
            observed.sync.spot_accounts.len(),
        ),
    ];
    let mut refusals = listings.into_iter().filter_map(|(lister, previous, now)| {
        let matters = removes || previous.is_some() || now == 0;
        matters
            .then(|| shrink_of(lister, &desired.removal, previous, now))
            .flatten()
    });
    let message = refusals.next()?;
    Some(refusal("shrink-guard", message))
}

/// Why nothing is deleted by these rules: the default account that they name is not there, so another one may be it.
pub(super) fn unknown_default(observed: &CleanupObserved, rules: &CleanupRules) -> Option<Refusal> {
    let named = rules.default_account.as_ref()?;
    let mut listed = observed.sync.spot_accounts.iter();
    if listed.any(|record| record.id == *named) {
        return None;
    }
    Some(refusal(
        "default-account",
        format!(
            "`default_account` is {named}, and Spot lists no such account, so another one may be the default account; look its id \
             up in Spot (it is the organization's oldest), and correct the job file"
        ),
    ))
}

/// Refuses everything.
fn refusal(guard: &str, message: String) -> Refusal {
    Refusal {
        guard: guard.to_owned(),
        message,
        whole_plan: true,
    }
}
