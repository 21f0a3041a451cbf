//! Where two policies differ: every combination of an action, a resource and a principal class is looked at, and the
//! statements that make the difference there are found.

use std::collections::{BTreeMap, HashMap};

use super::{
    Change, Effect,
    classes::Patterns,
    pattern::{EVERY_ACTION, EVERYTHING, Token},
    rules::{Matched, Rules},
    satisfy::{Condition, Goal},
    words,
};

/// Most combinations that are looked at.
const MAX_CELLS: usize = 100_000;

/// What makes the difference, by the place of the statement.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) before: BTreeMap<usize, Vec<Change>>,
    pub(super) after: BTreeMap<usize, Vec<Change>>,
    /// Whether some combination could not be decided. What matches there is among the changes.
    pub(super) undecided: bool,
}

/// One of the three things that a rule matches: its classes, and which rules match which of them.
pub(super) struct Dimension {
    /// The patterns of each class.
    pub(super) classes: Vec<Vec<usize>>,
    /// The classes of each pattern.
    pub(super) of_pattern: Vec<Vec<usize>>,
    /// Classes that the same rules match.
    pub(super) groups: Vec<Group>,
}

/// Classes that the same rules match.
pub(super) struct Group {
    rules: Vec<usize>,
    is_matched: Vec<bool>,
    pub(super) classes: Vec<usize>,
}

/// The classes of actions, resources and principals.
pub(super) struct Space {
    pub(super) actions: Dimension,
    pub(super) resources: Dimension,
    pub(super) principals: Dimension,
}

/// A combination of groups in which a rule makes a difference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) action: usize,
    pub(super) resource: usize,
    pub(super) principal: usize,
    /// Whether the other policy has statements with the same effect here too.
    pub(super) in_part: bool,
}

/// What is so in a cell, whichever it is: only the rules that match decide.
#[derive(Debug, Clone, Default)]
struct Outcome {
    differing: Vec<usize>,
    both_allow: bool,
    both_deny: bool,
    undecided: bool,
}

/// The differences; none when there are too many classes.
pub(super) fn differences(rules: &Rules<'_>) -> Option<Found> {
    let space = Space {
        actions: Dimension::new(rules, &rules.actions, &EVERY_ACTION, |rule| {
            &rules.rules[rule].actions
        })?,
        resources: Dimension::new(rules, &rules.resources, &EVERYTHING, |rule| {
            &rules.rules[rule].resources
        })?,
        principals: Dimension::new(rules, &rules.principals, &EVERYTHING, |rule| {
            &rules.rules[rule].principals
        })?,
    };
    let [actions, resources, principals] =
        [&space.actions, &space.resources, &space.principals].map(|one| one.groups.len());
    if actions.saturating_mul(resources).saturating_mul(principals) > MAX_CELLS {
        return None;
    }
    let mut outcomes: HashMap<Vec<usize>, Outcome> = HashMap::new();
    let mut places: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    let mut undecided = false;
    for (action, of_action) in space.actions.groups.iter().enumerate() {
        for (resource, of_resource) in space.resources.groups.iter().enumerate() {
            for (principal, of_principal) in space.principals.groups.iter().enumerate() {
                let matching: Vec<usize> = of_action
                    .rules
                    .iter()
                    .copied()
                    .filter(|rule| of_resource.is_matched[*rule] && of_principal.is_matched[*rule])
                    .collect();
                if matching.is_empty() {
                    continue;
                }
                let outcome = outcomes
                    .entry(matching)
                    .or_insert_with_key(|matching| outcome(rules, matching));
                undecided |= outcome.undecided;
                for rule in &outcome.differing {
                    places.entry(*rule).or_default().push(Place {
                        action,
                        resource,
                        principal,
                        in_part: match rules.rules[*rule].effect {
                            Effect::Allow => outcome.both_allow,
                            Effect::Deny => outcome.both_deny,
                        },
                    });
                }
            }
        }
    }
    let mut found = Found {
        undecided,
        ..Found::default()
    };
    for (rule, places) in places {
        let of = &rules.rules[rule];
        let side = if of.is_after {
            &mut found.after
        } else {
            &mut found.before
        };
        side.entry(of.statement)
            .or_default()
            .extend(words::changes(rules, &space, rule, &places));
    }
    Some(found)
}

