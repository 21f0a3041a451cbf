//! What templates mean: ours in every rendering, and functions and conditions one by one.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    drift::{MeaningError, Meanings, RoleMeaning, StackContext, meaning},
    policy::PolicyDocument,
    template::{Format, Partition, Template},
};
use serde_json::{Value, json};

use crate::{
    samples,
    world::{self, ACCOUNT, EXTERNAL_ID},
};

fn context(parameters: &[(&str, &str)], external_id: Option<&str>) -> StackContext {
    let parameters = parameters.iter();
    StackContext {
        partition: Partition::Aws,
        region: "us-east-1".parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        parameters: parameters
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        external_id: external_id.map(|id| id.parse().unwrap()),
    }
}

fn meant(body: &Value, parameters: &[(&str, &str)]) -> RoleMeaning {
    let meaning = meaning(&body.to_string(), &context(parameters, None));
    meaning.unwrap().expect("a role")
}

/// A template whose role has these properties beside a trust policy.
fn with_role(properties: &Value) -> Value {
    let mut template = json!({
        "Parameters": {
            "Text": {"Type": "String", "Default": "text"},
            "Number": {"Type": "Number", "Default": 7},
            "List": {"Type": "CommaDelimitedList", "Default": "a, b"},
            "Must": {"Type": "String"},
            "Secret": {"Type": "String", "NoEcho": true, "Default": "seen"},
            "Looked": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/name"},
        },
        "Conditions": {
            "Yes": {"Fn::Equals": [{"Ref": "Text"}, "text"]},
            "No": {"Fn::Not": [{"Condition": "Yes"}]},
            "Seven": {"Fn::Equals": [{"Ref": "Number"}, "7"]},
            "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "Seven"}]},
            "Either": {"Fn::Or": [{"Condition": "No"}, {"Condition": "Yes"}]},
            "Open": {"Fn::Equals": [{"Ref": "Must"}, "x"]},
            "YesAnyway": {"Fn::Or": [{"Condition": "Open"}, {"Condition": "Yes"}]},
            "Here": {"Fn::Equals": [{"Ref": "AWS::AccountId"}, ACCOUNT]},
            "Loop": {"Condition": "Loop"},
        },
        "Resources": {
            "SpotRole": {"Type": "AWS::IAM::Role", "Properties": {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
            }},
        },
    });
    for (name, value) in properties.as_object().unwrap() {
        template["Resources"]["SpotRole"]["Properties"][name] = value.clone();
    }
    template
}

#[test]
fn every_rendering_means_the_policies_that_it_was_made_from() {
    let samples = samples::samples();
    assert!(samples.len() > 50);
    for (name, spec) in samples {
        let template = Template::new(&spec).unwrap();
        let body = template.render(Format::CompactJson).unwrap().body;
        let mut context = context(&[], Some(EXTERNAL_ID));
        context.partition = spec.partition;
        let meant = meaning(&body, &context).unwrap().expect("a role");
        let read: Vec<usize> = meant
            .policies
            .iter()
            .map(|policy| {
                let document = PolicyDocument::from_value(policy.document.value().clone());
                document.expect(&name).statements().len()
            })
            .collect();
        let given = spec.policies.iter();
        let given: usize = given.map(|policy| policy.document.statements().len()).sum();
        assert_eq!(read.iter().sum::<usize>(), given, "{name}");
        let stamp = meant.policies[0].document.value()["Statement"][0]["Sid"].clone();
        let stamp = stamp.as_str().unwrap().to_owned();
        assert!(
            stamp.ends_with(&format!("V{}R0", spec.policy_version)),
            "{name}: {stamp}"
        );
        let trust = meant.trust.value();
        assert_eq!(
            trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"], EXTERNAL_ID,
            "{name}"
        );
        assert_eq!(meant.role_name, spec.role.name, "{name}");
        assert_eq!(meant.path, spec.role.path, "{name}");
        let boundary = spec.role.permissions_boundary.clone();
        let boundary = boundary.map(|arn| arn.replace("${AWS::AccountId}", ACCOUNT));
        assert_eq!(meant.boundary, boundary, "{name}");
        assert!(meant.has_repair_nonce && meant.attached_arns.is_empty());
        assert!(!format!("{meant:?}").contains('<'), "{name}: {meant:?}");
        for format in [Format::Json, Format::Yaml] {
            let body = template.render(format).unwrap().body;
            assert_eq!(meaning(&body, &context).unwrap().unwrap(), meant, "{name}");
        }
    }
}

