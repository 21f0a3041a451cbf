//! At which stacks that were left in accounts a run looks, where there are more than it looks at.

use std::collections::BTreeSet;

use super::Due;
use crate::ids::SpotAccountId;

/// The time between two turns, in seconds. A plan that is applied on the same day has looked at the same stacks.
const DAY: i64 = 24 * 60 * 60;

/// The Spot accounts whose stacks are looked at in a run, of those that are due: all whose deletion was begun, and at most `most`
/// others. Half of these are the oldest; the other half are others each day, for the oldest may be those that are never in reach.
#[must_use]
pub fn turn(due: &[Due], most: usize, now: i64) -> BTreeSet<SpotAccountId> {
    let leftovers = due.iter().filter(|one| one.leftover.is_some());
    let (begun, others): (Vec<&Due>, Vec<&Due>) = leftovers.partition(|one| one.is_begun);
    let (oldest, rest) = others.split_at(others.len().min(most.div_ceil(2)));
    let a_day = rest.len().min(most.saturating_sub(oldest.len()));
    let day = usize::try_from(now.div_euclid(DAY)).unwrap_or_default();
    let first = day.wrapping_mul(a_day).checked_rem(rest.len());
    let rest = rest.iter().cycle().skip(first.unwrap_or_default());
    let all = begun.iter().chain(oldest).chain(rest.take(a_day));
    all.map(|one| one.spot_account.clone()).collect()
}
