//! The verdict and the words for what people do to policies.

use std::fmt::Write as _;

use onboarding_core::policy::compare::{Grants, Verdict, compare};
use serde_json::{Value, json};

use super::{compared, lines, policy};

fn allow(actions: Value, resources: Value) -> Value {
    json!({"Effect": "Allow", "Action": actions, "Resource": resources})
}

fn deny(actions: Value, resources: Value) -> Value {
    json!({"Effect": "Deny", "Action": actions, "Resource": resources})
}

fn when(mut statement: Value, condition: Value) -> Value {
    statement["Condition"] = condition;
    statement
}

#[track_caller]
fn says(before: Value, after: Value, verdict: Verdict, expected: &[&str]) {
    let comparison = compared(&policy(&before), &policy(&after));
    assert_eq!(lines(&comparison), expected);
    assert_eq!(comparison.verdict, verdict);
    assert!(!comparison.undecided);
}

#[track_caller]
fn is_cosmetic(before: Value, after: Value) {
    says(before, after, Verdict::Cosmetic, &[]);
}

use Verdict::{Changed, Narrowed, Widened};

#[test]
fn actions_are_compared_by_what_they_cover() {
    let on_all = |actions: Value| allow(actions, json!("*"));
    is_cosmetic(
        on_all(json!("ec2:Describe*")),
        on_all(json!(["EC2:describe*", "ec2:DescribeInstances"])),
    );
    is_cosmetic(
        on_all(json!("ec2:*")),
        on_all(json!(["ec2:*", "ec2:?*", "ec2:R*s"])),
    );
    is_cosmetic(on_all(json!("*")), on_all(json!("*:*")));
    is_cosmetic(on_all(json!("ec2:?*")), on_all(json!(["ec2:*"])));
    says(
        on_all(json!("ec2:Describe*")),
        on_all(json!(["ec2:Describe*", "ec2:RunInstances"])),
        Widened,
        &["+ ec2:RunInstances on *"],
    );
    says(
        on_all(json!("ec2:*")),
        on_all(json!(["ec2:Describe*", "ec2:List*"])),
        Narrowed,
        &["- ec2:* on * (in part)"],
    );
    says(
        on_all(json!(["s3:GetObject", "ec2:RunInstances"])),
        on_all(json!(["s3:PutObject", "ec2:RunInstances"])),
        Changed,
        &["- s3:GetObject on *", "+ s3:PutObject on *"],
    );
    says(
        on_all(json!("ec2:Describe*")),
        on_all(json!(["ec2:Run*", "ec2:RunInstances", "ec2:Describe*"])),
        Widened,
        &["+ ec2:Run* on *"],
    );
}

#[test]
fn resources_are_compared_by_what_they_cover() {
    let read = |resources: Value| allow(json!("s3:GetObject"), resources);
    is_cosmetic(
        read(json!("arn:aws:s3:::a*")),
        read(json!(["arn:aws:s3:::a*", "arn:aws:s3:::ab"])),
    );
    is_cosmetic(read(json!("arn:aws:s3")), read(json!("arn:aws:s3:*:*:*")));
    is_cosmetic(
        read(json!("arn:aws:logs:*:1:x")),
        read(json!(["arn:aws:logs:*:1:x", "arn:aws:logs:eu:1:1:x"])),
    );
    says(
        read(json!("arn:aws:s3:::a")),
        read(json!("arn:aws:s3:::A")),
        Changed,
        &[
            "- s3:GetObject on arn:aws:s3:::a",
            "+ s3:GetObject on arn:aws:s3:::A",
        ],
    );
    says(
        read(json!("arn:aws:s3:::elasticbeanstalk*")),
        read(json!("arn:aws:s3:::elasticbeanstalk-*")),
        Narrowed,
        &["- s3:GetObject on arn:aws:s3:::elasticbeanstalk* (in part)"],
    );
    says(
        read(json!(["arn:aws:s3:::a", "arn:aws:s3:::b"])),
        read(json!("*")),
        Widened,
        &["+ s3:GetObject on * (in part)"],
    );
    // Some actions have no resource but `*`.
    says(
        read(json!("*")),
        read(json!("arn:*")),
        Narrowed,
        &["- s3:GetObject on * (in part)"],
    );
    // Within a field, a wildcard stays in it.
    says(
        read(json!("arn:aws:iam::1*2:role/x")),
        read(json!([
            "arn:aws:iam::1*2:role/x",
            "arn:aws:iam::1:2:role/x"
        ])),
        Widened,
        &["+ s3:GetObject on arn:aws:iam::1:2:role/x"],
    );
}