#[test]
fn a_switched_off_policy_is_not_attached() {
    let (_, spec) = samples::samples()
        .into_iter()
        .find(|(name, _)| name == "queue-full-costs-default")
        .unwrap();
    let body = world::body(&spec);
    let ids = |parameters: &[(&str, &str)]| -> BTreeSet<String> {
        let meant = meaning(&body, &context(parameters, None)).unwrap().unwrap();
        meant
            .policies
            .into_iter()
            .map(|policy| policy.logical_id)
            .collect()
    };
    assert!(ids(&[]).contains("SpotinstCostIntelligencePolicy"));
    let off = ids(&[("IncludeCostIntelligencePolicy", "false")]);
    assert!(off.contains("SpotManagedPolicy"));
    assert!(!off.contains("SpotinstCostIntelligencePolicy"));
}

#[test]
fn without_an_external_id_a_direct_stack_has_no_role() {
    for (name, spec) in samples::direct_samples() {
        let body = world::body(&spec);
        assert_eq!(meaning(&body, &context(&[], None)).unwrap(), None, "{name}");
        let given = context(&[("ExternalId", EXTERNAL_ID)], None);
        let meant = meaning(&body, &given).unwrap().expect("a role");
        assert!(
            meant.trust.value().to_string().contains(EXTERNAL_ID),
            "{name}"
        );
        assert_eq!(meant.role_name, spec.role.name, "{name}");
    }
}

