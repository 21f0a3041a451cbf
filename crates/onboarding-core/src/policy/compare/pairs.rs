//! Which statement of the later policy was which of the earlier one.

use std::collections::BTreeSet;

use super::{Grants, cells::Found, read::Written, words};

/// A statement before and after; at least one of them is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// Its place before.
    pub(super) before: Option<usize>,
    /// Its place after.
    pub(super) after: Option<usize>,
    /// Whether it is the same JSON.
    pub(super) is_equal: bool,
}

/// Every statement once: those of `after` in their order, then those that are only in `before`. Statements with the same
/// Sid belong together, then equal ones, then those with the same effect that share most actions.
pub(super) fn pairs(before: &Grants, after: &Grants) -> Vec<Pair> {
    let (earlier_sources, later_sources) = (before.sources(), after.sources());
    let (before, after) = (before.statements(), after.statements());
    let mut counterpart: Vec<Option<usize>> = vec![None; after.len()];
    let mut free: Vec<bool> = vec![true; before.len()];
    let mut pair = |is_pair: &dyn Fn(usize, usize) -> bool| {
        for (index, counterpart) in counterpart.iter_mut().enumerate() {
            if counterpart.is_none()
                && let Some(found) =
                    (0..before.len()).find(|earlier| free[*earlier] && is_pair(*earlier, index))
            {
                *counterpart = Some(found);
                free[found] = false;
            }
        }
    };
    pair(&|earlier, later| {
        before[earlier].sid.is_some() && before[earlier].sid == after[later].sid
    });
    pair(&|earlier, later| earlier_sources[earlier] == later_sources[later]);
    let sets = |statements: &[Written]| -> Vec<BTreeSet<String>> {
        let actions = |statement: &Written| {
            let names = statement.actions.names.iter();
            names.map(|name| name.to_ascii_lowercase()).collect()
        };
        statements.iter().map(actions).collect()
    };
    let (earlier_actions, later_actions) = (sets(before), sets(after));
    for (index, counterpart) in counterpart.iter_mut().enumerate() {
        if counterpart.is_some() {
            continue;
        }
        let found = (0..before.len())
            .filter(|earlier| free[*earlier] && before[*earlier].effect == after[index].effect)
            .map(|earlier| {
                let shared = earlier_actions[earlier].intersection(&later_actions[index]);
                (shared.count(), earlier)
            })
            .filter(|(shared, _)| *shared > 0)
            // Of equally similar ones, the first.
            .max_by_key(|(shared, earlier)| (*shared, usize::MAX - earlier));
        if let Some((_, found)) = found {
            *counterpart = Some(found);
            free[found] = false;
        }
    }
    let later = counterpart.iter().enumerate().map(|(index, found)| Pair {
        before: *found,
        after: Some(index),
        is_equal: found.is_some_and(|found| earlier_sources[found] == later_sources[index]),
    });
    let gone = (0..before.len())
        .filter(|index| free[*index])
        .map(|index| Pair {
            before: Some(index),
            after: None,
            is_equal: false,
        });
    later.chain(gone).collect()
}

/// Every statement that is not the same on both sides, as a whole: for what cannot be compared any closer.
pub(super) fn all_that_differ(before: &Grants, after: &Grants, pairs: &[Pair]) -> Found {
    let mut found = Found {
        undecided: true,
        ..Found::default()
    };
    for pair in pairs.iter().filter(|pair| !pair.is_equal) {
        if let Some(index) = pair.before {
            let changes = words::whole(&before.statements()[index], false);
            found.before.insert(index, changes);
        }
        if let Some(index) = pair.after {
            let changes = words::whole(&after.statements()[index], true);
            found.after.insert(index, changes);
        }
    }
    found
}
