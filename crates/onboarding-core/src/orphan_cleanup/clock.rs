//! Since when an orphan is one: the clock of the grace period, and what makes it begin anew.
//!
//! It goes on only while it is an orphan of the same AWS account, for the same reason, with the same owner, and while somebody
//! looked often enough to say so: an account may come back and leave again while nobody looks.

use serde::{Deserialize, Serialize};

use super::{
    observed::{CleanupObserved, CleanupRules},
    verdict::{Judged, Why},
};
use crate::ids::{AwsAccountId, StackId};

/// The clock of one orphan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanClock {
    /// Since when it is an orphan (Unix seconds).
    pub first_seen: i64,
    /// When a run saw it last (Unix seconds).
    pub last_seen: i64,
    /// Why nobody needs it.
    pub why: Why,
    /// Its AWS account.
    pub account: AwsAccountId,
    /// The stack that linked it last; none when none did through us.
    pub owner: Option<StackId>,
}

/// The clock of an orphan now, and for how long (in seconds) nobody had looked, where it begins anew because of that.
pub(super) fn of(
    observed: &CleanupObserved,
    rules: &CleanupRules,
    judged: &Judged<'_>,
    why: Why,
) -> (OrphanClock, Option<i64>) {
    let now = observed.sync.now;
    let owner = judged.known.owner.as_ref();
    let begun = OrphanClock {
        first_seen: now,
        last_seen: now,
        why,
        account: judged.account,
        owner: owner.map(|owner| owner.stack.clone()),
    };
    let Some(before) = observed.clocks.get(&judged.record.id) else {
        return (begun, None);
    };
    let is_about = |clock: &OrphanClock| (clock.why, clock.account, clock.owner.clone());
    if is_about(before) != is_about(&begun) {
        return (begun, None);
    }
    let unseen = now.saturating_sub(before.last_seen);
    if unseen > rules.max_gap_seconds {
        return (begun, Some(unseen));
    }
    let goes_on = OrphanClock {
        first_seen: before.first_seen,
        ..begun
    };
    (goes_on, None)
}
