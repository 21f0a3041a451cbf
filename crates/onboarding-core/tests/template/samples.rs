//! Every combination of parts that changes how a template looks, each with a name. Tests walk over all of them, and
//! the example `render_all` writes them to files for the linter.

use onboarding_core::{
    policy::PolicyDocument,
    template::{
        AuditRoleSpec, DEFAULT_DESCRIPTION, Deletion, NamedPolicy, OurNames, Partition,
        PinnedVersions, PolicyPurpose, PolicyVersion, Products, Provider, RemediationRoleSpec,
        RoleSettings, TemplateSpec, default_policy_version,
    },
};
use serde_json::{Value, json};

pub(crate) const ELASTIGROUP_OCEAN: &str =
    include_str!("../../../../config/policies/spot-elastigroup-ocean.json");
pub(crate) const READ_ONLY: &str =
    include_str!("../../../../config/policies/spot-elastigroup-ocean-read-only.json");
pub(crate) const COST_INTELLIGENCE: &str =
    include_str!("../../../../config/policies/cost-intelligence.json");

pub(crate) fn document(text: &str) -> PolicyDocument {
    PolicyDocument::parse(text).expect("the policies that we ship are valid")
}

pub(crate) fn policy(purpose: PolicyPurpose, text: &str) -> NamedPolicy {
    NamedPolicy {
        purpose,
        document: document(text),
    }
}

/// The full policy with two more statements: too long for one managed policy.
pub(crate) fn oversized() -> NamedPolicy {
    let mut value = document(ELASTIGROUP_OCEAN).to_value();
    let statements = value["Statement"]
        .as_array_mut()
        .expect("statements are a list");
    statements.push(
        json!({"Effect": "Deny", "Action": "ec2:CreateVpc", "Resource": "arn:aws:ec2:*:*:vpc/*"}),
    );
    statements.push(
        json!({"Sid": "NoUsers", "Effect": "Deny", "NotAction": ["iam:GetUser"], "Resource": "*",
        "Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/${aws:username}"}}}),
    );
    NamedPolicy {
        purpose: PolicyPurpose::ElastigroupOcean,
        document: PolicyDocument::from_value(value).expect("the added statements are valid"),
    }
}

/// Our provider with the full policy and everything at its default.
pub(crate) fn base() -> TemplateSpec {
    spec(
        queue("aws", "us-east-1"),
        vec![policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN)],
    )
}

/// A name and what is rendered under it.
pub(crate) type Sample = (String, TemplateSpec);

/// All of them.
pub(crate) fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (provider_name, provider) in providers() {
        for (policies_name, policies, cost_intelligence) in policy_sets() {
            for (variant, rename, deletion, role) in variants() {
                let mut spec = spec(provider.clone(), policies.clone());
                spec.products = Products { cost_intelligence };
                spec.rename = rename;
                spec.deletion = deletion;
                spec.role = role;
                samples.push((format!("{provider_name}-{policies_name}-{variant}"), spec));
            }
        }
    }
    for (partition, region) in [
        (Partition::AwsCn, "cn-north-1"),
        (Partition::AwsUsGov, "us-gov-west-1"),
    ] {
        let (_, policies, _) = policy_sets().remove(0);
        let mut spec = spec(queue(partition.as_str(), region), policies);
        spec.partition = partition;
        spec.spot_principal = format!("arn:{partition}:iam::111122223333:root")
            .parse()
            .expect("a principal");
        samples.push((format!("queue-{partition}"), spec));
    }
    samples
}

/// The templates without custom resources.
pub(crate) fn direct_samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (policies_name, policies, cost_intelligence) in policy_sets() {
        for (variant, rename, deletion, mut role) in variants() {
            let mut spec = spec(Provider::Direct, policies.clone());
            spec.products = Products { cost_intelligence };
            spec.rename = rename;
            spec.deletion = deletion;
            role.name = Some("spot-onboarding-default-SpotRole".to_owned());
            spec.role = role;
            samples.push((format!("direct-{policies_name}-{variant}"), spec));
        }
    }
    samples
}

