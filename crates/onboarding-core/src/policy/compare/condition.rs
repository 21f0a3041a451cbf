//! Conditions as formulas: what IAM's operators say about a request, taken apart as far as the language defines it (IAM
//! User Guide, "Condition operators", "Multivalued context keys").

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// One thing that is true or false of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// The request has a value for the key.
    Present { key: String },
    /// The operator holds between the key's value and this one; with `any`, for any of the key's values.
    Holds {
        any: bool,
        operator: String,
        key: String,
        value: String,
        /// Whether the value has policy variables, so that it stands for other texts.
        variables: bool,
    },
    /// An operator that cannot be taken apart by its values.
    Whole {
        operator: String,
        key: String,
        values: BTreeSet<String>,
        variables: bool,
    },
    /// The resource is what a pattern with policy variables stands for.
    Resource { pattern: String },
}

/// Any of these, each true or false. A statement's condition is that all of its clauses hold.
pub(super) type Clause = Vec<(Atom, bool)>;

/// The clauses of a `Condition` element; with `variables`, `${` begins a policy variable.
pub(super) fn clauses(condition: &Map<String, Value>, variables: bool) -> Vec<Clause> {
    let mut clauses = Vec::new();
    for (operator, keys) in condition {
        for (key, values) in keys.as_object().into_iter().flatten() {
            read(
                &operator.to_ascii_lowercase(),
                &key.to_ascii_lowercase(),
                values,
                variables,
                &mut clauses,
            );
        }
    }
    clauses
}

fn read(operator: &str, key: &str, values: &Value, variables: bool, clauses: &mut Vec<Clause>) {
    let whole = |values: BTreeSet<String>| {
        let variables = variables && values.iter().any(|value| value.contains("${"));
        let (operator, key) = (operator.to_owned(), key.to_owned());
        let atom = Atom::Whole {
            operator,
            key,
            values,
            variables,
        };
        vec![(atom, true)]
    };
    let Some(texts) = texts(values) else {
        // No form that IAM takes: it is compared as it stands.
        clauses.push(whole(BTreeSet::from([values.to_string()])));
        return;
    };
    let present = || Atom::Present {
        key: key.to_owned(),
    };
    if operator == "null" {
        let absent = |text: &String| match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        match texts.iter().map(absent).collect::<Option<BTreeSet<bool>>>() {
            Some(absent) if absent.len() == 1 => {
                clauses.push(vec![(present(), absent.contains(&false))]);
            }
            // Either is fine.
            Some(absent) if absent.len() == 2 => {}
            _ => clauses.push(whole(texts)),
        }
        return;
    }
    let (any, rest) = match operator.split_once(':') {
        None => (false, operator),
        Some(("foranyvalue", rest)) => (true, rest),
        Some(_) => {
            clauses.push(whole(texts));
            return;
        }
    };
    let (base, if_exists) = match rest.strip_suffix("ifexists") {
        Some(base) => (base, true),
        None => (rest, false),
    };
    let (base, negated) = positive(base);
    if !is_known(base) || texts.is_empty() || (any && (negated || if_exists)) {
        clauses.push(whole(texts));
        return;
    }
    let holds = texts
        .into_iter()
        .map(|value| holds(any, base, key, value, variables));
    if negated {
        // None of them. A request without the key fulfils it, with IfExists or without.
        clauses.extend(holds.map(|atom| vec![(atom, false)]));
    } else {
        let absent = if_exists.then(|| (present(), false));
        clauses.push(holds.map(|atom| (atom, true)).chain(absent).collect());
    }
}

fn holds(any: bool, operator: &str, key: &str, value: String, variables: bool) -> Atom {
    let variables = variables && value.contains("${");
    let (operator, value) = match operator {
        "bool" => (operator, value.to_ascii_lowercase()),
        "stringequalsignorecase" if !variables => (operator, value.to_ascii_lowercase()),
        "stringlike" if !variables && !value.contains(['*', '?']) => ("stringequals", value),
        _ => (operator, value),
    };
    Atom::Holds {
        any,
        operator: operator.to_owned(),
        key: key.to_owned(),
        value,
        variables,
    }
}

fn texts(values: &Value) -> Option<BTreeSet<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match values {
        Value::Array(values) => values.iter().map(text).collect(),
        one => text(one).map(|text| BTreeSet::from([text])),
    }
}

/// The operator that this one is, or is the negation of.
fn positive(operator: &str) -> (&str, bool) {
    match operator {
        "stringnotequals" => ("stringequals", true),
        "stringnotequalsignorecase" => ("stringequalsignorecase", true),
        "stringnotlike" => ("stringlike", true),
        "numericnotequals" => ("numericequals", true),
        "datenotequals" => ("dateequals", true),
        "notipaddress" => ("ipaddress", true),
        // "ArnEquals and ArnLike behave identically."
        "arnnotequals" | "arnnotlike" => ("arnlike", true),
        "arnequals" => ("arnlike", false),
        other => (other, false),
    }
}

/// Whether several values mean any of them.
fn is_known(operator: &str) -> bool {
    matches!(
        operator,
        "stringequals"
            | "stringequalsignorecase"
            | "stringlike"
            | "numericequals"
            | "numericlessthan"
            | "numericlessthanequals"
            | "numericgreaterthan"
            | "numericgreaterthanequals"
            | "dateequals"
            | "datelessthan"
            | "datelessthanequals"
            | "dategreaterthan"
            | "dategreaterthanequals"
            | "bool"
            | "binaryequals"
            | "ipaddress"
            | "arnlike"
    )
}

impl Atom {
    /// Whether another one is true of every request that this one is true of, as far as that is known here.
    pub(super) fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Holds { key, .. }, Self::Present { key: present }) => key == present,
            (
                Self::Holds {
                    any,
                    operator,
                    key,
                    value,
                    variables: false,
                },
                Self::Holds {
                    any: other_any,
                    operator: wider,
                    key: other_key,
                    value: other_value,
                    variables: false,
                },
            ) if any == other_any && key == other_key => {
                match (operator.as_str(), wider.as_str()) {
                    ("stringequals" | "stringlike", "stringlike") => covers(other_value, value),
                    ("stringequals", "stringequalsignorecase") => {
                        value.eq_ignore_ascii_case(other_value)
                    }
                    _ => false,
                }
            }
            (
                Self::Whole {
                    operator,
                    key,
                    values,
                    variables,
                },
                Self::Whole {
                    operator: other_operator,
                    key: other_key,
                    values: other_values,
                    variables: other_variables,
                },
            ) => {
                let all_of = ["forallvalues:stringequals", "forallvalues:stringlike"];
                all_of.contains(&operator.as_str())
                    && (operator, key) == (other_operator, other_key)
                    && !(*variables || *other_variables)
                    && values.is_subset(other_values)
            }
            _ => false,
        }
    }
}

/// Whether a pattern matches whatever another one does. It may miss it, and never claims it wrongly.
fn covers(pattern: &str, other: &str) -> bool {
    let (pattern, other): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), other.chars().collect());
    let (mut p, mut o) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while o < other.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, o));
                p += 1;
            }
            // `?` is one character, which `*` in the other one is not.
            Some(c) if (*c == '?' && other[o] != '*') || (*c == other[o] && *c != '*') => {
                (p, o) = (p + 1, o + 1);
            }
            _ => match star {
                Some((at, matched)) => {
                    star = Some((at, matched + 1));
                    (p, o) = (at + 1, matched + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
