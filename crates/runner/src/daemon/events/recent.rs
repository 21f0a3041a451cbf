//! The ids of the events that were dealt with last, a bounded number of them.

use std::collections::{HashSet, VecDeque};

/// How many are kept: more than come within the minutes in which a copy may follow.
const KEPT: usize = 4096;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<Box<str>>,
    order: VecDeque<Box<str>>,
}

impl Recent {
    /// Whether the event with this id was dealt with; one without an id was not.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.known.contains(id))
    }

    /// The event with this id was dealt with.
    pub(super) fn remember(&mut self, id: Option<Box<str>>) {
        let Some(id) = id.filter(|id| !self.known.contains(id)) else {
            return;
        };
        if self.order.len() == KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(id.clone());
        self.order.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_no_more_are_kept() {
        let mut recent = Recent::default();
        for number in 0..2 * KEPT {
            let id = number.to_string();
            assert!(!recent.knows(Some(&id)));
            recent.remember(Some(id.as_str().into()));
            recent.remember(Some(id.as_str().into()));
            assert!(recent.knows(Some(&id)));
        }
        assert_eq!((recent.known.len(), recent.order.len()), (KEPT, KEPT));
        assert!(recent.knows(Some(&KEPT.to_string())) && !recent.knows(Some("0")));
        recent.remember(None);
        assert!(!recent.knows(None));
    }
}
