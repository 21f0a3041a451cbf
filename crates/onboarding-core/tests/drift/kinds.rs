//! Each kind of difference: found when it is made, with what puts it right, and nothing else beside it.

use std::sync::LazyLock;

use onboarding_core::{
    drift::{
        CompareContext, Drift, DriftKind, Fix, RoleMeaning, RoleTruth, Subject, TruthReading,
        Unused, compare, findings,
    },
    inventory::{AttachedPolicy, PolicyReading},
    plan::Severity,
    policy::compare::Verdict,
    template::RoleSettings,
};
use serde_json::{Value, json};

use crate::{
    samples,
    world::{self, ACCOUNT, EXTERNAL_ID, SPOT, attached, codes, context, drifts, text_of, truth},
};

/// Both policies, a name, a path, a boundary, a tag, a policy of AWS and an inline one.
fn everything() -> RoleMeaning {
    EVERYTHING.clone()
}

static EVERYTHING: LazyLock<RoleMeaning> = LazyLock::new(|| {
    let (_, mut spec) = samples::samples()
        .into_iter()
        .find(|(name, _)| name == "queue-full-costs-default")
        .unwrap();
    spec.role = RoleSettings {
        name: Some("SpotRole".to_owned()),
        path: Some("/vendors/".to_owned()),
        permissions_boundary: Some("arn:aws:iam::${AWS::AccountId}:policy/Boundary".to_owned()),
    };
    let mut template: Value = serde_json::from_str(&world::body(&spec)).unwrap();
    let role = &mut template["Resources"]["SpotRole"]["Properties"];
    role["Tags"] = json!([{"Key": "owner", "Value": "finops"}]);
    let arns = role["ManagedPolicyArns"].as_array_mut().unwrap();
    arns.push("arn:aws:iam::aws:policy/ReadOnlyAccess".into());
    let document = policy(
        &json!([{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::mine"}]),
    );
    role["Policies"] = json!([{"PolicyName": "mine", "PolicyDocument": document}]);
    world::meaning(&template.to_string())
});

fn policy(statements: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn trust_of(condition: &Value) -> String {
    let statement = json!([{"Effect": "Allow", "Principal": {"AWS": SPOT}, "Action": "sts:AssumeRole", "Condition": condition}]);
    policy(&statement).to_string()
}

fn with_id(id: &Value) -> Value {
    json!({"StringEquals": {"sts:ExternalId": id}})
}

/// What tampering makes of the account.
fn after(tamper: impl FnOnce(&mut RoleTruth)) -> Vec<Drift> {
    let meaning = everything();
    let mut truth = truth(&meaning);
    let context = context(&truth);
    tamper(&mut truth);
    compare(&meaning, &TruthReading::Present(Box::new(truth)), &context)
}

/// The only difference.
fn only(tamper: impl FnOnce(&mut RoleTruth)) -> Drift {
    let drifts = after(tamper);
    assert_eq!(drifts.len(), 1, "{drifts:#?}");
    drifts.into_iter().next().unwrap()
}

fn command(drift: &Drift) -> String {
    match &drift.fix {
        Fix::NeedsPerson(command) => command.clone(),
        Fix::Remove(stray) => stray.policy.removal(&stray.role),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_account_as_its_stack_left_it_has_no_drift() {
    let meaning = everything();
    assert_eq!(drifts(&meaning, &truth(&meaning)), []);
    for (name, spec) in samples::samples() {
        if spec.spot_principal.as_str() == SPOT {
            let meaning = world::meaning(&world::body(&spec));
            assert_eq!(drifts(&meaning, &truth(&meaning)), [], "{name}");
        }
    }
}

#[test]
fn a_role_that_is_not_there_is_for_enroll_and_one_that_cannot_be_read_is_not_fine() {
    let meaning = everything();
    let context = context(&truth(&meaning));
    let missing = compare(&meaning, &TruthReading::Absent, &context);
    assert_eq!(codes(&missing), ["role-missing"]);
    assert_eq!(
        (&missing[0].fix, missing[0].severity()),
        (&Fix::Enroll, Severity::Error)
    );
    assert_eq!(
        missing[0].resource,
        "arn:aws:iam::111111111111:role/vendors/SpotRole"
    );
    let denied = TruthReading::Denied("a service control policy denies iam:GetRole".to_owned());
    let denied = compare(&meaning, &denied, &context);
    assert_eq!(codes(&denied), ["role-unreadable"]);
    assert_eq!(
        (&denied[0].fix, denied[0].severity()),
        (&Fix::None, Severity::Warning)
    );
    assert!(denied[0].actual.contains("iam:GetRole"));
}

#[test]
fn another_role_than_the_one_that_spot_uses_is_for_enroll() {
    let other = |arn: &str| {
        let arn = arn.parse().unwrap();
        after(|truth| truth.role.arn = arn)
    };
    let elsewhere = other("arn:aws:iam::111111111111:role/SpotRole");
    assert_eq!(codes(&elsewhere), ["stored-role-differs"]);
    assert_eq!(elsewhere[0].fix, Fix::Enroll);
    let named = other("arn:aws:iam::111111111111:role/vendors/Another");
    assert_eq!(codes(&named), ["stored-role-differs", "role-name-differs"]);
}

#[test]
fn a_trust_policy_differs_when_it_lets_in_others() {
    for (condition, verdict) in [
        (with_id(&json!("another")), Verdict::Changed),
        (with_id(&json!([EXTERNAL_ID, "another"])), Verdict::Widened),
        (
            json!({"StringLike": {"sts:ExternalId": "spotinst:*"}}),
            Verdict::Widened,
        ),
        (
            json!({"StringEquals": {"sts:ExternalId": EXTERNAL_ID, "aws:SourceVpc": "vpc-1"}}),
            Verdict::Narrowed,
        ),
    ] {
        let drift = only(|truth| truth.role.trust_policy = trust_of(&condition));
        assert_eq!(drift.kind, DriftKind::TrustDiffers, "{condition}");
        assert_eq!(
            drift.verdict,
            Some(verdict),
            "{condition}: {:?}",
            drift.changes
        );
        assert_eq!(
            (&drift.fix, drift.severity()),
            (&Fix::ReDeploy, Severity::Error)
        );
        assert!(!drift.changes.is_empty());
    }
    let somebody = only(|truth| {
        let mut trust: Value = serde_json::from_str(&truth.role.trust_policy).unwrap();
        trust["Statement"][0]["Principal"]["AWS"] = json!([SPOT, "arn:aws:iam::666666666666:root"]);
        truth.role.trust_policy = trust.to_string();
    });
    assert_eq!(somebody.verdict, Some(Verdict::Widened));
    assert!(
        somebody.changes[0].contains("666666666666"),
        "{:?}",
        somebody.changes
    );
}

#[test]
fn letting_spot_in_without_an_external_id_is_a_kind_of_its_own() {
    for condition in [
        json!({}),
        json!({"StringEqualsIfExists": {"sts:ExternalId": EXTERNAL_ID}}),
        json!({"StringNotEquals": {"sts:ExternalId": "x"}}),
    ] {
        let drift = only(|truth| truth.role.trust_policy = trust_of(&condition));
        assert_eq!(drift.kind, DriftKind::TrustWithoutExternalId, "{condition}");
        assert_eq!(
            (&drift.fix, drift.severity()),
            (&Fix::ReDeploy, Severity::Error)
        );
        assert_eq!(
            drift.verdict.map(Verdict::is_real),
            Some(true),
            "{condition}"
        );
    }
    let everybody = only(|truth| {
        truth.role.trust_policy = trust_of(&json!({})).replace(SPOT, "*");
    });
    assert_eq!(everybody.kind, DriftKind::TrustWithoutExternalId);
}

#[test]
fn a_trust_policy_whose_external_id_nobody_tells_is_not_known_to_be_right() {
    let body = world::body(&samples::base());
    let account = ACCOUNT.parse().unwrap();
    let meaning = world::meanings(&body).for_account(account, &[].into(), None);
    let meaning = meaning.unwrap().unwrap();
    let mut truth = truth(&world::meaning(&body));
    let mut known = context(&truth);
    let mut found = |condition: Value, external_id: Option<&str>| {
        truth.role.trust_policy = trust_of(&condition);
        known.external_id = match external_id {
            Some(id) => Ok(id.parse().unwrap()),
            None => Err("nobody tells which external ID Spot uses".to_owned()),
        };
        compare(
            &meaning,
            &TruthReading::Present(Box::new(truth.clone())),
            &known,
        )
    };
    let untold = found(with_id(&json!("whichever")), None);
    assert_eq!(codes(&untold), ["external-id-untold"]);
    assert_eq!(
        (&*untold[0].actual, &untold[0].fix, untold[0].severity()),
        (
            "nobody tells which external ID Spot uses",
            &Fix::None,
            Severity::Warning
        )
    );
    assert_eq!(found(with_id(&json!(EXTERNAL_ID)), Some(EXTERNAL_ID)), []);
    let other = found(with_id(&json!("whichever")), Some(EXTERNAL_ID));
    assert_eq!(codes(&other), ["trust-differs"]);
    assert_eq!(other[0].fix, Fix::Enroll);
    for (condition, code) in [
        (with_id(&json!(["one", "two"])), "trust-differs"),
        (
            json!({"StringLike": {"sts:ExternalId": "*"}}),
            "trust-differs",
        ),
        (
            json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}),
            "trust-differs",
        ),
        (json!({}), "trust-without-external-id"),
    ] {
        let found = found(condition.clone(), None);
        assert_eq!(codes(&found), [code], "{condition}");
        let lines = found[0].changes.join("\n");
        assert!(!lines.contains("StringEquals Allow"), "{lines}");
    }
}

#[test]
fn a_policy_differs_by_what_it_grants() {
    let wider = only(|truth| {
        let text = text_of(&mut truth.attached[0]);
        *text = text.replacen("ec2:RunInstances", "ec2:*", 1);
    });
    assert_eq!(wider.kind, DriftKind::PolicyDocumentDiffers);
    assert_eq!(
        (wider.verdict, wider.severity()),
        (Some(Verdict::Widened), Severity::Error)
    );
    assert_eq!(wider.fix, Fix::ReDeploy);
    assert!(
        wider.changes.iter().any(|line| line.starts_with("+ ec2:*")),
        "{:?}",
        wider.changes
    );
    let narrower = only(|truth| {
        let text = text_of(&mut truth.attached[0]);
        *text = text.replacen("\"ec2:RunInstances\",", "", 1);
    });
    assert_eq!(
        (narrower.verdict, narrower.severity()),
        (Some(Verdict::Narrowed), Severity::Warning)
    );
    assert_eq!(narrower.changes, ["- ec2:RunInstances on *"]);
}

#[test]
fn version_and_nonce_in_a_sid_make_no_difference() {
    let drifts = after(|truth| {
        for policy in &mut truth.attached[..2] {
            let text = text_of(policy);
            let at = text.find("R0\"").unwrap();
            text.replace_range(at..at + 2, "R77");
        }
    });
    assert_eq!(drifts, []);
}

#[test]
fn a_policy_that_is_not_attached_is_missed() {
    let detached = only(|truth| drop(truth.attached.remove(0)));
    assert_eq!(detached.kind, DriftKind::PolicyDetached);
    assert_eq!(detached.resource, "SpotManagedPolicy");
    assert_eq!(
        command(&detached),
        "aws iam attach-role-policy --role-name SpotRole --policy-arn \"$(aws cloudformation describe-stack-resource \
         --region us-east-1 --stack-name arn:aws:cloudformation:us-east-1:111111111111:stack/StackSet-spot-1b2c/0a1b \
         --logical-resource-id SpotManagedPolicy --query StackResourceDetail.PhysicalResourceId --output text)\""
    );
    let aws = only(|truth| drop(truth.attached.pop()));
    assert_eq!(aws.resource, "arn:aws:iam::aws:policy/ReadOnlyAccess");
    assert_eq!(
        command(&aws),
        "aws iam attach-role-policy --role-name SpotRole --policy-arn arn:aws:iam::aws:policy/ReadOnlyAccess"
    );
}

#[test]
fn a_policy_with_another_name_is_known_by_what_it_grants() {
    let rename = |truth: &mut RoleTruth| {
        truth.attached[0].arn = format!("arn:aws:iam::{ACCOUNT}:policy/team/Cut-off-name");
        truth.attached[0].name = "Cut-off-name".to_owned();
    };
    assert_eq!(after(rename), []);
    let drifts = after(|truth| {
        rename(truth);
        let text = text_of(&mut truth.attached[0]);
        *text = text.replacen("ec2:RunInstances", "ec2:*", 1);
    });
    assert_eq!(codes(&drifts), ["policy-detached", "policy-attached-extra"]);
    // The name of another account's policy, or of AWS's, is no proof.
    let drifts = after(|truth| {
        let arn = &mut truth.attached[0].arn;
        *arn = arn.replace(ACCOUNT, "aws");
        truth.attached[0].document = PolicyReading::Unread("an AWS managed policy".to_owned());
    });
    assert_eq!(codes(&drifts), ["policy-detached", "policy-attached-extra"]);
}

#[test]
fn an_extra_policy_is_for_a_person_and_says_what_it_adds() {
    let arn = "arn:aws:iam::111111111111:policy/stray";
    let statement =
        |effect: &str, action: &str| json!([{"Effect": effect, "Action": action, "Resource": "*"}]);
    for (statements, verdict, severity, lines) in [
        (
            statement("Allow", "iam:CreateUser"),
            Verdict::Widened,
            Severity::Error,
            &["+ iam:CreateUser on *"][..],
        ),
        (
            statement("Allow", "ec2:RunInstances"),
            Verdict::Cosmetic,
            Severity::Warning,
            &[],
        ),
        (
            statement("Deny", "ec2:RunInstances"),
            Verdict::Narrowed,
            Severity::Warning,
            &["+ deny ec2:RunInstances on *"],
        ),
    ] {
        let attached = only(|truth| truth.attached.push(attached(arn, &policy(&statements))));
        let inline = only(|truth| {
            drop(
                truth
                    .inline
                    .insert("stray".to_owned(), policy(&statements).to_string()),
            )
        });
        assert_eq!(
            command(&attached),
            format!("aws iam detach-role-policy --role-name SpotRole --policy-arn {arn}")
        );
        assert_eq!(
            command(&inline),
            "aws iam delete-role-policy --role-name SpotRole --policy-name stray"
        );
        assert_eq!(
            (attached.kind, &*attached.resource),
            (DriftKind::PolicyAttachedExtra, arn)
        );
        assert_eq!(
            (inline.kind, &*inline.resource),
            (DriftKind::PolicyInlineExtra, "stray")
        );
        for drift in [attached, inline] {
            assert_eq!(
                (drift.verdict, drift.severity()),
                (Some(verdict), severity),
                "{:?}",
                drift.changes
            );
            assert_eq!(drift.changes, lines);
        }
    }
    let unread = only(|truth| {
        truth.attached.push(AttachedPolicy {
            arn: "arn:aws:iam::aws:policy/AdministratorAccess".to_owned(),
            name: "AdministratorAccess".to_owned(),
            document: PolicyReading::Unread("an AWS managed policy".to_owned()),
        });
    });
    assert_eq!(
        (unread.kind, unread.severity()),
        (DriftKind::PolicyAttachedExtra, Severity::Error)
    );
    let garbage = only(|truth| drop(truth.inline.insert("x".to_owned(), "{}".to_owned())));
    assert_eq!(
        (garbage.verdict, garbage.severity()),
        (None, Severity::Error)
    );
}

#[test]
fn a_role_without_any_policy_of_its_own_has_extras_too() {
    let mut meaning = everything();
    meaning.policies.clear();
    meaning.inline.clear();
    let mut truth = truth(&meaning);
    let stray = policy(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    truth.inline.insert("stray".to_owned(), stray.to_string());
    let drifts = drifts(&meaning, &truth);
    assert_eq!(codes(&drifts), ["policy-inline-extra"]);
    assert_eq!(drifts[0].changes, ["+ * on *"]);
}

#[test]
fn an_inline_policy_of_the_template_is_compared_like_any_other() {
    let differs = only(|truth| {
        let text = truth.inline.get_mut("mine").unwrap();
        *text = text.replace(":::mine", ":::*");
    });
    assert_eq!(
        (differs.kind, differs.verdict),
        (DriftKind::PolicyInlineDiffers, Some(Verdict::Widened))
    );
    assert!(command(&differs).starts_with(
        "aws iam put-role-policy --role-name SpotRole --policy-name mine --policy-document '{"
    ));
    let missing = only(|truth| truth.inline.clear());
    assert_eq!(missing.kind, DriftKind::PolicyInlineMissing);
    assert_eq!(command(&missing), command(&differs));
}

#[test]
fn what_was_not_read_is_not_taken_to_be_fine() {
    let unread = only(|truth| {
        truth.attached[0].document = PolicyReading::Unread("not allowed to".to_owned());
    });
    assert_eq!(
        (unread.kind, unread.severity()),
        (DriftKind::PolicyUnreadable, Severity::Warning)
    );
    assert_eq!(unread.actual, "not allowed to");
    let unnamed = only(|truth| {
        truth.attached[0].document = PolicyReading::Unread("gone".to_owned());
        truth.attached[0].name = "renamed".to_owned();
    });
    assert_eq!(unnamed.kind, DriftKind::PolicyUnreadable);
    for text in [
        "",
        "[]",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}"#,
    ] {
        let policy = only(|truth| *text_of(&mut truth.attached[0]) = text.to_owned());
        assert_eq!(policy.kind, DriftKind::PolicyUnreadable, "{text}");
        let trust = only(|truth| truth.role.trust_policy = text.to_owned());
        assert_eq!(trust.kind, DriftKind::TrustUnreadable, "{text}");
    }
}

#[test]
fn boundary_path_and_the_templates_tags_are_compared() {
    let boundary =
        |arn: Option<&str>| only(|truth| truth.role.permissions_boundary = arn.map(str::to_owned));
    let (none, other) = (
        boundary(None),
        boundary(Some("arn:aws:iam::aws:policy/AdministratorAccess")),
    );
    for drift in [&none, &other] {
        assert_eq!(
            (drift.kind, drift.severity()),
            (DriftKind::BoundaryDiffers, Severity::Error)
        );
        assert_eq!(
            command(drift),
            "aws iam put-role-permissions-boundary --role-name SpotRole \
             --permissions-boundary arn:aws:iam::111111111111:policy/Boundary"
        );
    }
    let mut meaning = everything();
    meaning.boundary = None;
    let mut truth = truth(&meaning);
    truth.role.permissions_boundary = Some("arn:aws:iam::111111111111:policy/Guard".to_owned());
    let added = drifts(&meaning, &truth);
    assert_eq!(
        (added[0].kind, added[0].severity()),
        (DriftKind::BoundaryDiffers, Severity::Warning)
    );
    assert_eq!(
        command(&added[0]),
        "aws iam delete-role-permissions-boundary --role-name SpotRole"
    );
    assert_eq!(
        only(|truth| truth.role.path = "/".to_owned()).kind,
        DriftKind::PathDiffers
    );
    for value in [Some("somebody's"), None] {
        let tag = only(|truth| {
            truth.role.tags.remove("owner");
            let value = value.map(|value| ("owner".to_owned(), value.to_owned()));
            truth.role.tags.extend(value);
        });
        assert_eq!((tag.kind, &*tag.resource), (DriftKind::TagDiffers, "owner"));
        assert_eq!(
            command(&tag),
            r#"aws iam tag-role --role-name SpotRole --tags '[{"Key":"owner","Value":"finops"}]'"#
        );
    }
    assert_eq!(
        after(|truth| drop(truth.role.tags.insert("mine".to_owned(), "x".to_owned()))),
        []
    );
}

#[test]
fn findings_are_stable_bounded_and_never_show_half_a_command() {
    let drifts = after(|truth| {
        truth.role.trust_policy = trust_of(&json!({}));
        let text = text_of(&mut truth.attached[0]);
        *text = text.replace("ec2:", "s3:");
        truth.inline.insert("stray".to_owned(), "x".repeat(9_000));
        truth.inline.remove("mine");
        let long: Vec<String> = (0..300).map(|n| format!("sqs:Action{n}")).collect();
        let long = policy(&json!([{"Effect": "Allow", "Action": long, "Resource": "*"}]));
        truth
            .attached
            .push(attached("arn:aws:iam::111111111111:policy/long", &long));
    });
    let subject = Subject {
        account: ACCOUNT.parse().unwrap(),
        name: Some("payments"),
        ou_path: Some("Root/Prod"),
    };
    let found = findings(subject, &drifts);
    let ids: Vec<&str> = found.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "trust-without-external-id:111111111111:arn:aws:iam::111111111111:role/vendors/SpotRole",
            "policy-document-differs:111111111111:arn:aws:iam::111111111111:policy/StackSet-spot-1b2c-SpotManagedPolicy-0Z9Y8X7W6V5U",
            "policy-attached-extra:111111111111:arn:aws:iam::111111111111:policy/long",
            "policy-inline-missing:111111111111:mine",
            "policy-inline-extra:111111111111:stray",
        ]
    );
    for (finding, drift) in found.iter().zip(&drifts) {
        let message = &finding.message;
        assert!(
            message.chars().count() <= 1_000,
            "{}: {message}",
            message.chars().count()
        );
        assert_eq!(finding.reason, drift.kind.code());
        assert_eq!(finding.severity, drift.severity());
        assert_eq!(finding.account_name.as_deref(), Some("payments"));
        assert!(!message.contains("aws iam"), "{message}");
        assert_eq!(finding.fix, Some(drift.fix.to_string()));
    }
    assert!(
        found[2].message.contains("+ sqs:Action0 on *; "),
        "{}",
        found[2].message
    );
    assert!(
        found[2].message.contains("and 292 more"),
        "{}",
        found[2].message
    );
    let mut long = drifts[0].clone();
    long.fix = Fix::NeedsPerson("aws iam x ".repeat(100));
    let message = &findings(subject, &[long])[0].message;
    assert!(!message.contains("aws iam x"), "{message}");
    assert!(message.chars().count() <= 1_000);
}

#[test]
fn codes_are_the_serialized_form_and_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for kind in DriftKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
        assert!(seen.insert(kind.code()) && !kind.explanation().is_empty());
    }
}

