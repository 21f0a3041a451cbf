//! The runner's policy: what follows from a configuration, and that nothing is wider than it must be.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail tests")]

use std::collections::BTreeSet;

use onboarding_core::iam_policy::{
    PERMISSIONS, QueueAccess, RunnerPolicySpec, Scope, TokenPlace, document,
};
use serde_json::{Value, json};

fn smallest() -> RunnerPolicySpec {
    RunnerPolicySpec {
        region: "eu-west-1".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        management_account: "123456789012".parse().ok(),
        organization: "o-abcdefghij".parse().ok(),
        stack_sets: Vec::new(),
        is_direct: false,
        management_stacks: Vec::new(),
        tags_stack_sets: true,
        activates_trusted_access: true,
        reads_account_tags: false,
        audit_role: None,
        queue: None,
        token: None,
    }
}

fn largest() -> RunnerPolicySpec {
    RunnerPolicySpec {
        stack_sets: vec!["spot-onboarding-default".parse().unwrap()],
        is_direct: true,
        management_stacks: vec![(
            "spot-onboarding-default".parse().unwrap(),
            "spot-onboarding-default-SpotRole".to_owned(),
        )],
        reads_account_tags: true,
        audit_role: Some("/spot-onboarding-audit".to_owned()),
        queue: Some(QueueAccess {
            account: "123456789012".parse().unwrap(),
            name: "spot-onboarding".to_owned(),
            key_of_topic: Some("spot-onboarding".to_owned()),
        }),
        token: Some(TokenPlace::Secret("spot/token".to_owned())),
        ..smallest()
    }
}

fn statements(spec: &RunnerPolicySpec) -> Vec<Value> {
    let value = document(spec).unwrap().to_value();
    value["Statement"].as_array().unwrap().clone()
}

fn actions(spec: &RunnerPolicySpec) -> BTreeSet<String> {
    let statements = statements(spec);
    let actions = statements
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap());
    actions
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn without_jobs_and_provider_only_the_organization_is_read() {
    let actions = actions(&smallest());
    assert!(
        actions
            .iter()
            .all(|action| action.starts_with("organizations:")),
        "{actions:?}"
    );
    assert!(!actions.contains("organizations:ListTagsForResource"));
}

#[test]
fn each_setting_adds_its_own_actions_and_no_others() {
    let base = actions(&smallest());
    let added = |change: &dyn Fn(&mut RunnerPolicySpec)| -> Vec<String> {
        let mut spec = smallest();
        change(&mut spec);
        actions(&spec).difference(&base).cloned().collect()
    };
    assert_eq!(
        added(&|spec| spec.reads_account_tags = true),
        ["organizations:ListTagsForResource"]
    );
    assert_eq!(
        added(&|spec| spec.token = Some(TokenPlace::Parameter("/spot/token".to_owned()))),
        ["ssm:GetParameter"]
    );
    assert_eq!(
        added(&|spec| spec.audit_role = Some("/audit".to_owned())),
        ["sts:AssumeRole"]
    );
    let sets = |spec: &mut RunnerPolicySpec| {
        spec.stack_sets = largest().stack_sets;
        spec.tags_stack_sets = false;
        spec.activates_trusted_access = false;
    };
    let with_sets = added(&sets);
    assert_eq!(with_sets.len(), 12, "{with_sets:?}");
    assert!(
        with_sets
            .iter()
            .all(|action| action.starts_with("cloudformation:"))
    );
    let more = |change: &dyn Fn(&mut RunnerPolicySpec)| -> Vec<String> {
        let all = added(&|spec| {
            sets(spec);
            change(spec);
        });
        all.into_iter()
            .filter(|action| !with_sets.contains(action))
            .collect()
    };
    assert_eq!(
        more(&|spec| spec.tags_stack_sets = true),
        ["cloudformation:TagResource", "cloudformation:UntagResource"]
    );
    assert_eq!(
        more(&|spec| spec.activates_trusted_access = true),
        [
            "cloudformation:ActivateOrganizationsAccess",
            "iam:CreateServiceLinkedRole",
            "iam:GetRole",
            "organizations:EnableAWSServiceAccess",
        ]
    );
}

#[test]
fn everything_is_only_where_the_action_has_no_resources() {
    let unscoped: BTreeSet<&str> = PERMISSIONS
        .iter()
        .filter(|one| matches!(one.scope, Scope::Nothing | Scope::StackSetsService))
        .flat_map(|one| one.actions.iter().copied())
        .collect();
    for statement in statements(&largest()) {
        if statement["Resource"] == json!(["*"]) {
            for action in statement["Action"].as_array().unwrap() {
                assert!(unscoped.contains(action.as_str().unwrap()), "{statement}");
            }
        }
        assert!(
            !statement["Action"].to_string().contains('*'),
            "{statement}"
        );
    }
}

#[test]
fn resources_are_named_as_far_as_they_are_known() {
    let resources = |spec: &RunnerPolicySpec, sid: &str| -> Value {
        let statements = statements(spec);
        let statement = statements.iter().find(|one| one["Sid"] == sid);
        statement.map_or(Value::Null, |one| one["Resource"].clone())
    };
    let spec = largest();
    assert_eq!(
        resources(&spec, "StackSets"),
        json!(["arn:aws:cloudformation:eu-west-1:123456789012:stackset/spot-onboarding-default:*"])
    );
    assert_eq!(
        resources(&spec, "Queue"),
        json!([
            "arn:aws:sqs:eu-west-1:123456789012:spot-onboarding",
            "arn:aws:sqs:eu-west-1:123456789012:spot-onboarding-dlq",
            "arn:aws:sqs:eu-west-1:123456789012:spot-onboarding-undelivered",
        ])
    );
    assert_eq!(
        resources(&spec, "SpotToken"),
        json!(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:spot/token-??????"])
    );
    assert_eq!(
        resources(&spec, "AuditRole"),
        json!(["arn:aws:iam::*:role/spot-onboarding-audit"])
    );
    let china = RunnerPolicySpec {
        region: "cn-north-1".parse().unwrap(),
        management_account: None,
        organization: None,
        token: Some(TokenPlace::Parameter("/spot/token".to_owned())),
        ..largest()
    };
    assert_eq!(
        resources(&china, "Organization")[0],
        "arn:aws-cn:organizations::*:account/*/*"
    );
    assert_eq!(
        resources(&china, "SpotToken"),
        json!(["arn:aws-cn:ssm:cn-north-1:123456789012:parameter/spot/token"])
    );
    let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/x";
    let given = RunnerPolicySpec {
        token: Some(TokenPlace::Parameter(arn.to_owned())),
        ..largest()
    };
    assert_eq!(resources(&given, "SpotToken"), json!([arn]));
}

#[test]
fn it_fits_into_one_inline_policy_of_a_role_with_many_profiles() {
    let many = RunnerPolicySpec {
        stack_sets: (0..20)
            .map(|number| format!("spot-onboarding-profile-{number}").parse().unwrap())
            .collect(),
        ..largest()
    };
    let size = document(&many).unwrap().size();
    // IAM User Guide, "IAM and AWS STS quotas": all inline policies of a role together.
    assert!(size <= 10_240, "{size}");
}