#[test]
fn functions_are_evaluated() {
    for (value, expected) in [
        (json!({"Ref": "Text"}), "text"),
        (json!({"Ref": "Number"}), "7"),
        (json!({"Ref": "Must"}), "given"),
        (json!({"Ref": "AWS::Partition"}), "aws"),
        (json!({"Ref": "AWS::URLSuffix"}), "amazonaws.com"),
        (
            json!({"Fn::Sub": "x/${Text}/${!aws:username}/${AWS::AccountId}"}),
            "x/text/${aws:username}/111111111111",
        ),
        (
            json!({"Fn::Sub": ["${A}${Text}", {"A": {"Ref": "AWS::Region"}}]}),
            "us-east-1text",
        ),
        (json!({"Fn::Join": ["+", {"Ref": "List"}]}), "a+b"),
        (
            json!({"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, {"Ref": "AWS::NoValue"}]]}),
            "arn:aws",
        ),
        (json!({"Fn::If": ["Yes", "a", "b"]}), "a"),
        (json!({"Fn::If": ["No", "a", "b"]}), "b"),
        (
            json!({"Fn::If": ["Both", {"Fn::If": ["Either", "in", "x"]}, "b"]}),
            "in",
        ),
        (json!({"Fn::If": ["YesAnyway", "a", "b"]}), "a"),
        (json!({"Fn::If": ["Here", "a", "b"]}), "a"),
    ] {
        let meant = meant(
            &with_role(&json!({"RoleName": value})),
            &[("Must", "given")],
        );
        assert_eq!(meant.role_name.as_deref(), Some(expected), "{value}");
    }
    let no_value =
        json!({"PermissionsBoundary": {"Fn::If": ["No", "arn", {"Ref": "AWS::NoValue"}]}});
    assert_eq!(meant(&with_role(&no_value), &[]).boundary, None);
    let tags = json!({"Tags": [{"Key": "a", "Value": {"Ref": "Number"}}, {"Fn::If": ["No", {"Key": "b", "Value": "c"}, {"Ref": "AWS::NoValue"}]}]});
    let expected = BTreeMap::from([("a".to_owned(), "7".to_owned())]);
    assert_eq!(meant(&with_role(&tags), &[]).tags, expected);
}

#[test]
fn what_cannot_be_known_is_said_so() {
    for (value, expected) in [
        (json!({"Ref": "Must"}), "<Must>"),
        (json!({"Ref": "Secret"}), "<Secret>"),
        (json!({"Ref": "Looked"}), "<Looked>"),
        (json!({"Ref": "SpotAccount"}), "<SpotAccount>"),
        (
            json!({"Fn::Sub": "${AWS::StackName}-x"}),
            "<AWS::StackName>-x",
        ),
        (json!({"Fn::GetAtt": ["Other", "Arn"]}), "<Other.Arn>"),
        (json!({"Fn::Sub": "${Other.Arn}/*"}), "<Other.Arn>/*"),
        (json!({"Fn::ImportValue": "x"}), "<Fn::ImportValue>"),
    ] {
        let role =
            json!({"Policies": [{"PolicyName": "p", "PolicyDocument": {"Resource": value}}]});
        let meant = meant(&with_role(&role), &[]);
        let expected = json!({"Resource": expected}).to_string();
        assert_eq!(format!("{:?}", meant.inline["p"]), expected);
    }
}

#[test]
fn policies_belong_to_the_role_from_either_side() {
    let mut template = with_role(&json!({
        "ManagedPolicyArns": [
            {"Ref": "Mine"},
            {"Fn::GetAtt": ["Also", "PolicyArn"]},
            {"Fn::If": ["No", {"Ref": "Off"}, {"Ref": "AWS::NoValue"}]},
            {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/ReadOnlyAccess"},
        ],
        "Policies": [{"PolicyName": "in", "PolicyDocument": {"Statement": "in"}}],
    }));
    let policy = |more: Value| {
        let mut properties = more;
        properties["PolicyDocument"] = json!({"Statement": []});
        json!({"Type": "AWS::IAM::ManagedPolicy", "Properties": properties})
    };
    let resources = &mut template["Resources"];
    resources["Mine"] = policy(json!({}));
    resources["Also"] = policy(json!({"ManagedPolicyName": "fixed"}));
    resources["Off"] = policy(json!({}));
    resources["FromOutside"] = policy(json!({"Roles": [{"Ref": "SpotRole"}]}));
    resources["Unmade"] = policy(json!({"Roles": [{"Ref": "SpotRole"}]}));
    resources["Unmade"]["Condition"] = "No".into();
    resources["Elsewhere"] = policy(json!({"Roles": [{"Ref": "OtherRole"}]}));
    let inline = |kind: &str, role: Value, name: &str| {
        let element = if kind == "AWS::IAM::Policy" {
            "Roles"
        } else {
            "RoleName"
        };
        json!({"Type": kind, "Properties": {element: role, "PolicyName": name, "PolicyDocument": {}}})
    };
    resources["InlineOne"] = inline("AWS::IAM::Policy", json!([{"Ref": "SpotRole"}]), "one");
    resources["InlineTwo"] = inline("AWS::IAM::RolePolicy", json!({"Ref": "SpotRole"}), "two");
    resources["InlineNone"] = inline("AWS::IAM::RolePolicy", json!("Another"), "none");
    let meant = meant(&template, &[]);
    let ids: Vec<&str> = meant
        .policies
        .iter()
        .map(|one| one.logical_id.as_str())
        .collect();
    assert_eq!(ids, ["Mine", "Also", "FromOutside"]);
    assert_eq!(meant.policies[1].name.as_deref(), Some("fixed"));
    let arns: Vec<&String> = meant.attached_arns.iter().collect();
    assert_eq!(arns, ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    let inline: Vec<&String> = meant.inline.keys().collect();
    assert_eq!(inline, ["in", "one", "two"]);
}

#[test]
fn a_template_that_does_not_tell_is_an_error() {
    let none = context(&[], None);
    let failed = |body: &Value| meaning(&body.to_string(), &none).unwrap_err();
    assert!(matches!(meaning("- a", &none), Err(MeaningError::Body(_))));
    assert!(matches!(
        failed(&json!({"Resources": {}})),
        MeaningError::NoRole
    ));
    let trust = with_role(&json!({"AssumeRolePolicyDocument": {"Ref": "Must"}}));
    assert!(matches!(failed(&trust), MeaningError::NoTrust));
    for condition in ["Open", "Loop", "Missing"] {
        let mut template = with_role(&json!({}));
        template["Resources"]["SpotRole"]["Condition"] = condition.into();
        let message = failed(&template).to_string();
        assert!(message.contains(condition), "{message}");
        let arns =
            json!({"ManagedPolicyArns": [{"Fn::If": [condition, "arn", {"Ref": "AWS::NoValue"}]}]});
        assert!(matches!(
            failed(&with_role(&arns)),
            MeaningError::Undecided { .. }
        ));
    }
}

#[test]
fn what_is_shared_between_accounts_is_what_one_account_alone_would_mean() {
    let mut template: Value = serde_json::from_str(&world::body(&samples::base())).unwrap();
    let resources = &mut template["Resources"];
    resources["OfAccount"] = json!({"Type": "AWS::IAM::ManagedPolicy", "Properties": {
        "Roles": [{"Ref": "SpotRole"}],
        "PolicyDocument": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:PassRole", "Resource": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/x"}},
        ]},
    }});
    let body = template.to_string();
    let set = BTreeMap::from([("PolicyVersion".to_owned(), "set".to_owned())]);
    let region = "us-east-1".parse().unwrap();
    let meanings = Meanings::new(&body, Partition::Aws, region, set.clone()).unwrap();
    let id = EXTERNAL_ID.parse().unwrap();
    for account in ["111111111111", "222222222222"] {
        for overrides in [
            &[][..],
            &[("PolicyVersion", "set")],
            &[("PolicyVersion", "mine"), ("RepairNonce", "1")],
        ] {
            let mut alone = context(&[], Some(EXTERNAL_ID));
            alone.account = account.parse().unwrap();
            let overrides = overrides.iter();
            let overrides: BTreeMap<String, String> = overrides
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            alone.parameters = set.clone();
            alone.parameters.extend(overrides.clone());
            let shared = meanings
                .for_account(alone.account, &overrides, Some(&id))
                .unwrap()
                .unwrap();
            assert_eq!(shared, meaning(&body, &alone).unwrap().unwrap());
            let text = format!("{shared:?}");
            assert!(text.contains(&format!("iam::{account}:role/x")));
            assert_eq!(text.contains("VmineR1"), overrides.len() == 2);
        }
    }
}
