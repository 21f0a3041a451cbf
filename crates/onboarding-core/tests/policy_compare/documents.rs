//! Policies and requests that meet each other often: few services, resources and keys, in many forms.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::Request;

const ACTIONS: [&str; 14] = [
    "*",
    "s3:*",
    "S3:Get*",
    "s3:GetObject",
    "s3:getobject",
    "s3:Get?bject",
    "s3:*Object",
    "s3:PutObject",
    "ec2:*",
    "ec2:Describe*",
    "EC2:DescribeInstances",
    "ec2:RunInstances",
    "ec2:*Instances",
    "iam:PassRole",
];

const RESOURCES: [&str; 13] = [
    "*",
    "arn:aws:s3",
    "arn:aws:s3:::*",
    "arn:aws:s3:::a*",
    "arn:aws:s3:::a/*",
    "arn:aws:s3:::a/b",
    "arn:aws:s3:::a?b",
    "arn:aws:s3:::*/b",
    "arn:aws:s3:::a/${aws:username}",
    "arn:aws:s3:::A/b",
    "arn:aws:iam::*:role/x",
    "arn:aws:iam::1*2:role/x",
    "arn:aws:iam::111111111112:role/*",
];

/// Actions that a request may ask for: at least one of every class that the patterns tell apart.
pub(crate) const ASKED_ACTIONS: [&str; 15] = [
    "s3:GetObject",
    "s3:GetQbject",
    "s3:GetMyObject",
    "s3:GetBucket",
    "s3:PutObject",
    "s3:PutMyObject",
    "s3:ListBuckets",
    "ec2:DescribeInstances",
    "ec2:DescribeMyInstances",
    "ec2:DescribeImages",
    "ec2:RunInstances",
    "ec2:StopInstances",
    "ec2:CreateImage",
    "iam:PassRole",
    "sqs:SendMessage",
];

/// Resources that a request may be about.
pub(crate) const ASKED_RESOURCES: [&str; 17] = [
    "*",
    "arn:aws:s3:eu-west-1:1:z",
    "arn:aws:s3:::z",
    "arn:aws:s3:::z/b",
    "arn:aws:s3:::a",
    "arn:aws:s3:::a/b",
    "arn:aws:s3:::a/joe",
    "arn:aws:s3:::a/x:y/b",
    "arn:aws:s3:::a/x/b",
    "arn:aws:s3:::a-b",
    "arn:aws:s3:::ab/b",
    "arn:aws:s3:::A/b",
    "arn:aws:iam::111111111112:role/x",
    "arn:aws:iam::111111111112:role/y",
    "arn:aws:iam::111111111112:role/q:role/x",
    "arn:aws:iam::122222222222:role/x",
    "arn:aws:iam::333333333333:role/x",
];

const ROOT: &str = "arn:aws:iam::922761411349:root";

pub(crate) fn one_or_many(values: Vec<Value>) -> BoxedStrategy<Value> {
    if let [one] = values.as_slice() {
        prop_oneof![Just(one.clone()), Just(json!([one]))].boxed()
    } else {
        Just(Value::Array(values)).boxed()
    }
}

fn some_of(pool: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::collection::vec(proptest::sample::select(pool), 1..4)
        .prop_flat_map(|names| one_or_many(names.into_iter().map(Value::from).collect()))
}

fn condition() -> impl Strategy<Value = (String, String, Value)> {
    let string = [
        "StringEquals",
        "stringlike",
        "StringNotEquals",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
        "StringEqualsIgnoreCase",
        "ForAnyValue:StringEquals",
        "ForAnyValue:StringLike",
        "ForAllValues:StringEquals",
        "ForAnyValue:StringNotEquals",
        "ForAllValues:StringLike",
    ];
    let values: &'static [&'static str] = &["x", "X", "xy", "x*", "?", "*", "${aws:username}"];
    prop_oneof![
        8 => (
            proptest::sample::select(string.to_vec()).prop_map(str::to_owned),
            proptest::sample::select(vec!["aws:Tag", "AWS:TAG", "aws:Other"]).prop_map(str::to_owned),
            some_of(values),
        ),
        1 => proptest::sample::select(vec![json!("true"), json!(true), json!(["false"])])
            .prop_map(|value| ("Null".to_owned(), "aws:tag".to_owned(), value)),
        1 => proptest::sample::select(vec![json!("true"), json!(true), json!(["False"])])
            .prop_map(|value| ("Bool".to_owned(), "aws:mfa".to_owned(), value)),
        1 => proptest::sample::select(vec![json!("5"), json!(5), json!(["5", "9"])])
            .prop_map(|value| ("NumericLessThan".to_owned(), "aws:age".to_owned(), value)),
    ]
}

