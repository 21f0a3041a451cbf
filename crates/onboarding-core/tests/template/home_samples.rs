//! Every combination of parts that changes how the stacks of the home account look, each with a name.

use onboarding_core::{
    iam_policy::{self, FunctionAccess, QueueAccess, RunnerPolicySpec, SecretPlace, WakeUpAccess},
    template::home::{Encryption, FunctionSpec, FunctionVpc, HomeSpec},
};

/// What the runner's role may do in the samples.
pub(crate) fn policy_spec(region: &str) -> RunnerPolicySpec {
    RunnerPolicySpec {
        region: region.parse().expect("a Region"),
        account: "123456789012".parse().expect("an account"),
        management_account: "123456789012".parse().ok(),
        organization: "o-abcdefghij".parse().ok(),
        stack_sets: vec!["spot-onboarding-default".parse().expect("a stack set")],
        manages_stack_sets: true,
        cleans_up: false,
        detects_drift: false,
        is_direct: false,
        rolls_out: false,
        management_stacks: Vec::new(),
        tags_stack_sets: true,
        activates_trusted_access: true,
        reads_account_tags: true,
        audit_role: Some("/spot-onboarding-audit".to_owned()),
        remediation_role: None,
        aggregators: Vec::new(),
        queue: Some(QueueAccess {
            account: "123456789012".parse().expect("an account"),
            name: "spot-onboarding".to_owned(),
            key_of_topic: Some("spot-onboarding".to_owned()),
        }),
        wake_up_queue: Some(WakeUpAccess {
            account: "123456789012".parse().expect("an account"),
            name: "spot-onboarding-wake-up".to_owned(),
        }),
        token: Some(SecretPlace::Secret("spot/token".to_owned())),
        topics: Vec::new(),
        further_secrets: Vec::new(),
        function: FunctionAccess::default(),
    }
}

/// A home Region with everything at its default.
pub(crate) fn spec(region: &str) -> HomeSpec {
    let policy = policy_spec(region);
    let partition = policy.region.partition();
    HomeSpec {
        account: policy.account,
        organization: policy.organization.clone().expect("known"),
        topic: format!("arn:{partition}:sns:{region}:123456789012:spot-onboarding")
            .parse()
            .expect("a topic"),
        stack_name_prefix: "spot-onboarding".to_owned(),
        stack_sets: policy.stack_sets.clone(),
        encryption: Encryption::CustomerKey,
        alarm_topic: None,
        organization_events: true,
        control_tower_region: None,
        runner_principals: Vec::new(),
        runner_policy: iam_policy::document(&policy).expect("a valid policy"),
        function: None,
        region: policy.region,
    }
}

/// A function that serves the queue.
pub(crate) fn function(region: &str) -> FunctionSpec {
    let environment = [
        ("PROVIDER_SERVICE_TIMEOUT", "840"),
        ("SPOT_TOKEN_SECRET_ARN", "spot/token"),
    ];
    FunctionSpec {
        bucket: "programs".to_owned(),
        key: "bootstrap.zip".to_owned(),
        object_version: Some("version-1".to_owned()),
        memory: 256,
        log_retention_days: 30,
        maximum_concurrency: 2,
        shares_state: false,
        service_timeout: 840,
        vpc: None,
        environment: environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        policy: iam_policy::function_document(&policy_spec(region)).expect("a valid policy"),
    }
}

/// A function with a durable state, in a VPC.
pub(crate) fn function_with_state(region: &str) -> FunctionSpec {
    let policy = RunnerPolicySpec {
        function: FunctionAccess {
            state: Some(SecretPlace::Secret("spot/state".to_owned())),
            in_vpc: true,
            stack: None,
        },
        ..policy_spec(region)
    };
    let mut function = function(region);
    function.environment.extend(
        [
            ("PROVIDER_DELETION", "stack"),
            ("PROVIDER_STATE_SECRET_ARN", "spot/state"),
            ("PROVIDER_STATE_CA_FILE", "/var/task/global-bundle.pem"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    FunctionSpec {
        maximum_concurrency: 10,
        shares_state: true,
        vpc: Some(FunctionVpc {
            subnets: vec!["subnet-0123456789abcdef0".to_owned()],
            security_groups: vec!["sg-0123456789abcdef0".to_owned()],
        }),
        policy: iam_policy::function_document(&policy).expect("a valid policy"),
        ..function
    }
}

/// All of them.
pub(crate) fn samples() -> Vec<(String, HomeSpec)> {
    let mut samples = Vec::new();
    for (region, tower) in [
        ("us-east-1", "us-west-2"),
        ("eu-west-1", "eu-central-1"),
        ("cn-north-1", "cn-northwest-1"),
        ("us-gov-east-1", "us-gov-west-1"),
    ] {
        let plain = spec(region);
        let partition = plain.region.partition();
        let full = HomeSpec {
            encryption: Encryption::SqsManaged,
            alarm_topic: format!("arn:{partition}:sns:{region}:123456789012:alarms")
                .parse()
                .ok(),
            control_tower_region: tower.parse().ok(),
            runner_principals: vec![
                format!("arn:{partition}:iam::123456789012:role/deployer")
                    .parse()
                    .expect("a principal"),
                "ecs-tasks.amazonaws.com".parse().expect("a service"),
            ],
            function: Some(function_with_state(region)),
            ..plain.clone()
        };
        let delegated = HomeSpec {
            organization_events: false,
            ..plain.clone()
        };
        let served = HomeSpec {
            function: Some(function(region)),
            ..plain.clone()
        };
        for (name, spec) in [
            ("plain", plain),
            ("full", full),
            ("delegated", delegated),
            ("served", served),
        ] {
            samples.push((format!("home-{region}-{name}"), spec));
        }
    }
    samples
}
