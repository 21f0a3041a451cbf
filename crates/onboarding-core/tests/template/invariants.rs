//! What holds for every rendering.

use std::collections::BTreeMap;

use onboarding_core::{
    policy::{MANAGED_POLICY_MAX_SIZE, MAX_MANAGED_POLICIES_PER_ROLE, PolicyDocument},
    template::{
        Deletion, Format, Provider, Template, TemplateSpec, parse_body, template_digest_of,
    },
};
use serde_json::{Value, json};

use crate::samples;

fn for_every_sample(check: impl Fn(&str, &TemplateSpec, &Value)) {
    let samples = samples::samples();
    assert!(samples.len() > 50, "{}", samples.len());
    for (name, spec) in samples {
        let template = Template::new(&spec).unwrap();
        check(&name, &spec, &template.to_value());
    }
}

fn resources(template: &Value) -> impl Iterator<Item = (&String, &Value)> {
    template["Resources"].as_object().unwrap().iter()
}

fn is_custom(resource: &Value) -> bool {
    resource["Type"].as_str().unwrap().starts_with("Custom::")
}

/// Every object in the value that has this key.
fn objects_with<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            if map.contains_key(key) {
                found.push(value);
            }
            map.values()
                .for_each(|value| objects_with(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| objects_with(item, key, found)),
        _ => {}
    }
}

#[test]
fn spots_principal_never_stands_without_an_external_id() {
    for_every_sample(|name, spec, template| {
        let mut trusting = Vec::new();
        objects_with(template, "Principal", &mut trusting);
        assert_eq!(trusting.len(), 1, "{name}");
        let external_id = json!({"StringEquals": {"sts:ExternalId": {"Ref": "SpotExternalId"}}});
        for statement in trusting {
            assert_eq!(
                statement["Principal"],
                json!({"AWS": spec.spot_principal.as_str()})
            );
            assert_eq!(statement["Action"], "sts:AssumeRole", "{name}");
            assert_eq!(statement["Condition"], external_id, "{name}");
        }
        let text = template.to_string();
        assert_eq!(
            text.matches(spec.spot_principal.as_str()).count(),
            1,
            "{name}"
        );
    });
}

#[test]
fn a_token_appears_only_where_spot_hosts_the_provider() {
    for_every_sample(|name, spec, template| {
        let hosted = matches!(spec.provider, Provider::SpotHosted { .. });
        assert_eq!(
            template["Parameters"].get("Token").is_some(),
            hosted,
            "{name}"
        );
        for (id, resource) in resources(template).filter(|(_, resource)| is_custom(resource)) {
            let token = &resource["Properties"]["Token"];
            let expected = if hosted {
                json!({"Ref": "Token"})
            } else {
                Value::Null
            };
            assert_eq!(*token, expected, "{name} {id}");
        }
        if hosted {
            assert_eq!(template["Parameters"]["Token"]["NoEcho"], true);
            assert!(template["Parameters"]["Token"].get("Default").is_none());
        }
    });
}

#[test]
fn custom_resources_are_retained_unless_the_stack_owns_the_spot_account() {
    for_every_sample(|name, spec, template| {
        for (id, resource) in resources(template) {
            let expected = if is_custom(resource) && spec.deletion == Deletion::Reconcile {
                json!("Retain")
            } else {
                Value::Null
            };
            assert_eq!(resource["DeletionPolicy"], expected, "{name} {id}");
            assert_eq!(resource["UpdateReplacePolicy"], expected, "{name} {id}");
        }
    });
}

