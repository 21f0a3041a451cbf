//! Event patterns (Amazon EventBridge user guide, "Event patterns"): what they may say, and which events they match.

use serde_json::{Map, Value};

/// Checks a pattern: EventBridge's own words for what it refuses.
pub(super) fn check(pattern: &Value) -> Result<(), String> {
    let invalid = |reason: &str| Err(format!("Event pattern is not valid. Reason: {reason}"));
    let Value::Object(fields) = pattern else {
        return invalid("Filter is not an object");
    };
    if fields.is_empty() {
        return invalid("Empty event pattern");
    }
    for (name, wanted) in fields {
        match wanted {
            Value::Object(_) => check(wanted)?,
            Value::Array(choices) if choices.is_empty() => {
                return invalid("Empty arrays are not allowed");
            }
            Value::Array(choices) => {
                if let Some(unknown) = choices.iter().find_map(unknown_match) {
                    return invalid(&format!("Unrecognized match type {unknown}"));
                }
            }
            _ => return invalid(&format!("\"{name}\" must be an object or an array")),
        }
    }
    Ok(())
}

/// The first kind of match that is not simulated here.
fn unknown_match(choice: &Value) -> Option<String> {
    const KNOWN: [&str; 6] = [
        "anything-but",
        "equals-ignore-case",
        "exists",
        "prefix",
        "suffix",
        "wildcard",
    ];
    let kinds = choice.as_object()?.keys();
    kinds
        .into_iter()
        .find(|kind| !KNOWN.contains(&kind.as_str()))
        .cloned()
}

/// Whether an event is as the pattern wants it: each field of the pattern, in one of the ways that it names.
pub(super) fn matches(pattern: &Value, event: &Value) -> bool {
    let Value::Object(fields) = pattern else {
        return false;
    };
    fields.iter().all(|(name, wanted)| {
        let has = event.get(name);
        match wanted {
            Value::Array(choices) => choices.iter().any(|choice| is_met(choice, has)),
            nested => has.is_some_and(|has| matches(nested, has)),
        }
    })
}

/// Whether a field is as one choice wants it; of an array, one of its values is enough.
fn is_met(choice: &Value, has: Option<&Value>) -> bool {
    if let Value::Object(special) = choice
        && let Some(exists) = special.get("exists")
    {
        return exists.as_bool() == Some(has.is_some());
    }
    match has {
        None => false,
        Some(Value::Array(values)) => values.iter().any(|value| is_one(choice, value)),
        Some(value) => is_one(choice, value),
    }
}

fn is_one(choice: &Value, value: &Value) -> bool {
    match choice {
        Value::Object(special) => is_special(special, value),
        exact => exact == value,
    }
}

fn is_special(special: &Map<String, Value>, value: &Value) -> bool {
    let text = value.as_str();
    special.iter().all(|(kind, wanted)| {
        let both = wanted.as_str().zip(text);
        match kind.as_str() {
            "prefix" => both.is_some_and(|(prefix, text)| text.starts_with(prefix)),
            "suffix" => both.is_some_and(|(suffix, text)| text.ends_with(suffix)),
            "equals-ignore-case" => {
                both.is_some_and(|(other, text)| other.eq_ignore_ascii_case(text))
            }
            "wildcard" => both.is_some_and(|(wildcard, text)| is_like(wildcard, text)),
            "anything-but" => match wanted {
                Value::Array(others) => !others.contains(value),
                other => other != value,
            },
            _ => false,
        }
    })
}

/// Whether a text is like one with `*` for any characters.
fn is_like(wildcard: &str, text: &str) -> bool {
    let Some((first, rest)) = wildcard.split_once('*') else {
        return wildcard == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_matches_what_has_all_of_its_fields() {
        let event = json!({
            "source": "aws.organizations", "resources": ["a", "b"],
            "detail": {"eventName": "MoveAccount", "readOnly": false, "stack-set-arn": "arn:x:stackset/spot-a:1"},
        });
        for (pattern, expected) in [
            (json!({"source": ["aws.organizations"]}), true),
            (json!({"source": ["aws.ec2", "aws.organizations"]}), true),
            (json!({"source": ["aws.ec2"]}), false),
            (json!({"resources": ["b"]}), true),
            (json!({"resources": ["c"]}), false),
            (
                json!({"detail": {"eventName": ["MoveAccount"], "readOnly": [false]}}),
                true,
            ),
            (
                json!({"detail": {"eventName": ["MoveAccount"], "readOnly": [true]}}),
                false,
            ),
            (json!({"detail": {"missing": ["x"]}}), false),
            (json!({"detail": {"missing": [{"exists": false}]}}), true),
            (json!({"detail": {"eventName": [{"exists": true}]}}), true),
            (json!({"detail": {"eventName": [{"prefix": "Move"}]}}), true),
            (
                json!({"detail": {"eventName": [{"suffix": "Move"}]}}),
                false,
            ),
            (
                json!({"detail": {"eventName": [{"equals-ignore-case": "moveaccount"}]}}),
                true,
            ),
            (
                json!({"detail": {"eventName": [{"anything-but": ["MoveAccount"]}]}}),
                false,
            ),
            (
                json!({"detail": {"stack-set-arn": [{"wildcard": "arn:*:stackset/spot-a:*"}]}}),
                true,
            ),
            (
                json!({"detail": {"stack-set-arn": [{"wildcard": "arn:*:stackset/spot-b:*"}]}}),
                false,
            ),
            (
                json!({"detail": {"stack-set-arn": [{"wildcard": "*:1"}]}}),
                true,
            ),
            (
                json!({"detail": {"stack-set-arn": [{"wildcard": "arn:x:stackset/spot-a:1*1"}]}}),
                false,
            ),
        ] {
            assert_eq!(check(&pattern), Ok(()), "{pattern}");
            assert_eq!(matches(&pattern, &event), expected, "{pattern}");
        }
    }

    #[test]
    fn what_eventbridge_would_refuse_is_refused() {
        for pattern in [
            json!([]),
            json!({}),
            json!({"source": "aws.ec2"}),
            json!({"source": []}),
            json!({"detail": {}}),
            json!({"source": [{"like": "aws"}]}),
        ] {
            assert!(check(&pattern).is_err(), "{pattern}");
        }
    }
}