/// Templates in the middle of a rollout, with two versions of the policies: one that grows by a managed policy and in another one
/// in place, and the way from there to the smaller one.
pub(crate) fn rollout_samples() -> Vec<Sample> {
    let full = policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN);
    let costs = policy(PolicyPurpose::CostIntelligence, COST_INTELLIGENCE);
    let wide = [with(&full, glacier("A")), with(&costs, glacier("B"))];
    let narrow = [full, costs];
    let version = |name: &str, policies: &[NamedPolicy], earlier: Option<&PolicyVersion>| {
        let version = match earlier {
            None => PolicyVersion::new(Some(name), policies, Partition::Aws),
            Some(earlier) => {
                PolicyVersion::following(Some(name), policies, Partition::Aws, earlier)
            }
        };
        version.expect("the policies can be divided")
    };
    let mut all = providers();
    all.push(("direct", Provider::Direct));
    let mut samples = Vec::new();
    for (provider_name, provider) in all {
        for (variant, policies, others) in [("wider", &narrow, &wide), ("narrower", &wide, &narrow)]
        {
            let first = version("first", &narrow, None);
            let current = version("2026a", policies, Some(&first));
            let next = version("2027a", others, Some(&current));
            let mut spec = spec(provider.clone(), policies.to_vec());
            spec.products = Products {
                cost_intelligence: true,
            };
            if provider == Provider::Direct {
                spec.role.name = Some("spot-onboarding-default-SpotRole".to_owned());
            }
            spec.pinned = Some(PinnedVersions {
                current,
                next: Some(next),
            });
            samples.push((format!("{provider_name}-rollout-{variant}"), spec));
        }
    }
    samples
}

/// A policy with one more statement.
pub(crate) fn with(policy: &NamedPolicy, statement: Value) -> NamedPolicy {
    let mut value = policy.document.to_value();
    let statements = value["Statement"].as_array_mut();
    statements.expect("statements are a list").push(statement);
    NamedPolicy {
        purpose: policy.purpose.clone(),
        document: PolicyDocument::from_value(value).expect("the added statement is valid"),
    }
}

pub(crate) fn glacier(sid: &str) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": "*"})
}

/// The audit role in every partition, as it is by default and with everything set.
pub(crate) fn audit_samples() -> Vec<(String, AuditRoleSpec)> {
    let mut samples = Vec::new();
    for (partition, region) in [
        (Partition::Aws, "us-east-1"),
        (Partition::AwsCn, "cn-north-1"),
        (Partition::AwsUsGov, "us-gov-west-1"),
    ] {
        let plain = AuditRoleSpec {
            partition,
            region: region.parse().expect("a Region"),
            role: RoleSettings {
                name: Some("spot-onboarding-audit".to_owned()),
                ..RoleSettings::default()
            },
            home_account: "111122223333".parse().expect("an account"),
            principals: vec!["role/spot-onboarding-runner".to_owned()],
            organization: "o-abcdefghij".parse().expect("an organization"),
            stack_sets: ["spot-onboarding-default".parse().expect("a stack set")].into(),
        };
        let mut full = plain.clone();
        full.role.path = Some("/spot/".to_owned());
        full.role.permissions_boundary = Some(format!(
            "arn:{partition}:iam::${{AWS::AccountId}}:policy/Boundary"
        ));
        full.principals.push("user/ops/*".to_owned());
        full.stack_sets
            .insert("another-one".parse().expect("a stack set"));
        samples.push((format!("audit-{partition}-default"), plain));
        samples.push((format!("audit-{partition}-full"), full));
    }
    samples
}