/// What the rules that match a cell make of it.
fn outcome(rules: &Rules<'_>, matching: &[usize]) -> Outcome {
    let of = |is_after: bool, effect: Effect| -> (Vec<usize>, Vec<&Condition>) {
        let rules = matching.iter().map(|rule| (*rule, &rules.rules[*rule]));
        rules
            .filter(|(_, rule)| rule.is_after == is_after && rule.effect == effect)
            .map(|(number, rule)| (number, &rule.condition))
            .unzip()
    };
    let (before_allow, before_deny) = (of(false, Effect::Allow), of(false, Effect::Deny));
    let (after_allow, after_deny) = (of(true, Effect::Allow), of(true, Effect::Deny));
    let mut outcome = Outcome {
        both_allow: !before_allow.1.is_empty() && !after_allow.1.is_empty(),
        both_deny: !before_deny.1.is_empty() && !after_deny.1.is_empty(),
        ..Outcome::default()
    };
    let mut settle = |rule: usize, goal: &Goal<'_>| match rules.logic.can_hold(goal) {
        Some(false) => {}
        Some(true) => outcome.differing.push(rule),
        None => outcome.undecided = true,
    };
    // What one grants and the other does not, once in each direction: because nothing there allows it,
    for (one, other) in [
        ((&after_allow, &after_deny), &before_allow),
        ((&before_allow, &before_deny), &after_allow),
    ] {
        let ((allow, deny), other_allow) = (one, other);
        for (rule, condition) in allow.0.iter().zip(&allow.1) {
            let goal = Goal {
                all: &[condition],
                any: &[],
                none: &[&deny.1, &other_allow.1],
            };
            settle(*rule, &goal);
        }
    }
    // or because something there denies it.
    for (one, other) in [
        ((&after_allow, &after_deny), (&before_allow, &before_deny)),
        ((&before_allow, &before_deny), (&after_allow, &after_deny)),
    ] {
        let ((allow, deny), (other_allow, other_deny)) = (one, other);
        for (rule, condition) in other_deny.0.iter().zip(&other_deny.1) {
            let goal = Goal {
                all: &[condition],
                any: &[&allow.1, &other_allow.1],
                none: &[&deny.1],
            };
            settle(*rule, &goal);
        }
    }
    if outcome.undecided {
        outcome.differing = matching.to_vec();
    }
    outcome
}

impl Dimension {
    fn new<'a>(
        rules: &Rules<'_>,
        patterns: &Patterns,
        universe: &[Token],
        matched: impl Fn(usize) -> &'a Matched,
    ) -> Option<Self> {
        let classes = patterns.classes(universe)?;
        let count = rules.rules.len();
        let mut of_pattern = vec![Vec::new(); patterns.len()];
        for (class, patterns) in classes.iter().enumerate() {
            for pattern in patterns {
                of_pattern[*pattern].push(class);
            }
        }
        let mut named_by = vec![Vec::new(); patterns.len()];
        for rule in 0..count {
            for (pattern, _) in &matched(rule).patterns {
                named_by[*pattern].push(rule);
            }
        }
        let excepting: Vec<bool> = (0..count).map(|rule| matched(rule).except).collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Vec<bool>, usize> = HashMap::new();
        for (class, patterns) in classes.iter().enumerate() {
            let mut is_matched = excepting.clone();
            for rule in patterns.iter().flat_map(|pattern| &named_by[*pattern]) {
                is_matched[*rule] = !excepting[*rule];
            }
            if let Some(group) = known.get(&is_matched) {
                groups[*group].classes.push(class);
                continue;
            }
            known.insert(is_matched.clone(), groups.len());
            groups.push(Group {
                rules: (0..count).filter(|rule| is_matched[*rule]).collect(),
                is_matched,
                classes: vec![class],
            });
        }
        Some(Self {
            classes,
            of_pattern,
            groups,
        })
    }
}
