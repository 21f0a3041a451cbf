//! The runner's policy: what follows from a configuration, and that nothing is wider than it must be.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail tests")]

use std::collections::BTreeSet;

use onboarding_core::iam_policy::{
    AggregatorAccess, FUNCTION_PERMISSIONS, FunctionAccess, ManagementStackAccess, PERMISSIONS,
    QueueAccess, RunnerPolicySpec, Scope, SecretPlace, WakeUpAccess, document,
};
use serde_json::{Value, json};

fn smallest() -> RunnerPolicySpec {
    RunnerPolicySpec {
        region: "eu-west-1".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        management_account: "123456789012".parse().ok(),
        organization: "o-abcdefghij".parse().ok(),
        stack_sets: Vec::new(),
        manages_stack_sets: true,
        cleans_up: false,
        detects_drift: false,
        is_direct: false,
        rolls_out: false,
        management_stacks: Vec::new(),
        tags_stack_sets: true,
        activates_trusted_access: true,
        reads_account_tags: false,
        audit_role: None,
        remediation_role: None,
        aggregators: Vec::new(),
        queue: None,
        wake_up_queue: None,
        token: None,
        topics: Vec::new(),
        further_secrets: Vec::new(),
        function: FunctionAccess::default(),
    }
}

fn largest() -> RunnerPolicySpec {
    RunnerPolicySpec {
        stack_sets: vec!["spot-onboarding-default".parse().unwrap()],
        detects_drift: true,
        is_direct: true,
        rolls_out: true,
        management_stacks: vec![management_stack("default", None)],
        reads_account_tags: true,
        audit_role: Some("/spot-onboarding-audit".to_owned()),
        remediation_role: Some("/spot/spot-onboarding-remediation".to_owned()),
        aggregators: aggregators(),
        queue: Some(QueueAccess {
            account: "123456789012".parse().unwrap(),
            name: "spot-onboarding".to_owned(),
            key_of_topic: Some("spot-onboarding".to_owned()),
        }),
        wake_up_queue: Some(WakeUpAccess {
            account: "123456789012".parse().unwrap(),
            name: "spot-onboarding-wake-up".to_owned(),
        }),
        token: Some(SecretPlace::Secret("spot/token".to_owned())),
        topics: vec!["arn:aws:sns:eu-west-1:123456789012:alerts".parse().unwrap()],
        further_secrets: vec![
            SecretPlace::Secret("spot/webhook".to_owned()),
            SecretPlace::Parameter("/spot/slack".to_owned()),
        ],
        function: FunctionAccess {
            stack: Some("spot-onboarding-home".to_owned()),
            ..FunctionAccess::default()
        },
        ..smallest()
    }
}

/// One in the home account, and one in another.
fn aggregators() -> Vec<AggregatorAccess> {
    let role = "arn:aws:iam::444455556666:role/config-reader";
    vec![
        AggregatorAccess::Home("eu-central-1".parse().unwrap()),
        AggregatorAccess::Through(role.parse().unwrap()),
    ]
}

