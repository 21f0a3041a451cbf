//! A difference in words: one line for each action as it is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

use super::{
    Change, Effect, Names, Sign,
    cells::{Dimension, Place, Space},
    read::Written,
    rules::{Matched, Rule, Rules},
};

/// What an action's line is about.
#[derive(Default)]
struct Line {
    /// Places of the resources in the statement.
    resources: BTreeSet<usize>,
    /// Places of the principals in the statement.
    principals: BTreeSet<usize>,
    /// The classes of actions, resources and principals in which there is a difference.
    classes: BTreeSet<(usize, usize, usize)>,
    in_part: bool,
}

/// The changes that a rule makes where it makes a difference.
pub(super) fn changes(
    rules: &Rules<'_>,
    space: &Space,
    number: usize,
    places: &[Place],
) -> Vec<Change> {
    let rule = &rules.rules[number];
    let mut lines: BTreeMap<usize, Line> = BTreeMap::new();
    for place in places {
        let actions = &space.actions.groups[place.action].classes;
        let resources = &space.resources.groups[place.resource].classes;
        let principals = &space.principals.groups[place.principal].classes;
        for class in actions {
            for action in named(&rule.actions, &space.actions, *class) {
                let line = lines.entry(action).or_default();
                line.in_part |= place.in_part;
                for resource in resources {
                    line.resources
                        .extend(named(&rule.resources, &space.resources, *resource));
                }
                for principal in principals {
                    line.principals
                        .extend(named(&rule.principals, &space.principals, *principal));
                    let cells = resources
                        .iter()
                        .map(|resource| (*class, *resource, *principal));
                    line.classes.extend(cells);
                }
            }
        }
    }
    let written = rules.written(rule.is_after, rule.statement);
    let covered: Vec<usize> = lines
        .iter()
        .filter(|(action, line)| {
            lines.iter().any(|(other, wider)| {
                action != &other
                    && is_within(&rule.actions, &space.actions, **action, *other)
                    && line.resources.is_subset(&wider.resources)
            })
        })
        .map(|(action, _)| *action)
        .collect();
    let lines = lines
        .into_iter()
        .filter(|(action, _)| !covered.contains(action));
    lines
        .map(|(action, line)| Change {
            sign: sign(rule.is_after),
            effect: rule.effect,
            actions: some(
                &written.actions,
                &rule.actions,
                &space.actions,
                &BTreeSet::from([action]),
            ),
            resources: some(
                &written.resources,
                &rule.resources,
                &space.resources,
                &line.resources,
            ),
            principals: some(
                &written.principals,
                &rule.principals,
                &space.principals,
                &line.principals,
            ),
            condition: written.condition.clone(),
            in_part: line.in_part || !is_whole(rule, space, action, &line),
        })
        .collect()
}

/// A whole statement, whatever the other policy has of it.
pub(super) fn whole(written: &Written, is_after: bool) -> Vec<Change> {
    let of = |actions: Names| Change {
        sign: sign(is_after),
        effect: written.effect,
        actions,
        resources: written.resources.clone(),
        principals: written.principals.clone(),
        condition: written.condition.clone(),
        in_part: false,
    };
    if written.actions.except {
        return vec![of(written.actions.clone())];
    }
    let one = |name: &String| Names {
        except: false,
        names: vec![name.clone()],
    };
    let names = written.actions.names.iter();
    names.map(|name| of(one(name))).collect()
}

fn sign(is_after: bool) -> Sign {
    if is_after { Sign::Added } else { Sign::Removed }
}

/// The places of the names that match a class; the first place stands for all that is not excepted.
fn named(matched: &Matched, dimension: &Dimension, class: usize) -> Vec<usize> {
    if matched.except {
        return vec![0];
    }
    let mut seen = BTreeSet::new();
    let patterns = matched.patterns.iter();
    patterns
        .filter(|(pattern, _)| dimension.classes[class].binary_search(pattern).is_ok())
        .filter(|(pattern, _)| seen.insert(*pattern))
        .map(|(_, place)| *place)
        .collect()
}

