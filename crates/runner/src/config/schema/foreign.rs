//! Schemas that others wrote: what [`check`](super::check) would pass over in silence is refused when the schema is read.

use serde_json::Value;

use crate::config::text;

/// Keywords that say nothing about what is allowed.
const WORDS: [&str; 5] = ["$schema", "title", "description", "default", "examples"];

/// Keywords that are checked.
const CHECKED: [&str; 13] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "enum",
    "const",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
];

const TYPES: [&str; 6] = ["object", "array", "string", "boolean", "integer", "number"];

/// Checks that a schema is of an object, and that all that it says is heeded.
///
/// # Errors
/// What it says that is not, and where.
pub fn check_foreign(schema: &Value) -> Result<(), String> {
    if schema["type"] != "object" {
        return Err("it must be of the type \"object\"".to_owned());
    }
    check(schema, "settings")
}

fn check(schema: &Value, path: &str) -> Result<(), String> {
    let Some(entries) = schema.as_object() else {
        return Err(format!("`{path}` is no schema: it must be an object"));
    };
    for (keyword, value) in entries {
        if WORDS.contains(&keyword.as_str()) {
            continue;
        }
        if !CHECKED.contains(&keyword.as_str()) {
            return Err(format!(
                "`{path}` has the keyword {keyword:?}, which the runner does not check; it checks {}",
                CHECKED.join(", ")
            ));
        }
        if !is_understood(keyword, value) {
            return Err(format!(
                "`{path}` has {keyword:?} in a form that the runner does not check"
            ));
        }
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, below) in properties {
        check(below, &format!("{path}.{name}"))?;
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[keyword].is_object() {
            check(&schema[keyword], &format!("{path}{suffix}"))?;
        }
    }
    Ok(())
}

fn is_understood(keyword: &str, value: &Value) -> bool {
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let texts = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|items| items.iter().all(Value::is_string))
    };
    match keyword {
        "type" => match value {
            Value::Array(types) => types.iter().all(is_type),
            one => is_type(one),
        },
        "properties" | "items" => value.is_object(),
        "additionalProperties" => value.is_object() || value.is_boolean(),
        "required" | "enum" => texts(value),
        "const" => value.is_string(),
        "format" => value.as_str().and_then(text::expected).is_some(),
        "minimum" | "maximum" => value.is_number(),
        _ => value.is_u64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_not_be_checked_is_refused_with_its_place() {
        let of = |below: Value| json!({ "type": "object", "properties": { "a": below } });
        let cases = [
            (json!({ "type": "string" }), "type \"object\""),
            (json!(true), "type \"object\""),
            (
                of(json!({ "pattern": "^a" })),
                "`settings.a` has the keyword \"pattern\"",
            ),
            (of(json!({ "anyOf": [] })), "\"anyOf\""),
            (
                of(json!({ "enum": [1, 2] })),
                "`settings.a` has \"enum\" in a form",
            ),
            (
                of(json!({ "type": "null" })),
                "`settings.a` has \"type\" in a form",
            ),
            (of(json!({ "format": "date-time" })), "\"format\" in a form"),
            (of(json!(true)), "`settings.a` is no schema"),
            (
                of(json!({ "type": "array", "items": { "not": {} } })),
                "`settings.a[]`",
            ),
            (
                of(json!({ "additionalProperties": { "$ref": "#" } })),
                "`settings.a.*`",
            ),
        ];
        for (schema, words) in cases {
            let why = check_foreign(&schema).unwrap_err();
            assert!(why.contains(words), "{why}\n{words}");
        }
        let fine = of(json!({
            "type": ["string", "integer"], "description": "x", "default": 1, "format": "human-duration",
            "minLength": 1, "minimum": 0.5, "enum": ["a"],
        }));
        assert_eq!(check_foreign(&fine), Ok(()));
        assert_eq!(check_foreign(&json!({ "type": "object" })), Ok(()));
    }
}
