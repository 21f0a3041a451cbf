//! What is read and what is refused.

use onboarding_core::policy::compare::Grants;
use serde_json::{Value, json};

use super::policy;

fn refused(value: &Value) -> String {
    Grants::from_value(value.clone()).unwrap_err().to_string()
}

#[test]
fn malformed_json_has_its_place() {
    let text = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [,]\n}";
    let message = Grants::parse(text).unwrap_err().to_string();
    assert!(message.contains("line 3, column 17"), "{message}");
}

#[test]
fn what_iam_would_refuse_is_refused_with_the_statement() {
    let ok = json!({"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    let with = |element: &str, value: Value| {
        let mut statement = ok.clone();
        statement[element] = value;
        refused(&policy(&json!([ok, statement])))
    };
    let cases = [
        (refused(&json!([])), "not a JSON object"),
        (refused(&json!({"Version": "2012-10-17"})), "no Statement"),
        (refused(&policy(&json!([]))), "no Statement"),
        (
            refused(&json!({"Version": "2020-01-01", "Statement": ok})),
            "Version is \"2020-01-01\"",
        ),
        (
            refused(&json!({"Versoin": "2012-10-17", "Statement": ok})),
            "unknown element \"Versoin\"",
        ),
        (
            with("Effect", json!("allow")),
            "statement 2 (A): Effect must be",
        ),
        (with("Effect", Value::Null), "Effect must be"),
        (with("Action", json!("s3")), "\"s3\" is not an action"),
        (with("Action", json!([])), "Action must be a text"),
        (
            with("NotAction", json!("s3:*")),
            "either Action or NotAction",
        ),
        (with("Resource", json!({})), "Resource must be a text"),
        (with("Condition", json!({"Bool": 1})), "Condition must be"),
        (with("action", json!("s3:*")), "unknown element \"action\""),
        (with("Principal", json!("me")), "Principal must be"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} / {expected}");
    }
    let neither = refused(&policy(&json!({"Effect": "Allow", "Action": "s3:*"})));
    assert!(
        neither.contains("either Resource or NotResource"),
        "{neither}"
    );
}

#[test]
fn what_accounts_have_is_read() {
    for value in [
        json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}),
        json!({"Version": "2008-10-17", "Id": "x", "Statement": [
            {"Sid": "with blanks", "Effect": "Deny", "NotAction": ["*"], "NotResource": "*"}]}),
        policy(
            &json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}),
        ),
    ] {
        assert!(Grants::from_value(value.clone()).is_ok(), "{value}");
    }
}
