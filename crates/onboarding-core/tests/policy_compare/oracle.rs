//! Whether a policy allows a request: IAM's evaluation, written down once more, one request at a time.

use std::collections::BTreeMap;

use serde_json::Value;

/// A request to AWS.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) principal: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    /// Keys in lower case.
    pub(crate) context: BTreeMap<String, Vec<String>>,
}

/// Allowed by some statement and denied by none.
pub(crate) fn is_allowed(policy: &Value, request: &Request) -> bool {
    let variables = policy["Version"] == "2012-10-17";
    let matching = |effect: &str| {
        list(&policy["Statement"])
            .into_iter()
            .filter(|statement| statement["Effect"] == effect)
            .any(|statement| applies(statement, request, variables))
    };
    matching("Allow") && !matching("Deny")
}

fn applies(statement: &Value, request: &Request, variables: bool) -> bool {
    let element = |name: &str, matches: &dyn Fn(&Value) -> bool| match (
        statement.get(name),
        statement.get(format!("Not{name}")),
    ) {
        (Some(value), None) => matches(value),
        (None, Some(value)) => !matches(value),
        _ => true,
    };
    let principal = element("Principal", &|value| {
        value == "*"
            || list(&value["AWS"]).iter().any(|name| {
                **name == "*"
                    || name.as_str() == Some(&request.principal)
                    || request.principal == format!("arn:aws:iam::{}:root", text(name))
            })
    });
    let action = element("Action", &|value| {
        list(value)
            .iter()
            .any(|name| glob(&text(name).to_lowercase(), &request.action.to_lowercase()))
    });
    let resource = element("Resource", &|value| {
        list(value).iter().any(|name| {
            let name = text(name);
            let name = if variables {
                match substituted(&name, request) {
                    Some(name) => name,
                    None => return false,
                }
            } else {
                name
            };
            resource_matches(&name, &request.resource)
        })
    });
    principal && action && resource && conditions_hold(statement, request, variables)
}

/// The text with the values of the request in place of its variables; none when one has no value.
fn substituted(text: &str, request: &Request) -> Option<String> {
    let mut result = text.to_owned();
    while let Some(start) = result.find("${") {
        let end = start + result[start..].find('}')?;
        let key = result[start + 2..end].to_lowercase();
        let value = request.context.get(&key)?.first()?.clone();
        result.replace_range(start..=end, &value);
    }
    Some(result)
}

fn resource_matches(pattern: &str, resource: &str) -> bool {
    let mut pattern = pattern.to_owned();
    while pattern.starts_with("arn:") && pattern.matches(':').count() < 5 {
        pattern.push_str(":*");
    }
    resource_glob(&pattern, resource)
}

/// A wildcard stays within its field unless it stands at its end.
fn resource_glob(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => {
            let crosses = rest.is_empty() || rest.starts_with(':');
            let mut tail = text;
            loop {
                if resource_glob(rest, tail) {
                    return true;
                }
                match tail.chars().next() {
                    Some(c) if crosses || c != ':' => tail = &tail[c.len_utf8()..],
                    _ => return false,
                }
            }
        }
        c => match text.chars().next() {
            Some(found) if found == c || (c == '?' && found != ':') => {
                resource_glob(rest, &text[found.len_utf8()..])
            }
            _ => false,
        },
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, found) => found.is_none(),
        (Some('*'), found) => {
            glob(&pattern[1..], text)
                || found.is_some_and(|found| glob(pattern, &text[found.len_utf8()..]))
        }
        (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
            glob(&pattern[wanted.len_utf8()..], &text[found.len_utf8()..])
        }
        _ => false,
    }
}

fn conditions_hold(statement: &Value, request: &Request, variables: bool) -> bool {
    let operators = statement.get("Condition").and_then(Value::as_object);
    operators.into_iter().flatten().all(|(operator, keys)| {
        let keys = keys.as_object().unwrap();
        keys.iter().all(|(key, values)| {
            let values: Vec<String> = list(values)
                .into_iter()
                .map(text)
                .filter_map(|value| {
                    if variables {
                        substituted(&value, request)
                    } else {
                        Some(value)
                    }
                })
                .collect();
            let found = request.context.get(&key.to_lowercase());
            holds(&operator.to_lowercase(), found, &values)
        })
    })
}

fn holds(operator: &str, found: Option<&Vec<String>>, values: &[String]) -> bool {
    if operator == "null" {
        return values
            .iter()
            .any(|value| (value.to_lowercase() == "true") == found.is_none());
    }
    let (set, operator) = operator.split_once(':').unwrap_or(("", operator));
    let (operator, if_exists) = match operator.strip_suffix("ifexists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (operator, negated) = match operator {
        "stringnotequals" => ("stringequals", true),
        "stringnotlike" => ("stringlike", true),
        "arnnotlike" => ("arnlike", true),
        other => (other, false),
    };
    let one = |found: &String| {
        let any = values.iter().any(|wanted| match operator {
            "stringequals" => wanted == found,
            "stringequalsignorecase" | "bool" => wanted.to_lowercase() == found.to_lowercase(),
            "stringlike" | "arnlike" => glob(wanted, found),
            "numericlessthan" => {
                found.parse::<f64>().unwrap_or(f64::MAX) < wanted.parse().unwrap_or(f64::MIN)
            }
            other => panic!("the evaluator does not know {other}"),
        });
        any != negated
    };
    match (set, found) {
        ("forallvalues", None) => true,
        ("foranyvalue", None) => if_exists,
        (_, None) => if_exists || negated,
        ("forallvalues", Some(found)) => found.iter().all(one),
        ("foranyvalue", Some(found)) => found.iter().any(one),
        (_, Some(found)) => one(&found[0]),
    }
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
