//! What holds for every rendering of the remediation role.

use std::collections::BTreeSet;

use onboarding_core::template::{
    Format, OurNames, RemediationRoleSpec, TemplateError, is_audit_role, is_enrollment,
    is_remediation_role, template_digest_of,
};
use serde_json::{Value, json};

use crate::samples;

const ROLE: &str = "SpotOnboardingRemediationRole";

fn bodies() -> impl Iterator<Item = (String, RemediationRoleSpec, Value)> {
    let samples = samples::remediation_samples().into_iter();
    samples.map(|(name, spec)| {
        let template = spec.template().unwrap().to_value();
        (name, spec, template)
    })
}

fn one_or_many(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    }
}

/// What it needs CloudFormation for.
fn by_cloudformation() -> Value {
    json!({"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}})
}

/// The statements of the role's policy.
fn statements(template: &Value) -> &Vec<Value> {
    let policies = &template["Resources"][ROLE]["Properties"]["Policies"];
    let statements = &policies[0]["PolicyDocument"]["Statement"];
    statements.as_array().unwrap()
}

#[test]
fn nothing_that_it_may_do_gives_anybody_anything() {
    for (name, spec, template) in bodies() {
        let resources = template["Resources"].as_object().unwrap();
        assert_eq!(resources.keys().collect::<Vec<_>>(), [ROLE], "{name}");
        let properties = &template["Resources"][ROLE]["Properties"];
        assert!(properties.get("ManagedPolicyArns").is_none(), "{name}");
        assert_eq!(properties["Policies"].as_array().unwrap().len(), 1);
        let mut actions = BTreeSet::new();
        for statement in statements(&template) {
            assert_eq!(statement["Effect"], "Allow", "{name}");
            for negated in ["NotAction", "NotResource"] {
                assert!(statement.get(negated).is_none(), "{name}: {statement}");
            }
            if statement["Condition"] == by_cloudformation() {
                continue;
            }
            let of_statement = one_or_many(&statement["Action"]);
            actions.extend(
                of_statement
                    .iter()
                    .map(|one| one.as_str().unwrap().to_owned()),
            );
        }
        // The only two calls of IAM that can take a policy out of a role, and do nothing else (IAM API reference). Everything
        // else that names a role writes, makes, passes or tags one.
        let mut expected: BTreeSet<_> = ["iam:DeleteRolePolicy", "iam:DetachRolePolicy"]
            .map(str::to_owned)
            .into();
        if spec.deletes_leftover_stacks {
            let stacks = [
                "cloudformation:DeleteStack",
                "cloudformation:DescribeStacks",
            ];
            expected.extend(stacks.map(str::to_owned));
        }
        assert_eq!(actions, expected, "{name}");
    }
}

#[test]
fn stacks_that_were_left_are_deleted_by_name_and_what_they_made_by_cloudformation_alone() {
    for (name, spec, template) in bodies() {
        let all = statements(&template);
        if !spec.deletes_leftover_stacks {
            assert_eq!(all.len(), 2, "{name}");
            continue;
        }
        let [_, _, stacks, rest @ ..] = &all[..] else {
            panic!("{name}: {all:?}");
        };
        let partition = spec.partition;
        let arn = format!(
            "arn:{partition}:cloudformation:*:${{AWS::AccountId}}:stack/StackSet-spot-onboarding-default-????????-????-????-????-????????????/*"
        );
        assert_eq!(stacks["Resource"], json!([{"Fn::Sub": arn}]), "{name}");
        for statement in rest {
            assert_eq!(statement["Condition"], by_cloudformation(), "{name}");
            let resource = statement["Resource"].to_string();
            let is_ours = resource.contains(":role/StackSet-spot-onboarding-default-*")
                || resource.contains(":policy/StackSet-spot-onboarding-default-*");
            assert!(is_ours, "{statement}");
            // It deletes, and looks at what it deletes.
            for action in one_or_many(&statement["Action"]) {
                let action = action.as_str().unwrap();
                let name = action.split(':').nth(1).unwrap();
                let deletes = ["Delete", "Detach", "Get", "List"];
                let deletes = deletes.iter().any(|verb| name.starts_with(verb));
                assert!(deletes, "{action}");
            }
        }
        assert!(!template.to_string().contains("sns:"), "{name}");
    }
}

#[test]
fn a_stack_is_told_by_the_name_that_its_stack_set_gives() {
    let names = OurNames::OfStackSet("spot-onboarding-default".parse().unwrap());
    let stack = |name: &str| {
        format!("arn:aws:cloudformation:us-east-1:111122223333:stack/{name}/0b1c2d3e")
            .parse()
            .unwrap()
    };
    for (name, is_ours) in [
        (
            "StackSet-spot-onboarding-default-0b1c2d3e-1f2a-4b3c-8d4e-5f6a7b8c9d0e",
            true,
        ),
        ("StackSet-spot-onboarding-default-", false),
        ("StackSet-spot-onboarding-default-0b1c2d3e", false),
        // Of stack sets whose names begin alike.
        (
            "StackSet-spot-onboarding-default-2-0b1c2d3e-1f2a-4b3c-8d4e-5f6a7b8c9d0e",
            false,
        ),
        (
            "StackSet-spot-onboarding-default-cafe-0b1c2d3e-1f2a-4b3c-8d4e-5f6a7b8c9d0e",
            false,
        ),
        ("StackSet-spot-onboarding-default-prod-0b1c2d3e", false),
        ("StackSet-spot-onboarding-other-0b1c2d3e", false),
        ("spot-onboarding-default", false),
        ("Spot", false),
    ] {
        assert_eq!(names.has_stack(&stack(name)), is_ours, "{name}");
    }
}

#[test]
fn only_roles_with_our_names_are_named_and_our_own_policies_are_spared() {
    for (name, spec, template) in bodies() {
        let arn = |rest: &str| {
            let partition = spec.partition;
            json!({"Fn::Sub": format!("arn:{partition}:iam::${{AWS::AccountId}}:{rest}")})
        };
        let (mut roles, mut made) = (
            vec![arn("role/StackSet-spot-onboarding-default-*")],
            vec![arn("policy/StackSet-spot-onboarding-default-*")],
        );
        if name.ends_with("full") {
            roles.insert(0, arn("role/StackSet-a-name-of-a-stack-set-that-is-lo*"));
            roles.push(arn("role/direct-SpotRole"));
            made.insert(0, arn("policy/StackSet-a-name-of-a-stack-set-that-is-lo*"));
            made.insert(1, arn("policy/StackSet-direct-*"));
        }
        // What may be done without CloudFormation, and neither looks at stacks nor deletes them.
        for statement in &statements(&template)[..2] {
            assert_eq!(statement["Resource"], json!(roles), "{name}");
            let condition = json!({"ArnNotLike": {"iam:PolicyARN": made}});
            let detaches = statement["Action"] == "iam:DetachRolePolicy";
            let expected = if detaches { condition } else { Value::Null };
            assert_eq!(statement["Condition"], expected, "{name}");
        }
    }
}

#[test]
fn spot_is_never_let_in_and_only_named_principals_of_the_organization_are() {
    for (name, spec, template) in bodies() {
        let text = template.to_string();
        assert!(!text.contains("922761411349"), "{name}");
        assert!(!text.contains("ExternalId"), "{name}");
        let trust = &template["Resources"][ROLE]["Properties"]["AssumeRolePolicyDocument"];
        let [statement] = &trust["Statement"].as_array().unwrap()[..] else {
            panic!("{name}: {trust}");
        };
        let home = format!("arn:{}:iam::111122223333:root", spec.partition);
        assert_eq!(statement["Principal"], json!({"AWS": home}), "{name}");
        let condition = &statement["Condition"];
        assert_eq!(
            condition["StringEquals"]["aws:PrincipalOrgID"],
            "o-abcdefghij"
        );
        let principals = condition["ArnLike"]["aws:PrincipalArn"].as_array().unwrap();
        assert_eq!(principals.len(), spec.principals.len(), "{name}");
    }
}

#[test]
fn it_is_deterministic_and_told_from_other_templates() {
    for (name, spec, _) in bodies() {
        let rendered = spec
            .template()
            .unwrap()
            .render(Format::CompactJson)
            .unwrap();
        assert!(is_remediation_role(&rendered.body), "{name}");
        assert!(!is_audit_role(&rendered.body), "{name}");
        assert!(!is_enrollment(&rendered.body), "{name}");
        assert_eq!(template_digest_of(&rendered.body).unwrap(), rendered.digest);
        assert_eq!(
            rendered.capabilities,
            ["CAPABILITY_NAMED_IAM".to_owned()].into()
        );
    }
    let (_, audit) = samples::audit_samples().remove(0);
    let audit = audit.template().unwrap().render(Format::CompactJson);
    assert!(!is_remediation_role(&audit.unwrap().body));
    assert!(!is_remediation_role("no template"));
}

#[test]
fn a_role_that_nobody_could_assume_or_that_is_for_nothing_is_refused() {
    let (_, spec) = samples::remediation_samples().remove(0);
    let nobody = RemediationRoleSpec {
        principals: Vec::new(),
        ..spec.clone()
    };
    assert!(matches!(
        nobody.template(),
        Err(TemplateError::NoHomePrincipal)
    ));
    let nothing = RemediationRoleSpec {
        names: BTreeSet::new(),
        ..spec.clone()
    };
    assert!(matches!(
        nothing.template(),
        Err(TemplateError::NothingToRemedy)
    ));
    let many = (0..200).map(|n| OurNames::OfStackSet(format!("set-{n}").parse().unwrap()));
    let many = RemediationRoleSpec {
        names: many.collect(),
        ..spec
    };
    assert!(matches!(
        many.template(),
        Err(TemplateError::InlinePolicyTooLong { .. })
    ));
}

#[test]
fn names_are_ours_only_when_a_stack_of_ours_can_have_given_them() {
    let names = OurNames::OfStackSet("spot-onboarding-default".parse().unwrap());
    // As CloudFormation makes them up, cut where that is too long.
    let stack = "StackSet-spot-onboarding-default-0b1c2d3e";
    assert!(names.has_role(&format!("{stack}-SpotRole-A1B2C3D4E5F6")));
    let arn = |name: &str| format!("arn:aws:iam::111122223333:policy/{name}");
    assert!(names.has_policy(&arn(&format!("{stack}-SpotManagedPolicy-A1B2C3D4E5F6"))));
    for other in [
        "StackSet-spot-onboarding-other-0b1c-SpotRole-A1B2C3D4E5F6",
        "SpotRole",
        "spot-onboarding-audit",
        "OrganizationAccountAccessRole",
    ] {
        assert!(!names.has_role(other), "{other}");
        assert!(!names.has_policy(&arn(other)), "{other}");
    }
    assert!(!names.has_policy("arn:aws:iam::aws:policy/AdministratorAccess"));
    let given = OurNames::Given {
        stack_set: "spot-onboarding-default".parse().unwrap(),
        role: "spot-onboarding-default-SpotRole".to_owned(),
    };
    assert!(given.has_role("spot-onboarding-default-SpotRole"));
    assert!(!given.has_role("spot-onboarding-default-SpotRole-2"));
    assert!(given.has_policy(&arn(&format!("{stack}-SpotManagedPolicy-A1B2C3D4E5F6"))));
    // However long the stack set's name is, a role of sixty-four characters is told.
    let long = "a-name-of-a-stack-set-that-is-longer-than-most";
    let long = OurNames::OfStackSet(long.parse().unwrap());
    let role = "StackSet-a-name-of-a-stack-set-that-is-lo-SpotRole-A1B2C3D4E5F6G";
    assert_eq!(role.len(), 64);
    assert!(long.has_role(role));
}