/// The classes of the name at a place.
fn classes<'a>(matched: &Matched, dimension: &'a Dimension, place: usize) -> &'a [usize] {
    let pattern = matched.patterns.iter().find(|(_, found)| *found == place);
    pattern.map_or(&[], |(pattern, _)| {
        dimension.of_pattern[*pattern].as_slice()
    })
}

/// Whether a name matches nothing that another one does not, which then stands for both.
fn is_within(matched: &Matched, dimension: &Dimension, place: usize, other: usize) -> bool {
    let own = classes(matched, dimension, place);
    let wider = classes(matched, dimension, other);
    (own.len(), other) < (wider.len(), place)
        && own.iter().all(|class| wider.binary_search(class).is_ok())
}

/// The names at these places, without those that another one covers.
fn some(
    names: &Names,
    matched: &Matched,
    dimension: &Dimension,
    places: &BTreeSet<usize>,
) -> Names {
    if names.except || names.names.is_empty() {
        return names.clone();
    }
    let is_covered = |place: usize| {
        let others = places.iter().filter(|other| **other != place);
        others
            .into_iter()
            .any(|other| is_within(matched, dimension, place, *other))
    };
    let kept = places.iter().filter(|place| !is_covered(**place));
    Names {
        except: false,
        names: kept
            .filter_map(|place| names.names.get(*place).cloned())
            .collect(),
    }
}

/// Whether there is a difference in all that a line is about.
fn is_whole(rule: &Rule, space: &Space, action: usize, line: &Line) -> bool {
    let all = |matched: &Matched, dimension: &Dimension, places: &BTreeSet<usize>| {
        let places = places.iter();
        places
            .flat_map(|place| covered(matched, dimension, *place))
            .collect::<BTreeSet<usize>>()
    };
    let actions = covered(&rule.actions, &space.actions, action);
    let resources = all(&rule.resources, &space.resources, &line.resources);
    let principals = all(&rule.principals, &space.principals, &line.principals);
    // Every cell of the line is one of these, so that it is enough to count.
    line.classes.len() == actions.len() * resources.len() * principals.len()
}

/// The classes of the name at a place, or all that are not excepted.
fn covered(matched: &Matched, dimension: &Dimension, place: usize) -> Vec<usize> {
    if !matched.except {
        return classes(matched, dimension, place).to_vec();
    }
    let is_excepted = |class: &usize| {
        let patterns = matched.patterns.iter();
        patterns
            .map(|(pattern, _)| pattern)
            .any(|pattern| dimension.classes[*class].binary_search(pattern).is_ok())
    };
    (0..dimension.classes.len())
        .filter(|class| !is_excepted(class))
        .collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.sign {
            Sign::Added => "+ ",
            Sign::Removed => "- ",
        })?;
        if self.effect == Effect::Deny {
            f.write_str("deny ")?;
        }
        write!(f, "{}", self.actions)?;
        if !self.resources.names.is_empty() {
            write!(f, " on {}", self.resources)?;
        }
        if !self.principals.names.is_empty() {
            write!(f, " for {}", self.principals)?;
        }
        if let Some(condition) = &self.condition {
            write!(f, " if {}", InWords(condition))?;
        }
        if self.in_part {
            f.write_str(" (in part)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.except {
            f.write_str("everything but ")?;
        }
        for (index, name) in self.names.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Printable(name))?;
        }
        Ok(())
    }
}

/// A condition such as `aws:RequestedRegion StringEquals us-east-1 and …`.
struct InWords<'a>(&'a Map<String, Value>);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = self.0.iter().flat_map(|(operator, keys)| {
            let keys = keys.as_object().into_iter().flatten();
            keys.map(move |(key, values)| (operator, key, values))
        });
        for (index, (operator, key, values)) in conditions.enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            let text = |value: &Value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let values = match values {
                Value::Array(items) if items.len() == 1 => text(&items[0]),
                Value::Array(items) => {
                    let items: Vec<String> = items.iter().map(text).collect();
                    format!("[{}]", items.join(", "))
                }
                one => text(one),
            };
            let words = format!("{key} {operator} {values}");
            write!(f, "{}", Printable(&words))?;
        }
        Ok(())
    }
}

/// A text of somebody else's, without characters that a terminal obeys.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}