#[test]
fn the_truth_survives_being_written_down() {
    let truth = TruthReading::Present(Box::new(truth(&everything())));
    let text = serde_json::to_string(&truth).unwrap();
    assert_eq!(serde_json::from_str::<TruthReading>(&text).unwrap(), truth);
}

#[test]
fn a_role_that_nobody_uses_for_long_is_worth_a_look() {
    const DAY: i64 = 24 * 60 * 60;
    let meaning = everything();
    let unused = |last_used: Option<i64>, linked_at: Option<i64>| {
        let mut truth = truth(&meaning);
        truth.role.last_used = last_used;
        let context = CompareContext {
            linked_at,
            unused: Some(Unused {
                now: 100 * DAY,
                after: 7 * DAY,
            }),
            ..context(&truth)
        };
        let found = compare(&meaning, &TruthReading::Present(Box::new(truth)), &context);
        codes(&found)
    };
    assert_eq!(unused(Some(92 * DAY), None), ["role-unused"]);
    assert_eq!(unused(None, Some(92 * DAY)), ["role-unused"]);
    // AWS tells it late, it was linked a moment ago, or nobody knows when.
    assert!(unused(Some(93 * DAY), Some(1)).is_empty());
    assert!(unused(None, Some(94 * DAY)).is_empty());
    assert!(unused(None, None).is_empty());
}

#[test]
fn what_differs_in_ten_thousand_ways_is_counted_and_not_kept() {
    // IAM takes no policy that is so long, but nobody has to believe that of what is read.
    let actions = |n: i32| -> Vec<String> { (0..10).map(|m| format!("s3:Get{n}x{m}")).collect() };
    let statements: Vec<Value> = (0..1_000)
        .map(|n| json!({"Effect": "Allow", "Action": actions(n), "Resource": format!("arn:aws:s3:::b{n}")}))
        .collect();
    let document = policy(&json!(statements)).to_string();
    let drift = only(|truth| *text_of(&mut truth.attached[0]) = document);
    assert_eq!(drift.kind, DriftKind::PolicyDocumentDiffers);
    let kept: usize = drift.changes.iter().map(String::len).sum();
    assert!(drift.changes.len() <= 10 && kept < 4_000, "{drift:?}");
    let counted = drift.changes.iter();
    let more = counted.filter_map(|line| line.strip_prefix("and ")?.strip_suffix(" more"));
    let more: usize = more.map(|count| count.parse::<usize>().unwrap()).sum();
    assert!(more > 5_000, "{drift:?}");
}
