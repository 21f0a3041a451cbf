//! Whether conditions can hold together: a search over the atoms that they are made of.

use super::condition::Atom;

/// A statement's condition: all of these clauses, each any of these atoms being true or false.
pub(super) type Condition = Vec<Vec<(usize, bool)>>;

/// Most steps of one search.
const MAX_STEPS: usize = 2_000;

/// Most atoms whose implications are looked at. Without them the search only finds more.
const MAX_RELATED: usize = 1_000;

/// The atoms of two policies, and what follows from each.
#[derive(Debug, Default)]
pub(super) struct Logic {
    /// The atoms that are true when this one is.
    implied: Vec<Vec<usize>>,
    /// The atoms that are false when this one is.
    implying: Vec<Vec<usize>>,
}

/// Conditions that are to hold together.
pub(super) struct Goal<'a> {
    /// Each of these holds.
    pub(super) all: &'a [&'a Condition],
    /// Of each of these lists, at least one holds.
    pub(super) any: &'a [&'a [&'a Condition]],
    /// None of these holds.
    pub(super) none: &'a [&'a [&'a Condition]],
}

/// True, false, or undetermined until this atom is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    True,
    False,
    Open(usize),
}

impl Logic {
    /// Relates atoms to each other.
    pub(super) fn new(atoms: &[Atom]) -> Self {
        let mut logic = Self {
            implied: vec![Vec::new(); atoms.len()],
            implying: vec![Vec::new(); atoms.len()],
        };
        if atoms.len() > MAX_RELATED {
            return logic;
        }
        for (index, atom) in atoms.iter().enumerate() {
            for (other_index, other) in atoms.iter().enumerate() {
                if index != other_index && atom.implies(other) {
                    logic.implied[index].push(other_index);
                    logic.implying[other_index].push(index);
                }
            }
        }
        logic
    }

    /// Whether a request can exist that the goal is true of; none when that takes too long to find out.
    pub(super) fn can_hold(&self, goal: &Goal<'_>) -> Option<bool> {
        let mut steps = MAX_STEPS;
        // Every step settles one atom, so that this list is no longer than there are steps.
        let mut open = vec![vec![None; self.implied.len()]];
        while let Some(values) = open.pop() {
            steps = steps.checked_sub(1)?;
            match goal.known(&values) {
                Known::True => return Some(true),
                Known::False => {}
                Known::Open(atom) => {
                    open.extend(
                        [true, false]
                            .into_iter()
                            .filter_map(|value| self.with(&values, atom, value)),
                    );
                }
            }
        }
        Some(false)
    }

    /// The values with one more, and all that follows; none when that contradicts them.
    fn with(&self, values: &[Option<bool>], atom: usize, value: bool) -> Option<Vec<Option<bool>>> {
        let mut values = values.to_vec();
        let mut due = vec![atom];
        while let Some(atom) = due.pop() {
            match values[atom] {
                Some(known) if known == value => {}
                Some(_) => return None,
                None => {
                    values[atom] = Some(value);
                    let follows = if value { &self.implied } else { &self.implying };
                    due.extend(&follows[atom]);
                }
            }
        }
        Some(values)
    }
}

impl Goal<'_> {
    fn known(&self, values: &[Option<bool>]) -> Known {
        let mut result = Known::True;
        let mut and = |known: Known| {
            match (result, known) {
                (_, Known::False) => result = Known::False,
                (Known::True, Known::Open(_)) => result = known,
                _ => {}
            }
            result != Known::False
        };
        for condition in self.none.iter().copied().flatten() {
            let negated = match holds(condition, values) {
                Known::True => Known::False,
                Known::False => Known::True,
                open => open,
            };
            if !and(negated) {
                return Known::False;
            }
        }
        for condition in self.all {
            if !and(holds(condition, values)) {
                return Known::False;
            }
        }
        for conditions in self.any {
            let any = conditions.iter().map(|condition| holds(condition, values));
            if !and(any.fold(Known::False, or)) {
                return Known::False;
            }
        }
        result
    }
}

fn holds(condition: &Condition, values: &[Option<bool>]) -> Known {
    let mut result = Known::True;
    for clause in condition {
        let known = clause.iter().map(|(atom, wanted)| match values[*atom] {
            None => Known::Open(*atom),
            Some(value) if value == *wanted => Known::True,
            Some(_) => Known::False,
        });
        match known.fold(Known::False, or) {
            Known::False => return Known::False,
            Known::Open(atom) if result == Known::True => result = Known::Open(atom),
            _ => {}
        }
    }
    result
}

fn or(left: Known, right: Known) -> Known {
    match (left, right) {
        (Known::True, _) | (_, Known::True) => Known::True,
        (Known::False, other) => other,
        (open, _) => open,
    }
}