#[test]
fn statements_that_were_moved_split_or_merged_are_cosmetic() {
    let (a, b) = (json!(["s3:Get*", "s3:List*"]), json!("ec2:*"));
    is_cosmetic(
        json!([allow(a.clone(), json!("*")), allow(b.clone(), json!("*"))]),
        json!([
            allow(b, json!("*")),
            allow(json!("s3:List*"), json!("*")),
            allow(json!("s3:Get*"), json!("*"))
        ]),
    );
    is_cosmetic(
        json!([allow(
            a.clone(),
            json!(["arn:aws:s3:::a", "arn:aws:s3:::b"])
        )]),
        json!([
            allow(a.clone(), json!("arn:aws:s3:::b")),
            allow(a, json!("arn:aws:s3:::a"))
        ]),
    );
    let tag = |values: Value| json!({"StringEquals": {"aws:RequestedRegion": values}});
    let run = allow(json!("ec2:RunInstances"), json!("*"));
    is_cosmetic(
        json!([when(run.clone(), tag(json!(["us-east-1", "eu-west-1"])))]),
        json!([
            when(run.clone(), tag(json!("eu-west-1"))),
            when(run, tag(json!("us-east-1")))
        ]),
    );
}

#[test]
fn denials_take_away() {
    let all = allow(json!("s3:*"), json!("*"));
    says(
        json!([all]),
        json!([all, deny(json!("s3:DeleteBucket"), json!("*"))]),
        Narrowed,
        &["+ deny s3:DeleteBucket on *"],
    );
    says(
        json!([all, deny(json!("s3:Delete*"), json!("*"))]),
        json!([all, deny(json!("s3:DeleteBucket"), json!("*"))]),
        Widened,
        &["- deny s3:Delete* on * (in part)"],
    );
    // Denying what nothing allows is no difference.
    is_cosmetic(json!([all]), json!([all, deny(json!("ec2:*"), json!("*"))]));
    // What is denied anyway may be allowed or not.
    let but = deny(json!("s3:Put*"), json!("*"));
    is_cosmetic(
        json!([allow(json!(["s3:Get*", "s3:PutObject"]), json!("*")), but]),
        json!([allow(json!("s3:Get*"), json!("*")), but]),
    );
}

#[test]
fn everything_but_some_is_understood() {
    let but = |actions: Value| json!({"Effect": "Allow", "NotAction": actions, "Resource": "*"});
    is_cosmetic(but(json!("iam:*")), but(json!(["IAM:*", "iam:PassRole"])));
    is_cosmetic(
        json!([but(json!("iam:*"))]),
        json!([
            allow(json!("*"), json!("*")),
            deny(json!("iam:*"), json!("*"))
        ]),
    );
    is_cosmetic(but(json!(["*"])), but(json!(["*:*", "s3:*"])));
    says(
        but(json!(["iam:*", "s3:*"])),
        but(json!("iam:*")),
        Widened,
        &["+ everything but iam:* on * (in part)"],
    );
    says(
        but(json!("iam:*")),
        allow(json!("ec2:*"), json!("*")),
        Narrowed,
        &["- everything but iam:* on * (in part)"],
    );
    says(
        json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::secret*"}),
        allow(json!("s3:*"), json!("*")),
        Widened,
        &["+ s3:* on * (in part)"],
    );
}

