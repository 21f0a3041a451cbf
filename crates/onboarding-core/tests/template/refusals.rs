//! What is refused before anything is rendered, and with which words.

use std::error::Error;

use onboarding_core::{
    policy::PolicyDocument,
    template::{
        Format, NamedPolicy, Partition, PolicyPurpose, Provider, SpotPrincipal, Template,
        TemplateSpec, default_policy_version,
    },
};
use serde_json::json;

use crate::samples::{COST_INTELLIGENCE, ELASTIGROUP_OCEAN, base, document, policy};

fn refusal(change: impl FnOnce(&mut TemplateSpec)) -> String {
    let mut spec = base();
    change(&mut spec);
    let error = Template::new(&spec).unwrap_err();
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A document with this many statements, each too long to share a managed policy with another one.
fn large_document(statements: usize) -> PolicyDocument {
    let actions: Vec<String> = (0..200)
        .map(|n| format!("service:ActionNumber{n:06}"))
        .collect();
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
    let document = json!({"Version": "2012-10-17", "Statement": vec![statement; statements]});
    PolicyDocument::from_value(document).unwrap()
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let cases = [
        (
            refusal(|s| s.description = "x".repeat(1_025)),
            "has 1025 bytes, and 1024",
        ),
        (
            refusal(|s| s.service_timeout_seconds = 0),
            "service_timeout is 0 s: give 1 to 3600",
        ),
        (refusal(|s| s.service_timeout_seconds = 3_601), "3601 s"),
        (
            refusal(|s| s.policy_version = "2025-09".into()),
            "\"2025-09\" must be 1 to 12 letters",
        ),
        (
            refusal(|s| s.policy_version = String::new()),
            "1 to 12 letters",
        ),
        (
            refusal(|s| s.policy_version = "a".repeat(13)),
            "1 to 12 letters",
        ),
        (
            refusal(|s| s.role.name = Some("a b".into())),
            "role name \"a b\"",
        ),
        (
            refusal(|s| s.role.path = Some("vendors".into())),
            "role path \"vendors\"",
        ),
        (
            refusal(|s| s.role.permissions_boundary = Some("Boundary".into())),
            "arn:aws:iam::ACCOUNT:policy/NAME",
        ),
        (
            refusal(|s| {
                s.role.permissions_boundary =
                    Some("arn:aws-cn:iam::aws:policy/ReadOnlyAccess".into());
            }),
            "not a policy in partition aws:",
        ),
        (
            refusal(|s| s.partition = Partition::AwsCn),
            "Spot's principal is in partition aws, and the template is for aws-cn",
        ),
        (
            refusal(|s| {
                s.partition = Partition::AwsCn;
                s.spot_principal = "arn:aws-cn:iam::111122223333:root".parse().unwrap();
            }),
            "the provider's topic is in partition aws,",
        ),
        (
            refusal(|s| {
                s.partition = Partition::AwsUsGov;
                s.spot_principal = "arn:aws-us-gov:iam::111122223333:root".parse().unwrap();
                s.provider = Provider::SpotHosted {
                    cost_intelligence_function: None,
                };
            }),
            "spot-hosted works in partition aws only",
        ),
        (
            refusal(|s| {
                s.provider = Provider::SpotHosted {
                    cost_intelligence_function: Some("a:b".into()),
                };
            }),
            "\"a:b\" is not the name of a Lambda function",
        ),
        (refusal(|s| s.policies.clear()), "no policy is given"),
        (
            refusal(|s| {
                s.policies
                    .push(policy(PolicyPurpose::ElastigroupOcean, COST_INTELLIGENCE))
            }),
            "more than one policy is given for Elastigroup and Ocean",
        ),
        (
            refusal(|s| {
                s.policies.push(policy(
                    PolicyPurpose::Extra("1-x".into()),
                    COST_INTELLIGENCE,
                ))
            }),
            "extra policy name \"1-x\"",
        ),
        (
            refusal(|s| s.products.cost_intelligence = true),
            "without a policy for it",
        ),
        (
            refusal(|s| s.policies[0].document = large_document(11)),
            "make 11 managed policies, and a role can have 10",
        ),
        (
            refusal(|s| {
                let actions: Vec<String> = (0..500).map(|n| format!("service:Action{n}")).collect();
                let statement =
                    json!({"Sid": "Long", "Effect": "Allow", "Action": actions, "Resource": "*"});
                let value = json!({"Version": "2012-10-17", "Statement": statement});
                s.policies[0].document = PolicyDocument::from_value(value).unwrap();
            }),
            "Elastigroup and Ocean does not fit: statement 1 (Long) makes a policy of",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} / {expected}");
    }
}

#[test]
fn spots_principal_is_one_account_role_or_user() {
    for good in [
        "arn:aws:iam::922761411349:root",
        "arn:aws-us-gov:iam::111122223333:role/path/Spot",
        "arn:aws:iam::111122223333:user/spot",
    ] {
        assert_eq!(good.parse::<SpotPrincipal>().unwrap().as_str(), good);
    }
    for bad in [
        "*",
        "922761411349",
        "arn:aws:iam::922761411349:*",
        "arn:aws:iam::*:root",
        "arn:aws:iam::922761411349:role/*",
        "arn:aws:sts::922761411349:assumed-role/a/b",
        "arn:aws-iso:iam::922761411349:root",
    ] {
        assert!(bad.parse::<SpotPrincipal>().is_err(), "{bad}");
    }
    assert_eq!(Partition::AwsCn.spot_principal(), None);
    assert_eq!(Partition::AwsUsGov.spot_principal(), None);
}

#[test]
fn a_body_over_the_inline_limit_is_refused_with_the_way_out() {
    let with_statements = |count: usize| {
        let mut spec = base();
        spec.policies[0].document = large_document(count);
        Template::new(&spec).unwrap()
    };
    let template = with_statements(7);
    let compact = template.render(Format::CompactJson).unwrap();
    assert!(compact.body.len() <= 51_200, "{}", compact.body.len());
    let message = template.render(Format::Json).unwrap_err().to_string();
    assert!(
        message.contains("CloudFormation takes 51200 inline"),
        "{message}"
    );
    assert!(message.ends_with("render it as compact JSON"), "{message}");
    let message = with_statements(10)
        .render(Format::CompactJson)
        .unwrap_err()
        .to_string();
    assert!(message.ends_with("shorten the policies"), "{message}");
}

#[test]
fn the_default_policy_version_follows_the_content_and_not_the_order() {
    let full = policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN);
    let costs = policy(PolicyPurpose::CostIntelligence, COST_INTELLIGENCE);
    let version = default_policy_version(&[full.clone(), costs.clone()]);
    assert_eq!(version.len(), 12);
    assert_eq!(
        version,
        default_policy_version(&[costs.clone(), full.clone()])
    );
    let swapped = NamedPolicy {
        document: costs.document,
        ..full.clone()
    };
    assert_ne!(version, default_policy_version(&[full]));
    assert_ne!(version, default_policy_version(&[swapped]));
}

#[test]
fn the_shipped_policies_have_the_sizes_that_their_documentation_states() {
    let text = include_str!("../../../../docs/policies.md");
    for name in [
        "spot-elastigroup-ocean",
        "spot-elastigroup-ocean-read-only",
        "cost-intelligence",
    ] {
        let path = format!(
            "{}/../../config/policies/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let size = document(&std::fs::read_to_string(path).unwrap())
            .size()
            .to_string();
        let (thousands, rest) = size.split_at(size.len() - 3);
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}.json`")))
            .unwrap();
        assert!(
            row.ends_with(&format!("| {thousands},{rest} |")),
            "{row} / {size}"
        );
    }
}
