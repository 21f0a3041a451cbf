//! One text for one JSON value, whatever order or white space it was written with, and its SHA-256: what digests of
//! policies and templates are taken over.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The value as compact JSON with the keys of every object sorted by code point.
#[must_use]
pub fn to_canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// The SHA-256 of the value's canonical JSON, in 64 lower-case hexadecimal digits.
#[must_use]
pub fn digest(value: &Value) -> String {
    digest_of_bytes(to_canonical_json(value).as_bytes())
}

/// The SHA-256 of what is no JSON, in the same form.
#[must_use]
pub fn digest_of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_and_the_order_of_items_does() {
        let one = json!({"b": [1, {"d": true, "c": null}], "a": "x\"y"});
        let two = json!({"a": "x\"y", "b": [1, {"c": null, "d": true}]});
        assert_eq!(
            to_canonical_json(&one),
            r#"{"a":"x\"y","b":[1,{"c":null,"d":true}]}"#
        );
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(digest(&json!([1, 2])), digest(&json!([2, 1])));
    }
}
