//! At which stacks that were left in accounts a run looks, where there are more than it looks at.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

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
    let most = most.saturating_sub(oldest.len());
    let rest = of_the_day(rest.to_vec(), |one| &one.spot_account, most, now);
    let all = begun.iter().chain(oldest).chain(&rest);
    all.map(|one| one.spot_account.clone()).collect()
}

/// At most so many, others each day, in whatever rhythm runs come and however many there are: drawn by lot, so that each is drawn
/// sooner or later.
pub fn of_the_day<T>(
    mut all: Vec<T>,
    id: impl Fn(&T) -> &SpotAccountId,
    most: usize,
    now: i64,
) -> Vec<T> {
    let day = now.div_euclid(DAY);
    all.sort_by_cached_key(|one| {
        let mut lot = DefaultHasher::new();
        (day, id(one).as_str()).hash(&mut lot);
        lot.finish()
    });
    all.truncate(most);
    all
}