#[test]
fn every_custom_resource_has_a_service_token_and_a_timeout() {
    for_every_sample(|name, spec, template| {
        for (id, resource) in resources(template).filter(|(_, resource)| is_custom(resource)) {
            let properties = &resource["Properties"];
            assert_eq!(
                properties["ServiceTimeout"], spec.service_timeout_seconds,
                "{name} {id}"
            );
            match &spec.provider {
                Provider::Queue { topic_arn } => {
                    assert_eq!(
                        properties["ServiceToken"],
                        topic_arn.as_str(),
                        "{name} {id}"
                    );
                }
                Provider::Direct => panic!("{name} has no custom resources"),
                Provider::SpotHosted { .. } => {
                    let token = properties["ServiceToken"]["Fn::Sub"].as_str().unwrap();
                    let (before, function) = token.rsplit_once(':').unwrap();
                    assert_eq!(
                        before,
                        "arn:aws:lambda:${AWS::Region}:178579023202:function"
                    );
                    assert!(!function.is_empty(), "{name} {id}");
                }
            }
        }
    });
}

#[test]
fn resources_and_outputs_are_those_of_spots_template() {
    let types = BTreeMap::from([
        ("SpotRole", "AWS::IAM::Role"),
        ("SpotAccount", "Custom::SpotAccount"),
        ("SpotExternalId", "Custom::SpotExternalId"),
        ("SpotLinkedCredentials", "Custom::SpotLinkedCredentials"),
        (
            "RenamedSpotAccountByAlias",
            "Custom::RenamedSpotAccountByAlias",
        ),
        ("EnableCostIntelligence", "Custom::EnableCostIntelligence"),
    ]);
    for_every_sample(|name, spec, template| {
        for (id, resource) in resources(template) {
            let kind = resource["Type"].as_str().unwrap();
            match types.get(id.as_str()) {
                Some(expected) => assert_eq!(kind, *expected, "{name} {id}"),
                None => assert_eq!(kind, "AWS::IAM::ManagedPolicy", "{name} {id}"),
            }
        }
        let has = |id: &str| template["Resources"].get(id).is_some();
        for id in [
            "SpotRole",
            "SpotAccount",
            "SpotExternalId",
            "SpotLinkedCredentials",
        ] {
            assert!(has(id), "{name} {id}");
        }
        assert_eq!(has("RenamedSpotAccountByAlias"), spec.rename, "{name}");
        let omitted = matches!(
            &spec.provider,
            Provider::SpotHosted {
                cost_intelligence_function: None
            }
        );
        let enabled = spec.products.cost_intelligence && !omitted;
        assert_eq!(has("EnableCostIntelligence"), enabled, "{name}");
        let outputs: Vec<&String> = template["Outputs"].as_object().unwrap().keys().collect();
        assert_eq!(
            outputs,
            ["AccountId", "ExternalId", "SpotRoleArn"],
            "{name}"
        );
    });
}

#[test]
fn version_and_nonce_reach_every_document_and_stay_within_its_limit() {
    for_every_sample(|name, _, template| {
        let trust = &template["Resources"]["SpotRole"]["Properties"]["AssumeRolePolicyDocument"];
        assert_eq!(
            trust["Statement"][0]["Sid"]["Fn::Sub"],
            "SpotAssumeRoleR${RepairNonce}"
        );
        let mut count = 0;
        for (id, resource) in resources(template) {
            if resource["Type"] != "AWS::IAM::ManagedPolicy" {
                continue;
            }
            count += 1;
            let mut document = resource["Properties"]["PolicyDocument"].clone();
            let sid = document["Statement"][0]["Sid"]["Fn::Sub"].as_str().unwrap();
            assert!(
                sid.ends_with("V${PolicyVersion}R${RepairNonce}"),
                "{name} {id} {sid}"
            );
            let longest = sid
                .replace("${PolicyVersion}", &"a".repeat(12))
                .replace("${RepairNonce}", &"9".repeat(8));
            document["Statement"][0]["Sid"] = longest.into();
            let document = PolicyDocument::from_value(document).unwrap();
            assert!(
                document.size() <= MANAGED_POLICY_MAX_SIZE,
                "{name} {id} {}",
                document.size()
            );
        }
        assert!(
            (1..=MAX_MANAGED_POLICIES_PER_ROLE).contains(&count),
            "{name}"
        );
    });
}