fn management_stack(profile: &str, boundary: Option<&str>) -> ManagementStackAccess {
    ManagementStackAccess {
        name: format!("spot-onboarding-{profile}").parse().unwrap(),
        role: format!("spot-onboarding-{profile}-SpotRole"),
        boundary: boundary.map(str::to_owned),
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
fn a_job_that_only_looks_may_write_nothing() {
    let spec = RunnerPolicySpec {
        manages_stack_sets: false,
        cleans_up: false,
        detects_drift: false,
        queue: None,
        wake_up_queue: None,
        topics: Vec::new(),
        audit_role: None,
        remediation_role: None,
        aggregators: aggregators()[..1].into(),
        ..largest()
    };
    let reads = ["Describe", "List", "Get", "BatchGet", "Select"];
    let actions = actions(&spec);
    for action in &actions {
        let (_, name) = action.split_once(':').unwrap();
        assert!(reads.iter().any(|read| name.starts_with(read)), "{action}");
    }
    assert!(actions.contains("cloudformation:ListStackInstances"));
    assert!(actions.contains("cloudformation:GetTemplate"));
}

#[test]
fn a_job_that_cleans_up_may_take_instances_out_and_make_none() {
    let spec = RunnerPolicySpec {
        manages_stack_sets: false,
        cleans_up: true,
        ..largest()
    };
    let actions = actions(&spec);
    assert!(actions.contains("cloudformation:DeleteStackInstances"));
    assert!(actions.contains("cloudformation:DescribeStackInstance"));
    for more in ["CreateStackInstances", "UpdateStackSet", "CreateStackSet"] {
        assert!(
            !actions.contains(&format!("cloudformation:{more}")),
            "{more}"
        );
    }
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
        added(&|spec| spec.token = Some(SecretPlace::Parameter("/spot/token".to_owned()))),
        ["ssm:GetParameter"]
    );
    assert_eq!(
        added(&|spec| spec.audit_role = Some("/audit".to_owned())),
        ["sts:AssumeRole"]
    );
    assert_eq!(
        added(&|spec| spec.remediation_role = Some("/remediation".to_owned())),
        ["iam:GetPolicy", "iam:GetPolicyVersion", "sts:AssumeRole"]
    );
    assert_eq!(
        added(&|spec| spec.aggregators = aggregators()[..1].into()),
        [
            "config:BatchGetAggregateResourceConfig",
            "config:DescribeConfigurationAggregatorSourcesStatus",
            "config:DescribeConfigurationAggregators",
            "config:GetAggregateDiscoveredResourceCounts",
            "config:SelectAggregateResourceConfig",
        ]
    );
    assert_eq!(
        added(&|spec| spec.aggregators = aggregators()[1..].into()),
        ["sts:AssumeRole"]
    );
    assert_eq!(
        added(&|spec| spec.topics = largest().topics),
        ["sns:Publish"]
    );
    assert_eq!(
        added(&|spec| spec.wake_up_queue = largest().wake_up_queue),
        ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    );
    assert_eq!(
        added(&|spec| spec.further_secrets = largest().further_secrets),
        ["secretsmanager:GetSecretValue", "ssm:GetParameter"]
    );
    assert_eq!(
        added(&|spec| spec.function = largest().function),
        ["cloudformation:DescribeStacks"]
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
        resources(&spec, "WakeUpQueue"),
        json!(["arn:aws:sqs:eu-west-1:123456789012:spot-onboarding-wake-up"])
    );
    assert_eq!(
        resources(&spec, "SpotToken"),
        json!(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:spot/token-??????"])
    );
    assert_eq!(
        resources(&spec, "AuditRole"),
        json!(["arn:aws:iam::*:role/spot-onboarding-audit"])
    );
    assert_eq!(
        resources(&spec, "RemediationRole"),
        json!(["arn:aws:iam::*:role/spot/spot-onboarding-remediation"])
    );
    assert_eq!(
        resources(&spec, "AwsPolicies"),
        json!(["arn:aws:iam::aws:policy/*"])
    );
    assert_eq!(
        resources(&spec, "Aggregators"),
        json!(["arn:aws:config:eu-central-1:123456789012:config-aggregator/*"])
    );
    assert_eq!(
        resources(&spec, "AggregatorRoles"),
        json!(["arn:aws:iam::444455556666:role/config-reader"])
    );
    assert_eq!(
        resources(&spec, "Topics"),
        json!(["arn:aws:sns:eu-west-1:123456789012:alerts"])
    );
    assert_eq!(
        resources(&spec, "FurtherSecrets"),
        json!(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:spot/webhook-??????"])
    );
    assert_eq!(
        resources(&spec, "FurtherParameters"),
        json!(["arn:aws:ssm:eu-west-1:123456789012:parameter/spot/slack"])
    );
    // What somebody else's policy says is read, and none of the account's own is.
    let off = RunnerPolicySpec {
        remediation_role: None,
        ..spec.clone()
    };
    for sid in ["RemediationRole", "AwsPolicies"] {
        assert_eq!(resources(&off, sid), Value::Null, "{sid}");
    }
    let china = RunnerPolicySpec {
        region: "cn-north-1".parse().unwrap(),
        management_account: None,
        organization: None,
        token: Some(SecretPlace::Parameter("/spot/token".to_owned())),
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
        token: Some(SecretPlace::Parameter(arn.to_owned())),
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

/// Whether a call of this name changes nothing. What an audit role may do is that role's business.
fn reads(action: &str) -> bool {
    let (_, name) = action.split_once(':').unwrap();
    action == "sts:AssumeRole"
        || ["BatchGet", "Describe", "Get", "List", "Select"]
            .iter()
            .any(|verb| name.starts_with(verb))
}

#[test]
fn without_a_job_that_writes_nothing_can_be_written() {
    let reading = RunnerPolicySpec {
        stack_sets: Vec::new(),
        queue: None,
        wake_up_queue: None,
        topics: Vec::new(),
        ..largest()
    };
    let actions = actions(&reading);
    assert!(actions.len() > 8, "{actions:?}");
    let writes: Vec<_> = actions.iter().filter(|action| !reads(action)).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/OrgBoundary";

#[test]
fn iam_is_written_by_cloudformation_alone_or_in_one_named_role() {
    let bounded = RunnerPolicySpec {
        management_stacks: vec![
            management_stack("default", None),
            management_stack("bounded", Some(BOUNDARY)),
        ],
        ..largest()
    };
    let mut found = 0;
    for statement in [statements(&largest()), statements(&bounded)].concat() {
        let actions = statement["Action"].as_array().unwrap();
        let mut actions = actions.iter().filter_map(Value::as_str);
        if !actions.any(|action| action.starts_with("iam:") && !reads(action)) {
            continue;
        }
        found += 1;
        let resources = statement["Resource"].as_array().unwrap();
        assert!(resources.iter().all(|one| one != "*"), "{statement}");
        let via = &statement["Condition"]["ForAnyValue:StringEquals"]["aws:CalledVia"];
        let is_one_role = !statement["Resource"].to_string().contains('*');
        assert!(
            via == "cloudformation.amazonaws.com"
                || (is_one_role && statement["Sid"] == "TrustedAccessRole"),
            "{statement}"
        );
    }
    assert_eq!(found, 11);
}

#[test]
fn policies_are_attached_and_roles_are_made_as_the_profile_says_and_not_otherwise() {
    let statement = |spec: &RunnerPolicySpec, action: &str| -> Vec<Value> {
        let mut statements = statements(spec);
        statements.retain(|one| one["Action"].as_array().unwrap().contains(&json!(action)));
        statements
    };
    let with = |boundary: Option<&str>| RunnerPolicySpec {
        management_stacks: vec![management_stack("default", boundary)],
        ..largest()
    };
    let attach = statement(&with(None), "iam:AttachRolePolicy").remove(0);
    assert_eq!(
        attach["Condition"]["ArnLike"]["iam:PolicyARN"],
        json!(["arn:aws:iam::123456789012:policy/spot-onboarding-default-*"])
    );
    assert_eq!(
        attach["Resource"],
        json!(["arn:aws:iam::123456789012:role/spot-onboarding-default-SpotRole"])
    );
    let bounded = with(Some(BOUNDARY));
    for action in ["iam:CreateRole", "iam:PutRolePermissionsBoundary"] {
        let [made] = statement(&bounded, action).try_into().unwrap();
        assert_eq!(
            made["Condition"]["StringEquals"]["iam:PermissionsBoundary"],
            json!([BOUNDARY])
        );
    }
    // Nobody takes a boundary away that is configured, nor puts one on that is not.
    assert_eq!(
        statement(&bounded, "iam:DeleteRolePermissionsBoundary"),
        Vec::<Value>::new()
    );
    assert_eq!(
        statement(&with(None), "iam:PutRolePermissionsBoundary"),
        Vec::<Value>::new()
    );
    let both = RunnerPolicySpec {
        management_stacks: vec![
            management_stack("default", None),
            management_stack("bounded", Some(BOUNDARY)),
        ],
        ..largest()
    };
    for one in statement(&both, "iam:CreateRole") {
        let is_bounded = one["Condition"].get("StringEquals").is_some();
        assert_eq!(
            one["Resource"].to_string().contains("bounded"),
            is_bounded,
            "{one}"
        );
    }
}

#[test]
fn every_statement_has_an_id_of_its_own_and_says_how_narrow_it_is() {
    for table in [PERMISSIONS, FUNCTION_PERMISSIONS] {
        let mut known: Vec<Scope> = Vec::new();
        for permission in table {
            assert!(!permission.need.words().is_empty());
            if !known.contains(&permission.scope) {
                known.push(permission.scope);
            }
        }
        let ids: BTreeSet<&str> = known.iter().map(|scope| scope.sid()).collect();
        assert_eq!(ids.len(), known.len());
        for scope in known {
            let words = scope.words();
            assert!(words.len() > 10, "{scope:?}: {words}");
        }
    }
}
