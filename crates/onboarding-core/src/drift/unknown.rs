//! Texts with parts that cannot be known from a template, such as the result of a custom resource: each such part is a
//! name between two marks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A character for private use: no text of IAM has it.
const MARK: char = '\u{e000}';

/// Most ways of filling the unknown parts of a document that are tried.
const MAX_FILLED: usize = 64;

/// A text that is unknown as a whole.
pub(super) fn text(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// Whether a part of the text is unknown.
pub(super) fn is_in(text: &str) -> bool {
    text.contains(MARK)
}

/// Whether a part of any text in the value is unknown.
pub(super) fn is_in_value(value: &Value) -> bool {
    match value {
        Value::String(text) => is_in(text),
        Value::Array(items) => items.iter().any(is_in_value),
        Value::Object(map) => map.values().any(is_in_value),
        _ => false,
    }
}

/// The name, when the text is unknown as a whole.
pub(super) fn name(text: &str) -> Option<&str> {
    let name = text.strip_prefix(MARK)?.strip_suffix(MARK)?;
    (!name.contains(MARK)).then_some(name)
}

/// The text for people, with `<name>` for what is unknown.
pub(super) fn readable(text: &str) -> String {
    let parts = text.split(MARK).enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => part.to_owned(),
            _ => format!("<{part}>"),
        })
        .collect()
}

/// Whether the text can be this one once its unknown parts are known.
pub(super) fn can_be(text: &str, live: &str) -> bool {
    let mut parts = text.split(MARK).step_by(2);
    let Some(mut rest) = parts.next().and_then(|first| live.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(earlier) = last.replace(part) {
            match rest.split_once(earlier) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// The document with its unknown parts filled from a live one, in every way that fits, as far as there is room. What is
/// under the same key fits, without wildcards: CloudFormation fills in none. What nothing fits becomes `<name>`, which no
/// live document has.
pub(super) fn filled(meant: &Value, live: &Value) -> Vec<Value> {
    let mut texts = Texts::new();
    collect("", live, &mut texts);
    let mut done = Vec::new();
    let mut open = vec![meant.clone()];
    while let Some(document) = open.pop() {
        let Some((key, marked)) = first("", &document) else {
            done.push(document);
            continue;
        };
        let mut parts = marked.splitn(3, MARK);
        let (before, name, after) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let texts = texts.get(&key.to_ascii_lowercase());
        let values: BTreeSet<&str> = texts
            .into_iter()
            .flatten()
            .filter(|live| can_be(marked, live))
            .filter_map(|live| {
                let rest = live.strip_prefix(before)?;
                match after.split(MARK).next() {
                    Some("") | None => Some(rest),
                    Some(known) if after.contains(MARK) => rest.split_once(known).map(|(v, _)| v),
                    Some(known) => rest.strip_suffix(known),
                }
            })
            .filter(|value| !value.contains(['*', '?', MARK]))
            .collect();
        let room = MAX_FILLED.saturating_sub(done.len() + open.len()).max(1);
        let mark = text(name);
        if values.is_empty() {
            open.push(replaced(&document, &mark, &format!("<{name}>")));
        } else {
            let values = values.into_iter().take(room);
            open.extend(values.map(|value| replaced(&document, &mark, value)));
        }
    }
    done
}

/// Texts by the key that they are under, in lower case: IAM's condition keys are the same in any case.
type Texts<'a> = BTreeMap<String, BTreeSet<&'a str>>;

fn collect<'a>(key: &str, value: &'a Value, texts: &mut Texts<'a>) {
    match value {
        Value::String(text) => {
            texts
                .entry(key.to_ascii_lowercase())
                .or_default()
                .insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| collect(key, item, texts)),
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| collect(key, value, texts)),
        _ => {}
    }
}

/// The first text with an unknown part, and the key that it is under.
fn first<'a>(key: &'a str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    match value {
        Value::String(text) => is_in(text).then_some((key, text)),
        Value::Array(items) => items.iter().find_map(|item| first(key, item)),
        Value::Object(map) => map.iter().find_map(|(key, value)| first(key, value)),
        _ => None,
    }
}

fn replaced(value: &Value, mark: &str, by: &str) -> Value {
    match value {
        Value::String(text) => text.replace(mark, by).into(),
        Value::Array(items) => items.iter().map(|item| replaced(item, mark, by)).collect(),
        Value::Object(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| (key.clone(), replaced(value, mark, by)));
            Value::Object(entries.collect())
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_can_be_whatever_agrees_in_what_is_known() {
        let arn = format!("arn:aws:s3:::{}/x", text("Bucket"));
        for (live, expected) in [
            ("arn:aws:s3:::b/x", true),
            ("arn:aws:s3:::/x", true),
            ("arn:aws:s3:::b/y", false),
            ("arn:aws:sns:::b/x", false),
        ] {
            assert_eq!(can_be(&arn, live), expected, "{live}");
        }
        assert!(can_be(&text("Any"), "thing"));
        assert!(can_be("same", "same") && !can_be("same", "same too"));
        let two = format!("{}-mid-{}", text("A"), text("B"));
        assert!(can_be(&two, "x-mid-y") && !can_be(&two, "x-y"));
        assert_eq!(readable(&arn), "arn:aws:s3:::<Bucket>/x");
        assert_eq!(
            (name(&text("A")), name(&two), name("A")),
            (Some("A"), None, None)
        );
    }

    #[test]
    fn one_unknown_is_one_value_throughout() {
        let meant = json!({"a": text("A"), "b": [format!("p-{}", text("A"))]});
        let live = json!({"A": ["one", "two", "t*"], "b": ["p-two", "q"], "c": "three"});
        let filled = filled(&meant, &live);
        let both = ["two", "one"].map(|value| json!({"a": value, "b": [format!("p-{value}")]}));
        assert_eq!(filled, both);
        let nothing = super::filled(&json!(format!("p-{}", text("A"))), &json!("*"));
        assert_eq!(nothing, [json!("p-<A>")]);
    }
}