#[test]
fn every_statement_of_every_policy_is_granted_once() {
    for_every_sample(|name, spec, template| {
        if spec.partition.as_str() != "aws" {
            return;
        }
        let without_sid = |statement: &Value| {
            let mut statement = statement.clone();
            statement.as_object_mut().unwrap().shift_remove("Sid");
            statement.to_string()
        };
        let mut given: Vec<String> = Vec::new();
        for policy in &spec.policies {
            let value = policy.document.to_value();
            given.extend(
                value["Statement"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(without_sid),
            );
        }
        let mut rendered: Vec<String> = Vec::new();
        for (_, resource) in resources(template) {
            if let Some(statements) =
                resource["Properties"]["PolicyDocument"]["Statement"].as_array()
            {
                rendered.extend(statements.iter().map(without_sid));
            }
        }
        given.sort();
        rendered.sort();
        assert_eq!(given, rendered, "{name}");
    });
}

#[test]
fn every_managed_policy_is_attached_and_comes_before_the_spot_account() {
    for_every_sample(|name, _, template| {
        let expected: Vec<Value> = resources(template)
            .filter(|(_, resource)| resource["Type"] == "AWS::IAM::ManagedPolicy")
            .map(|(id, resource)| match resource.get("Condition") {
                Some(condition) => {
                    json!({"Fn::If": [condition, {"Ref": id}, {"Ref": "AWS::NoValue"}]})
                }
                None => json!({"Ref": id}),
            })
            .collect();
        let resources = &template["Resources"];
        assert_eq!(
            resources["SpotRole"]["Properties"]["ManagedPolicyArns"],
            json!(expected),
            "{name}"
        );
        assert_eq!(
            resources["SpotAccount"]["Metadata"]["CreatedAfter"],
            json!(expected),
            "{name}"
        );
    });
}

#[test]
fn no_arn_of_another_partition_is_left() {
    for_every_sample(|name, spec, template| {
        if spec.partition.as_str() != "aws" {
            assert!(!template.to_string().contains("arn:aws:"), "{name}");
        }
    });
}

#[test]
fn all_formats_are_the_same_template_with_the_same_digest() {
    for (name, spec) in samples::samples() {
        let template = Template::new(&spec).unwrap();
        let compact = template.render(Format::CompactJson).unwrap();
        for format in [Format::CompactJson, Format::Json, Format::Yaml] {
            let rendered = template.render(format).unwrap();
            assert_eq!(
                parse_body(&rendered.body).unwrap(),
                template.to_value(),
                "{name} {format}"
            );
            assert_eq!(
                template_digest_of(&rendered.body).unwrap(),
                rendered.digest,
                "{name}"
            );
            assert_eq!(rendered.digest, compact.digest, "{name} {format}");
            assert_eq!(
                template.render(format).unwrap(),
                rendered,
                "{name} {format}"
            );
        }
        assert!(!compact.body.contains('\n'), "{name}");
    }
}

#[test]
fn what_a_stack_set_needs_is_told() {
    for (name, spec) in samples::samples() {
        let template = Template::new(&spec).unwrap();
        let rendered = template.render(Format::CompactJson).unwrap();
        let value = template.to_value();
        let declared = value["Parameters"].as_object().unwrap();
        let told = rendered.parameters.len() + rendered.secret_parameters.len();
        assert_eq!(told, declared.len(), "{name}");
        for (parameter, default) in &rendered.parameters {
            assert_eq!(
                declared[parameter]["Default"],
                default.as_str(),
                "{name} {parameter}"
            );
        }
        let capability = match spec.role.name {
            Some(_) => "CAPABILITY_NAMED_IAM",
            None => "CAPABILITY_IAM",
        };
        assert!(rendered.capabilities.iter().eq([capability]), "{name}");
        let left_out = spec.products.cost_intelligence
            && template.resource("EnableCostIntelligence").is_none();
        assert_eq!(rendered.omissions.len(), usize::from(left_out), "{name}");
    }
}