#[test]
fn conditions_that_imply_each_other_are_known() {
    let run = |condition: Value| when(allow(json!("ec2:RunInstances"), json!("*")), condition);
    let plain = allow(json!("ec2:RunInstances"), json!("*"));
    let tag =
        |operator: &str, values: Value| run(json!({operator: {"aws:ResourceTag/spot": values}}));
    is_cosmetic(
        tag("StringEquals", json!("a")),
        run(json!({"stringequals": {"AWS:resourcetag/SPOT": ["a"]}})),
    );
    is_cosmetic(
        tag("StringLike", json!("a")),
        tag("StringEquals", json!("a")),
    );
    is_cosmetic(tag("Bool", json!(true)), tag("Bool", json!("true")));
    is_cosmetic(
        tag("ArnEquals", json!("arn:*")),
        tag("ArnLike", json!("arn:*")),
    );
    is_cosmetic(
        json!([plain, tag("StringEquals", json!("a"))]),
        json!([plain]),
    );
    is_cosmetic(
        json!([
            tag("StringEquals", json!("a")),
            tag("StringNotEquals", json!("a"))
        ]),
        json!([plain]),
    );
    let line = "ec2:RunInstances on *";
    let said = |sign: &str, rest: &str| format!("{sign} {line}{rest}");
    says(
        tag("StringEquals", json!("a")),
        tag("StringEquals", json!(["a", "b"])),
        Widened,
        &[&said(
            "+",
            " if aws:ResourceTag/spot StringEquals [a, b] (in part)",
        )],
    );
    says(
        tag("StringEquals", json!("ab")),
        tag("StringLike", json!("a*")),
        Widened,
        &[&said(
            "+",
            " if aws:ResourceTag/spot StringLike a* (in part)",
        )],
    );
    says(
        tag("StringEquals", json!("a")),
        plain.clone(),
        Widened,
        &[&said("+", " (in part)")],
    );
    says(
        tag("StringEquals", json!("a")),
        tag("StringEqualsIfExists", json!("a")),
        Widened,
        &[&said(
            "+",
            " if aws:ResourceTag/spot StringEqualsIfExists a (in part)",
        )],
    );
    says(
        tag("StringNotEquals", json!("a")),
        tag("StringNotEquals", json!(["a", "b"])),
        Narrowed,
        &[&said(
            "-",
            " if aws:ResourceTag/spot StringNotEquals a (in part)",
        )],
    );
    says(
        tag("StringEquals", json!("a")),
        tag("StringEquals", json!("A")),
        Changed,
        &[
            &said("-", " if aws:ResourceTag/spot StringEquals a (in part)"),
            &said("+", " if aws:ResourceTag/spot StringEquals A (in part)"),
        ],
    );
    // Address ranges are compared as texts.
    says(
        run(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
        run(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/16"}})),
        Changed,
        &[
            &said("-", " if aws:SourceIp IpAddress 10.0.0.0/8 (in part)"),
            &said("+", " if aws:SourceIp IpAddress 10.0.0.0/16 (in part)"),
        ],
    );
    // A denial without a key is the same as asking for the key.
    is_cosmetic(
        json!([
            plain,
            when(
                deny(json!("*"), json!("*")),
                json!({"Null": {"aws:x": "true"}})
            )
        ]),
        json!([run(json!({"Null": {"aws:x": "false"}}))]),
    );
}

#[test]
fn policy_variables_are_texts_in_the_old_version_only() {
    let home = allow(json!("s3:*"), json!("arn:aws:s3:::home/${aws:username}/*"));
    let everybody = allow(json!("s3:*"), json!("arn:aws:s3:::home/*"));
    is_cosmetic(json!([everybody, home]), json!([everybody]));
    says(
        home.clone(),
        everybody,
        Widened,
        &["+ s3:* on arn:aws:s3:::home/* (in part)"],
    );
    let old = json!({"Version": "2008-10-17", "Statement": home});
    assert_eq!(compared(&old, &policy(&home)).verdict, Changed);
}

#[test]
fn trust_policies_are_compared_too() {
    let trust = |principal: Value, id: Value| {
        json!({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": id}}})
    };
    let spot = json!({"AWS": "arn:aws:iam::922761411349:root"});
    is_cosmetic(
        trust(spot.clone(), json!("one")),
        trust(json!({"AWS": ["922761411349"]}), json!(["one"])),
    );
    says(
        trust(spot.clone(), json!("one")),
        trust(spot.clone(), json!("two")),
        Changed,
        &[
            "- sts:AssumeRole for AWS:arn:aws:iam::922761411349:root if sts:ExternalId StringEquals one (in part)",
            "+ sts:AssumeRole for AWS:arn:aws:iam::922761411349:root if sts:ExternalId StringEquals two (in part)",
        ],
    );
    let more = json!({"AWS": ["arn:aws:iam::922761411349:root", "arn:aws:iam::111111111111:root"]});
    says(
        trust(spot.clone(), json!("one")),
        trust(more, json!("one")),
        Widened,
        &[
            "+ sts:AssumeRole for AWS:arn:aws:iam::111111111111:root if sts:ExternalId StringEquals one",
        ],
    );
    says(
        trust(spot, json!("one")),
        trust(json!("*"), json!("one")),
        Widened,
        &["+ sts:AssumeRole for AWS:* if sts:ExternalId StringEquals one (in part)"],
    );
    assert_eq!(
        compared(
            &policy(&trust(json!("*"), json!("x"))),
            &policy(&trust(json!({"AWS": "*", "Service": "x"}), json!("x")))
        )
        .verdict,
        Widened
    );
}

#[test]
fn statements_keep_their_counterparts() {
    let named = |sid: &str, actions: Value| json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": "*"});
    let before = policy(&json!([
        named("One", json!("s3:Get*")),
        named("Two", json!(["ec2:Describe*", "ec2:RunInstances"])),
        named("Three", json!("sqs:*")),
        named("Four", json!("s3:GetObject")),
    ]));
    let after = policy(&json!([
        named("Renamed", json!(["ec2:Describe*"])),
        named("One", json!(["s3:Get*"])),
        named("New", json!("sns:Publish")),
        named("Three", json!("sqs:*")),
    ]));
    let mut told = String::new();
    for one in &compared(&before, &after).statements {
        let place = |place: &Option<_>| {
            place.as_ref().map_or(
                "-".to_owned(),
                |place: &onboarding_core::policy::compare::Place| {
                    format!(
                        "{} {}",
                        place.position,
                        place.sid.as_deref().unwrap_or_default()
                    )
                },
            )
        };
        let _ = writeln!(
            told,
            "{} | {} | {}",
            place(&one.before),
            place(&one.after),
            one.verdict
        );
    }
    assert_eq!(
        told,
        "2 Two | 1 Renamed | narrowed\n1 One | 2 One | cosmetic\n- | 3 New | widened\n3 Three | 4 Three | equal\n4 Four | - | cosmetic\n"
    );
}

#[test]
fn what_is_too_intricate_is_changed_and_shown() {
    let tangled = |salt: &str| -> Value {
        let letters = "abcdefghijklmnop";
        let actions: Vec<String> = letters
            .chars()
            .flat_map(|c| letters.chars().map(move |d| (c, d)))
            .map(|(c, d)| format!("s3:*{c}*{d}{salt}*"))
            .collect();
        policy(&allow(json!(actions), json!("*")))
    };
    let comparison = compared(&tangled("q"), &tangled("r"));
    assert_eq!(comparison.verdict, Changed);
    assert!(comparison.undecided);
    assert_eq!(lines(&comparison).len(), 512);
    let same = compared(&tangled("q"), &tangled("q"));
    assert_eq!((same.verdict, same.undecided), (Verdict::Equal, false));
}

#[test]
fn somebody_elses_text_cannot_steer_a_terminal() {
    let before = policy(&allow(json!("s3:Get\u{1b}[2J"), json!("*")));
    let after = policy(&allow(json!("s3:Put"), json!("arn:\u{7}\n")));
    for line in lines(&compared(&before, &after)) {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn the_policies_that_are_shipped_differ_as_they_should() {
    let read = |text: &str| Grants::parse(text).unwrap();
    let full = read(include_str!(
        "../../../../config/policies/spot-elastigroup-ocean.json"
    ));
    let read_only = read(include_str!(
        "../../../../config/policies/spot-elastigroup-ocean-read-only.json"
    ));
    let comparison = compare(&full, &read_only);
    let added: Vec<String> = lines(&comparison)
        .into_iter()
        .filter(|line| line.starts_with('+'))
        .collect();
    assert_eq!(added, Vec::<String>::new());
    assert_eq!(comparison.verdict, Narrowed);
    assert_eq!(compare(&full, &full).verdict, Verdict::Equal);
}