fn conditions() -> impl Strategy<Value = Option<Value>> {
    let several = proptest::collection::vec(condition(), 1..3).prop_map(|conditions| {
        let mut element = json!({});
        for (operator, key, values) in conditions {
            element[operator][key] = values;
        }
        element
    });
    prop_oneof![3 => Just(None), 2 => several.prop_map(Some)]
}

fn principal() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": ROOT}),
        json!({"AWS": ["922761411349"]}),
        json!({"AWS": ["arn:aws:iam::111111111112:role/x", ROOT]}),
    ])
}

fn statement(conditional: bool, trust: bool) -> BoxedStrategy<Value> {
    let not = || prop_oneof![5 => Just(""), 1 => Just("Not")];
    let effect = prop_oneof![3 => Just("Allow"), 1 => Just("Deny")];
    let conditions = if conditional {
        conditions().boxed()
    } else {
        Just(None).boxed()
    };
    (
        effect,
        (not(), some_of(&ACTIONS)),
        (not(), some_of(&RESOURCES)),
        (not(), principal()),
        conditions,
    )
        .prop_map(
            move |(effect, actions, resources, principals, conditions)| {
                let mut statement = json!({"Effect": effect});
                statement[format!("{}Action", actions.0)] = actions.1;
                if trust {
                    statement[format!("{}Principal", principals.0)] = principals.1;
                } else {
                    statement[format!("{}Resource", resources.0)] = resources.1;
                }
                if let Some(conditions) = conditions {
                    statement["Condition"] = conditions;
                }
                statement
            },
        )
        .boxed()
}

/// A policy of a few statements; with `conditional`, some of them have conditions.
pub(crate) fn document(conditional: bool, trust: bool) -> BoxedStrategy<Value> {
    let version = prop_oneof![9 => Just("2012-10-17"), 1 => Just("2008-10-17")];
    (
        version,
        proptest::collection::vec(statement(conditional, trust), 1..5),
    )
        .prop_map(|(version, statements)| json!({"Version": version, "Statement": statements}))
        .boxed()
}

/// Two policies, the second one often a little different from the first.
pub(crate) fn related(conditional: bool, trust: bool) -> BoxedStrategy<(Value, Value)> {
    let one = document(conditional, trust);
    let other = (
        one.clone(),
        statement(conditional, trust),
        0..4_usize,
        0..5_usize,
    );
    other
        .prop_map(|(before, statement, change, place)| {
            let mut after = before.clone();
            let statements = after["Statement"].as_array_mut().unwrap();
            let place = place % statements.len();
            match change {
                0 => statements.push(statement),
                1 if statements.len() > 1 => drop(statements.remove(place)),
                2 => {
                    let old = statements[place].as_object_mut().unwrap();
                    old.remove("Condition");
                    if let Some(condition) = statement.get("Condition") {
                        old.insert("Condition".to_owned(), condition.clone());
                    }
                }
                _ => {
                    let old = statements[place].as_object_mut().unwrap();
                    for element in ["Action", "NotAction"] {
                        old.remove(element);
                        if let Some(value) = statement.get(element) {
                            old.insert(element.to_owned(), value.clone());
                        }
                    }
                }
            }
            (before, after)
        })
        .boxed()
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let value = proptest::sample::select(&["x", "X", "xy", "b", "q"][..]);
    let values = proptest::option::weighted(0.7, proptest::collection::vec(value, 1..3));
    let single = |values: &'static [&'static str]| {
        proptest::option::weighted(
            0.7,
            proptest::sample::select(values).prop_map(|one| vec![one]),
        )
    };
    (
        proptest::sample::select(&[ROOT, "arn:aws:iam::111111111112:role/x", "nobody"][..]),
        proptest::sample::select(&ASKED_ACTIONS[..]),
        proptest::sample::select(&ASKED_RESOURCES[..]),
        values,
        single(&["x", "xy"]),
        single(&["joe", "b", "x", "*"]),
        single(&["true", "false"]),
        single(&["3", "7", "11"]),
    )
        .prop_map(
            |(principal, action, resource, tag, other, username, mfa, age)| {
                let keys = [
                    ("aws:tag", tag),
                    ("aws:other", other),
                    ("aws:username", username),
                    ("aws:mfa", mfa),
                    ("aws:age", age),
                ];
                let context: BTreeMap<String, Vec<String>> = keys
                    .into_iter()
                    .filter_map(|(key, values)| {
                        let values = values?.into_iter().map(str::to_owned).collect();
                        Some((key.to_owned(), values))
                    })
                    .collect();
                Request {
                    principal: principal.to_owned(),
                    action: action.to_owned(),
                    resource: resource.to_owned(),
                    context,
                }
            },
        )
}