/// The remediation role in every partition, as it is by default and with everything set.
pub(crate) fn remediation_samples() -> Vec<(String, RemediationRoleSpec)> {
    let mut samples = Vec::new();
    for partition in [Partition::Aws, Partition::AwsCn, Partition::AwsUsGov] {
        let name = |name: &str| OurNames::OfStackSet(name.parse().expect("a stack set"));
        let plain = RemediationRoleSpec {
            partition,
            role: RoleSettings {
                name: Some("spot-onboarding-remediation".to_owned()),
                ..RoleSettings::default()
            },
            home_account: "111122223333".parse().expect("an account"),
            principals: vec!["role/spot-onboarding-runner".to_owned()],
            organization: "o-abcdefghij".parse().expect("an organization"),
            names: [name("spot-onboarding-default")].into(),
            deletes_leftover_stacks: false,
        };
        let mut full = plain.clone();
        full.role.path = Some("/spot/".to_owned());
        full.role.permissions_boundary = Some(format!(
            "arn:{partition}:iam::${{AWS::AccountId}}:policy/Boundary"
        ));
        full.principals.push("user/ops/*".to_owned());
        full.names
            .insert(name("a-name-of-a-stack-set-that-is-longer-than-most"));
        full.names.insert(OurNames::Given {
            stack_set: "direct".parse().expect("a stack set"),
            role: "direct-SpotRole".to_owned(),
        });
        let leftovers = RemediationRoleSpec {
            deletes_leftover_stacks: true,
            ..plain.clone()
        };
        samples.push((format!("remediation-{partition}-default"), plain));
        samples.push((format!("remediation-{partition}-leftovers"), leftovers));
        samples.push((format!("remediation-{partition}-full"), full));
    }
    samples
}

fn spec(provider: Provider, policies: Vec<NamedPolicy>) -> TemplateSpec {
    TemplateSpec {
        description: DEFAULT_DESCRIPTION.to_owned(),
        partition: Partition::Aws,
        provider,
        spot_principal: Partition::Aws
            .spot_principal()
            .expect("known in partition aws"),
        policy_version: default_policy_version(&policies),
        policies,
        products: Products::default(),
        rename: true,
        service_timeout_seconds: 600,
        deletion: Deletion::Reconcile,
        role: RoleSettings::default(),
        pinned: None,
    }
}

fn queue(partition: &str, region: &str) -> Provider {
    Provider::Queue {
        topic_arn: format!("arn:{partition}:sns:{region}:123456789012:spot-onboarding")
            .parse()
            .expect("a topic"),
    }
}

fn providers() -> Vec<(&'static str, Provider)> {
    let hosted = |function: Option<&str>| Provider::SpotHosted {
        cost_intelligence_function: function.map(str::to_owned),
    };
    vec![
        ("queue", queue("aws", "us-east-1")),
        ("hosted", hosted(None)),
        ("hosted-ci", hosted(Some("spot-cost-intelligence"))),
    ]
}

fn policy_sets() -> Vec<(&'static str, Vec<NamedPolicy>, bool)> {
    let full = || policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN);
    let costs = || policy(PolicyPurpose::CostIntelligence, COST_INTELLIGENCE);
    let extra = || policy(PolicyPurpose::Extra("Audit".to_owned()), READ_ONLY);
    vec![
        ("full", vec![full()], false),
        (
            "read",
            vec![policy(PolicyPurpose::ElastigroupOcean, READ_ONLY)],
            false,
        ),
        ("costs", vec![costs()], true),
        ("full-costs-off", vec![full(), costs()], false),
        ("full-costs", vec![full(), costs()], true),
        ("split", vec![oversized(), costs(), extra()], true),
    ]
}

fn variants() -> Vec<(&'static str, bool, Deletion, RoleSettings)> {
    let named = RoleSettings {
        name: Some("SpotRole".to_owned()),
        path: Some("/vendors/".to_owned()),
        permissions_boundary: Some("arn:aws:iam::${AWS::AccountId}:policy/Boundary".to_owned()),
    };
    let bounded = RoleSettings {
        permissions_boundary: Some("arn:aws:iam::aws:policy/PowerUserAccess".to_owned()),
        ..RoleSettings::default()
    };
    vec![
        (
            "default",
            true,
            Deletion::Reconcile,
            RoleSettings::default(),
        ),
        ("keep-name", false, Deletion::Reconcile, bounded),
        ("stack", true, Deletion::Stack, named),
    ]
}
