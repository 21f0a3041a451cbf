//! The classes of texts that a set of patterns tells apart: two texts are of one class when the same patterns match them.
//!
//! Each text without wildcards is a class of its own. Beside those, one automaton runs all patterns with wildcards at once;
//! every set of them that some text can match is a class. Letters that no pattern names are as many as needed.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    rc::Rc,
};

use super::pattern::{Pattern, Token};

/// Most states of the automaton: ordinary policies need a few hundred.
const MAX_STATES: usize = 20_000;

/// Most places in patterns, over all states.
const MAX_PLACES: usize = 1_000_000;

/// Patterns, each once.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    ids: HashMap<String, usize>,
    patterns: Vec<Pattern>,
}

impl Patterns {
    /// The number of a pattern, by its text as far as that matters.
    pub(super) fn id(&mut self, text: String, pattern: impl FnOnce(&str) -> Pattern) -> usize {
        let next = self.patterns.len();
        match self.ids.entry(text) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.patterns.push(pattern(new.key()));
                *new.insert(next)
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The classes, each as the sorted numbers of the patterns that match it; one of them may be that of no pattern. None
    /// when there would be too many.
    pub(super) fn classes(&self, universe: &[Token]) -> Option<Vec<Vec<usize>>> {
        let mut literals = Vec::new();
        let mut wildcards = Vec::new();
        for (id, pattern) in self.patterns.iter().enumerate() {
            match pattern {
                Pattern::Literal(text) => literals.push((id, text.as_str())),
                Pattern::Wildcards(tokens) => wildcards.push((id, tokens.as_slice())),
            }
        }
        let automaton = Automaton::new(&wildcards, universe)?;
        let mut classes: Vec<Vec<usize>> = automaton
            .states
            .iter()
            .filter(|state| state.is_within)
            .map(|state| state.matched.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        for (id, text) in literals {
            let mut class = automaton.matched(text).to_vec();
            class.push(id);
            class.sort_unstable();
            classes.push(class);
        }
        Some(classes)
    }
}

/// A place in the patterns, all written one after the other.
enum Place {
    Token(Token),
    /// The end of a pattern; none for the end of the universe.
    End(Option<usize>),
}

#[derive(Default)]
struct State {
    /// Where a character leads that some pattern names here.
    next: Vec<(char, usize)>,
    /// Where every other one leads.
    other: usize,
    /// The patterns that match what led here.
    matched: Vec<usize>,
    /// Whether what led here is one of the texts in question.
    is_within: bool,
}

struct Automaton {
    states: Vec<State>,
}

impl Automaton {
    fn new(patterns: &[(usize, &[Token])], universe: &[Token]) -> Option<Self> {
        let mut places = Vec::new();
        let mut start = Vec::new();
        let all = patterns.iter().map(|(id, tokens)| (Some(*id), *tokens));
        for (id, tokens) in all.chain([(None, universe)]) {
            let from = places.len();
            places.extend(tokens.iter().copied().map(Place::Token));
            places.push(Place::End(id));
            enter(&places, from, &mut start);
        }
        let mut builder = Builder {
            places,
            ids: HashMap::new(),
            sets: Vec::new(),
            room: MAX_PLACES,
            scratch: Vec::new(),
        };
        builder.id(&start)?;
        let mut states = Vec::new();
        while let Some(set) = builder.sets.get(states.len()).cloned() {
            let mut state = State::default();
            let mut named = vec![':'];
            for place in set.iter() {
                match &builder.places[*place] {
                    Place::Token(Token::Literal(c)) => named.push(*c),
                    Place::Token(_) => {}
                    Place::End(Some(pattern)) => state.matched.push(*pattern),
                    Place::End(None) => state.is_within = true,
                }
            }
            named.sort_unstable();
            named.dedup();
            for c in named {
                let next = builder.step(&set, Some(c))?;
                state.next.push((c, next));
            }
            state.other = builder.step(&set, None)?;
            states.push(state);
        }
        Some(Self { states })
    }

    /// The patterns that match a text.
    fn matched(&self, text: &str) -> &[usize] {
        let end = text.chars().fold(0, |at, c| {
            let state = &self.states[at];
            match state.next.binary_search_by_key(&c, |(named, _)| *named) {
                Ok(index) => state.next[index].1,
                Err(_) => state.other,
            }
        });
        &self.states[end].matched
    }
}

struct Builder {
    places: Vec<Place>,
    ids: HashMap<Rc<[usize]>, usize>,
    sets: Vec<Rc<[usize]>>,
    room: usize,
    /// What a step fills, kept so that most steps allocate nothing.
    scratch: Vec<usize>,
}

impl Builder {
    /// The number of a state, made when it is new.
    fn id(&mut self, set: &[usize]) -> Option<usize> {
        if let Some(id) = self.ids.get(set) {
            return Some(*id);
        }
        let id = self.sets.len();
        self.room = self.room.checked_sub(set.len())?;
        if id >= MAX_STATES {
            return None;
        }
        let set: Rc<[usize]> = set.into();
        self.sets.push(Rc::clone(&set));
        self.ids.insert(set, id);
        Some(id)
    }

    /// Where a character leads; none is one that no pattern names.
    fn step(&mut self, set: &[usize], c: Option<char>) -> Option<usize> {
        let mut next = std::mem::take(&mut self.scratch);
        next.clear();
        for place in set {
            match self.places[*place] {
                Place::Token(Token::Literal(wanted)) if Some(wanted) == c => {
                    enter(&self.places, place + 1, &mut next);
                }
                Place::Token(Token::One) if c != Some(':') => {
                    enter(&self.places, place + 1, &mut next);
                }
                Place::Token(Token::InField) if c != Some(':') => {
                    enter(&self.places, *place, &mut next);
                }
                Place::Token(Token::Any) => enter(&self.places, *place, &mut next),
                _ => {}
            }
        }
        // Mostly in order already.
        if !next.is_sorted_by(|a, b| a < b) {
            next.sort_unstable();
            next.dedup();
        }
        let id = self.id(&next);
        self.scratch = next;
        id
    }
}

/// Adds a place and those that are reached from it without a character.
fn enter(places: &[Place], mut place: usize, set: &mut Vec<usize>) {
    set.push(place);
    while let Some(Place::Token(Token::InField | Token::Any)) = places.get(place) {
        place += 1;
        set.push(place);
    }
}
