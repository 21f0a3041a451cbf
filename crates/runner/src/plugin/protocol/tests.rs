//! The page about the protocol tells all of it, and what it does not have is an error.

use std::collections::BTreeSet;

use onboarding_core::plan::{Risk, Step};
use serde_json::Value;

use super::*;

const PAGE: &str = include_str!("../../../../../docs/plugins.md");

/// The types that a schema knows.
fn types(schema: &Value) -> BTreeSet<String> {
    let branches = schema["oneOf"].as_array().unwrap();
    let types = branches.iter().map(|branch| {
        let name = &branch["properties"]["type"]["const"];
        name.as_str().unwrap().to_owned()
    });
    types.collect()
}

#[test]
fn the_page_tells_every_message_field_grant_and_setting() {
    let mut words = types(&requests().to_value());
    words.extend(types(&answers().to_value()));
    assert_eq!(words.len(), 5 + 11);
    words.extend(["account-tags", "spot-token", "aws-credentials"].map(str::to_owned));
    let config = serde_json::to_value(crate::config::PluginsConfig::default()).unwrap();
    let settings = config.as_object().unwrap().keys();
    words.extend(settings.filter(|name| *name != "path").cloned());
    for reason in [
        "removals-off",
        "max-removals",
        "shrink-guard",
        "protected-accounts",
    ] {
        words.insert(reason.to_owned());
    }
    for word in words {
        assert!(
            PAGE.contains(&format!("`{word}`")),
            "docs/plugins.md does not tell of `{word}`"
        );
    }
    assert!(PAGE.contains(&format!("## The protocol, version {VERSION}")));
}

/// Every field of a message is described: an author of a plugin has nothing else.
#[test]
fn every_field_is_described() {
    fn check(schema: &Value, path: &str) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, below) in properties {
            let is_described = below["description"].is_string();
            assert!(
                name == "type" || is_described,
                "{path}.{name} has no description"
            );
        }
        let branches = ["oneOf", "$defs"].map(|key| &schema[key]);
        for branch in branches {
            let below = branch.as_array().into_iter().flatten();
            below.for_each(|below| check(below, path));
            for (name, below) in branch.as_object().into_iter().flatten() {
                check(below, &format!("{path} {name}"));
            }
        }
    }
    check(&requests().to_value(), "requests");
    check(&answers().to_value(), "answers");
}

#[test]
fn a_step_is_the_same_in_both_forms() {
    let text = r#"{"id":"a","kind":"k","action":"do","accounts":["000000000001"],"reason":"r","risk":"high",
        "order":2,"preconditions":["step:b"],"changes":["c"],"payload":{"x":1}}"#;
    let written: WrittenStep = serde_json::from_str(text).unwrap();
    let step = Step::from(written.clone());
    assert_eq!(WrittenStep::from(&step), written);
    assert_eq!((step.risk, step.order), (Risk::High, 2));
    // What the journal and plan.json keep of it is the same.
    let kept = serde_json::to_value(&step).unwrap();
    assert_eq!(kept, serde_json::to_value(&written).unwrap());
}

#[test]
fn a_wait_is_a_second_at_least_and_a_day_at_most() {
    let requeue =
        |seconds: u64| format!(r#"{{"type":"requeue","id":1,"after_seconds":{seconds}}}"#);
    let failed = |seconds: u64| {
        format!(
            r#"{{"type":"failed","id":1,"class":"throttled","message":"m","retry_after_seconds":{seconds}}}"#
        )
    };
    for (seconds, is_fine) in [
        (0, false),
        (1, true),
        (86_400, true),
        (86_401, false),
        (u64::MAX, false),
    ] {
        for text in [requeue(seconds), failed(seconds)] {
            let answer: Answer = serde_json::from_str(&text).unwrap();
            assert_eq!(answer.check().is_ok(), is_fine, "{text}");
        }
    }
    let schema = answers().to_value().to_string();
    assert_eq!(schema.matches("\"maximum\":86400").count(), 2, "{schema}");
}

#[test]
fn what_the_protocol_does_not_have_is_an_error() {
    for text in [
        r#"{"type":"done","id":1,"notes":"x"}"#,
        r#"{"type":"finished","id":1}"#,
        r#"{"type":"done"}"#,
        r#"{"type":"step","id":1,"step":{"id":"a"}}"#,
        r#"{"type":"skip","id":1,"account":"12","reason":"r"}"#,
        r#"{"type":"failed","id":1,"class":"bug","message":"m"}"#,
        r#"[1]"#,
    ] {
        assert!(serde_json::from_str::<Answer>(text).is_err(), "{text}");
    }
}
