//! What holds for every rendering of the audit role.

use std::collections::BTreeSet;

use onboarding_core::template::{
    AuditRoleSpec, Format, Template, TemplateError, is_audit_role, is_enrollment,
    template_digest_of,
};
use serde_json::Value;

use crate::samples;

fn bodies() -> impl Iterator<Item = (String, AuditRoleSpec, Value)> {
    samples::audit_samples().into_iter().map(|(name, spec)| {
        let template = spec.template().unwrap().to_value();
        (name, spec, template)
    })
}

#[test]
fn spot_is_never_let_in() {
    for (name, spec, template) in bodies() {
        let text = template.to_string();
        assert!(!text.contains("922761411349"), "{name}");
        assert!(!text.contains("ExternalId"), "{name}");
        let trust = &template["Resources"]["SpotOnboardingAuditRole"]["Properties"]["AssumeRolePolicyDocument"];
        let statement = &trust["Statement"][0];
        let home = format!("arn:{}:iam::111122223333:root", spec.partition);
        assert_eq!(statement["Principal"]["AWS"], home, "{name}");
        let condition = &statement["Condition"];
        assert_eq!(
            condition["StringEquals"]["aws:PrincipalOrgID"],
            "o-abcdefghij"
        );
        let principals = condition["ArnLike"]["aws:PrincipalArn"].as_array().unwrap();
        assert_eq!(principals.len(), spec.principals.len(), "{name}");
        assert_eq!(trust["Statement"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn it_reads_what_is_listed_here_and_nothing_else() {
    for (name, spec, template) in bodies() {
        let properties = &template["Resources"]["SpotOnboardingAuditRole"]["Properties"];
        assert_eq!(properties["Policies"].as_array().unwrap().len(), 1);
        assert!(properties.get("ManagedPolicyArns").is_none(), "{name}");
        let statements = &properties["Policies"][0]["PolicyDocument"]["Statement"];
        let mut actions = BTreeSet::new();
        for statement in statements.as_array().unwrap() {
            let of_statement = match &statement["Action"] {
                Value::Array(actions) => actions.clone(),
                one => vec![one.clone()],
            };
            // Only what belongs to no resource is on every resource.
            let everywhere = statement["Resource"] == "*";
            assert_eq!(everywhere, statement["Sid"] == "Alias", "{name}");
            // Policies of the account itself, never AWS's.
            let resource = &statement["Resource"]["Fn::Sub"];
            let own = |kind| format!("arn:{}:iam::${{AWS::AccountId}}:{kind}/*", spec.partition);
            match statement["Sid"].as_str().unwrap() {
                "Roles" => assert_eq!(*resource, own("role"), "{name}"),
                "Policies" => assert_eq!(*resource, own("policy"), "{name}"),
                _ => {}
            }
            actions.extend(
                of_statement
                    .iter()
                    .map(|action| action.as_str().unwrap().to_owned()),
            );
        }
        let expected = [
            "cloudformation:DescribeStacks",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAccountAliases",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
        ];
        assert_eq!(actions, expected.map(str::to_owned).into(), "{name}");
    }
}

#[test]
fn it_is_deterministic_and_told_from_other_templates() {
    for (name, mut spec, _) in bodies() {
        let rendered = spec
            .template()
            .unwrap()
            .render(Format::CompactJson)
            .unwrap();
        assert!(is_audit_role(&rendered.body), "{name}");
        assert!(!is_enrollment(&rendered.body), "{name}");
        assert_eq!(template_digest_of(&rendered.body).unwrap(), rendered.digest);
        assert!(rendered.parameters.is_empty() && rendered.secret_parameters.is_empty());
        assert_eq!(
            rendered.capabilities,
            ["CAPABILITY_NAMED_IAM".to_owned()].into()
        );
        let other_order = AuditRoleSpec {
            principals: spec.principals.iter().rev().cloned().collect(),
            ..spec.clone()
        };
        let again = other_order.template().unwrap();
        assert_eq!(again.render(Format::CompactJson).unwrap(), rendered);
        spec.stack_sets.clear();
        assert!(
            !spec
                .template()
                .unwrap()
                .to_value()
                .to_string()
                .contains("DescribeStacks")
        );
    }
    let enrollment = Template::new(&samples::base()).unwrap();
    let enrollment = enrollment.render(Format::CompactJson).unwrap();
    assert!(!is_audit_role(&enrollment.body));
    assert!(!is_audit_role("no template"));
}

#[test]
fn what_nobody_could_assume_is_refused() {
    let (_, spec) = samples::audit_samples().remove(0);
    let with = |principals: &[&str]| AuditRoleSpec {
        principals: principals.iter().map(|text| (*text).to_owned()).collect(),
        ..spec.clone()
    };
    assert!(matches!(
        with(&[]).template(),
        Err(TemplateError::NoHomePrincipal)
    ));
    for bad in [
        "*",
        "role/",
        "arn:aws:iam::111122223333:role/x",
        "role/a b",
        "group/x",
    ] {
        let refused = with(&["role/fine", bad]).template().unwrap_err();
        assert!(matches!(refused, TemplateError::HomePrincipal { value } if value == bad));
    }
    let mut nameless = spec.clone();
    nameless.role.name = None;
    assert!(matches!(
        nameless.template(),
        Err(TemplateError::RoleName { .. })
    ));
    let mut many = spec;
    many.stack_sets = (0..200)
        .map(|n| format!("spot-onboarding-profile-{n}").parse().unwrap())
        .collect();
    assert!(matches!(
        many.template(),
        Err(TemplateError::InlinePolicyTooLong { .. })
    ));
}
