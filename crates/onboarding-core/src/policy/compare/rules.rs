//! The statements of both policies as rules over shared numbers: patterns, and the atoms of conditions.

use std::collections::HashMap;

use super::{
    Effect, Grants, Names,
    classes::Patterns,
    condition::{Atom, Clause},
    pattern::Pattern,
    read::Written,
    satisfy::{Condition, Logic},
};

/// Two policies, ready to be compared.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) before: &'a Grants,
    pub(super) after: &'a Grants,
    pub(super) rules: Vec<Rule>,
    pub(super) actions: Patterns,
    pub(super) resources: Patterns,
    pub(super) principals: Patterns,
    pub(super) logic: Logic,
}

/// A statement, or what of it concerns one resource with policy variables.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) is_after: bool,
    pub(super) statement: usize,
    pub(super) effect: Effect,
    pub(super) actions: Matched,
    pub(super) resources: Matched,
    pub(super) principals: Matched,
    pub(super) condition: Condition,
}

/// What a rule matches.
#[derive(Debug, Clone, Default)]
pub(super) struct Matched {
    /// Whether everything but these is matched.
    pub(super) except: bool,
    /// Patterns, each with the place of its text in the statement.
    pub(super) patterns: Vec<(usize, usize)>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(before: &'a Grants, after: &'a Grants) -> Self {
        let mut rules = Self {
            before,
            after,
            rules: Vec::new(),
            actions: Patterns::default(),
            resources: Patterns::default(),
            principals: Patterns::default(),
            logic: Logic::default(),
        };
        let mut atoms = HashMap::new();
        for (is_after, grants) in [(false, before), (true, after)] {
            for (index, statement) in grants.statements().iter().enumerate() {
                rules.add(is_after, index, statement, &mut atoms);
            }
        }
        let mut atoms: Vec<(Atom, usize)> = atoms.into_iter().collect();
        atoms.sort_unstable_by_key(|(_, id)| *id);
        let atoms: Vec<Atom> = atoms.into_iter().map(|(atom, _)| atom).collect();
        rules.logic = Logic::new(&atoms);
        rules
    }

    fn add(
        &mut self,
        is_after: bool,
        statement: usize,
        written: &Written,
        atoms: &mut HashMap<Atom, usize>,
    ) {
        let actions = matched(&mut self.actions, &written.actions, |patterns, name| {
            patterns.id(name.to_ascii_lowercase(), Pattern::action)
        });
        let principals = matched(
            &mut self.principals,
            &written.principals,
            |patterns, name| patterns.id(account_root(name), Pattern::principal),
        );
        let variable = |text: &str| written.variables && text.contains("${");
        let mut resources = matched(&mut self.resources, &written.resources, |patterns, name| {
            // With policy variables it is another pattern than without.
            let mark = if variable(name) { "$" } else { "" };
            let pattern = |_: &str| Pattern::resource(name, written.variables);
            patterns.id(format!("{mark}{name}"), pattern)
        });
        let names = &written.resources.names;
        let variables: Vec<(usize, usize)> = resources
            .patterns
            .extract_if(.., |(_, place)| {
                names.get(*place).is_some_and(|text| variable(text))
            })
            .collect();
        let like = |place: usize| Atom::Resource {
            pattern: names.get(place).cloned().unwrap_or_default(),
        };
        let mut push = |resources: Matched, clauses: &[Clause]| {
            self.rules.push(Rule {
                is_after,
                statement,
                effect: written.effect,
                actions: actions.clone(),
                resources,
                principals: principals.clone(),
                condition: numbered(clauses, atoms),
            });
        };
        if written.resources.except {
            let but = variables
                .iter()
                .map(|(_, place)| vec![(like(*place), false)]);
            let clauses: Vec<Clause> = written.clauses.iter().cloned().chain(but).collect();
            push(resources, &clauses);
            return;
        }
        if !resources.patterns.is_empty() {
            push(resources, &written.clauses);
        }
        for (pattern, place) in variables {
            let mut clauses = written.clauses.clone();
            clauses.push(vec![(like(place), true)]);
            let one = Matched {
                except: false,
                patterns: vec![(pattern, place)],
            };
            push(one, &clauses);
        }
    }

    /// The statement that a rule is of.
    pub(super) fn written(&self, is_after: bool, statement: usize) -> &'a Written {
        let grants = if is_after { self.after } else { self.before };
        &grants.statements()[statement]
    }
}

/// The patterns of names. An element that is not there is a text of its own, which nothing else matches.
fn matched(
    patterns: &mut Patterns,
    names: &Names,
    number: impl Fn(&mut Patterns, &str) -> usize,
) -> Matched {
    let numbers = if names.names.is_empty() {
        vec![(
            patterns.id(String::new(), |_| Pattern::Literal(String::new())),
            0,
        )]
    } else {
        let names = names.names.iter().enumerate();
        names
            .map(|(place, name)| (number(patterns, name), place))
            .collect()
    };
    Matched {
        except: names.except,
        patterns: numbers,
    }
}

/// An account id is the account's root, in whichever partition.
fn account_root(principal: &str) -> String {
    let arn = principal.strip_prefix("AWS:").unwrap_or_default();
    let fields: Vec<&str> = arn.split(':').collect();
    let account = match fields.as_slice() {
        ["arn", _, "iam", "", account, "root"] => account,
        _ => arn,
    };
    if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        format!("AWS:{account}")
    } else {
        principal.to_owned()
    }
}

fn numbered(clauses: &[Clause], atoms: &mut HashMap<Atom, usize>) -> Condition {
    let mut number = |atom: &Atom| {
        let next = atoms.len();
        *atoms.entry(atom.clone()).or_insert(next)
    };
    let clause = |clause: &Clause| {
        let literals = clause.iter();
        literals
            .map(|(atom, wanted)| (number(atom), *wanted))
            .collect()
    };
    clauses.iter().map(clause).collect()
}
