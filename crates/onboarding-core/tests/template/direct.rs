//! The template without custom resources.

use onboarding_core::{
    policy::{MANAGED_POLICY_MAX_SIZE, PolicyDocument},
    template::{
        Format, Provider, Template, TemplateError, TemplateSpec, is_direct, is_enrollment,
        template_digest_of,
    },
};
use serde_json::{Value, json};

use crate::samples;

fn for_every_sample(check: impl Fn(&str, &TemplateSpec, &Value)) {
    let samples = samples::direct_samples();
    assert!(samples.len() > 10, "{}", samples.len());
    for (name, spec) in samples {
        check(&name, &spec, &Template::new(&spec).unwrap().to_value());
    }
}

#[test]
fn spots_principal_stands_only_in_a_role_that_needs_an_external_id_to_be_there() {
    for_every_sample(|name, spec, template| {
        let text = template.to_string();
        let principal = spec.spot_principal.as_str();
        assert_eq!(text.matches(principal).count(), 1, "{name}");
        let role = &template["Resources"]["SpotRole"];
        assert_eq!(role["Type"], "AWS::IAM::Role", "{name}");
        assert_eq!(role["Condition"], "ExternalIdGiven", "{name}");
        let statements = role["Properties"]["AssumeRolePolicyDocument"]["Statement"].as_array();
        let [statement] = &statements.unwrap()[..] else {
            panic!("{name}: {role}");
        };
        assert_eq!(statement["Principal"], json!({"AWS": principal}), "{name}");
        assert_eq!(
            statement["Condition"],
            json!({"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}),
            "{name}"
        );
        assert_eq!(
            template["Conditions"]["ExternalIdGiven"],
            json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "ExternalId"}, ""]}]}),
            "{name}"
        );
        let parameter = &template["Parameters"]["ExternalId"];
        assert_eq!(parameter["Default"], "", "{name}");
        assert_eq!(parameter["Type"], "String", "{name}");
        // It is read back to see whether it is there.
        assert!(parameter.get("NoEcho").is_none(), "{name}");
    });
}

#[test]
fn there_is_no_custom_resource_and_nothing_that_outlives_the_stack() {
    for_every_sample(|name, _, template| {
        let text = template.to_string();
        for never in ["Custom::", "ServiceToken", "\"Token\"", "Retain"] {
            assert!(!text.contains(never), "{name}: {never}");
        }
    });
}

#[test]
fn what_needs_the_role_is_there_only_with_it() {
    for_every_sample(|name, _, template| {
        let outputs = template["Outputs"].as_object().unwrap();
        let names: Vec<&String> = outputs.keys().collect();
        assert_eq!(names, ["ExternalId", "SpotRoleArn"], "{name}");
        for output in outputs.values() {
            assert_eq!(output["Condition"], "ExternalIdGiven", "{name}");
        }
    });
}

#[test]
fn the_policies_are_those_of_the_other_providers() {
    for (name, spec) in samples::direct_samples() {
        let policies = |template: &Value| -> Vec<(String, Value)> {
            let resources = template["Resources"].as_object().unwrap().iter();
            resources
                .filter(|(_, resource)| resource["Type"] == "AWS::IAM::ManagedPolicy")
                .map(|(id, resource)| (id.clone(), resource.clone()))
                .collect()
        };
        let direct = Template::new(&spec).unwrap().to_value();
        let mut other = spec.clone();
        other.provider = samples::base().provider;
        let other = Template::new(&other).unwrap().to_value();
        assert_eq!(policies(&direct), policies(&other), "{name}");
        assert!(!policies(&direct).is_empty(), "{name}");
        let role = |template: &Value| template["Resources"]["SpotRole"]["Properties"].clone();
        for property in [
            "ManagedPolicyArns",
            "Path",
            "PermissionsBoundary",
            "RoleName",
        ] {
            assert_eq!(role(&direct)[property], role(&other)[property], "{name}");
        }
        for (id, policy) in policies(&direct) {
            let mut document = policy["Properties"]["PolicyDocument"].clone();
            document["Statement"][0]["Sid"] = "a".repeat(24).into();
            let size = PolicyDocument::from_value(document).unwrap().size();
            assert!(size <= MANAGED_POLICY_MAX_SIZE, "{name} {id} {size}");
        }
    }
}

#[test]
fn it_is_told_from_the_others() {
    for (name, spec) in samples::direct_samples() {
        let rendered = Template::new(&spec).unwrap().render(Format::Yaml).unwrap();
        assert!(is_direct(&rendered.body), "{name}");
        assert!(!is_enrollment(&rendered.body), "{name}");
        assert_eq!(
            template_digest_of(&rendered.body).unwrap(),
            rendered.digest,
            "{name}"
        );
        assert!(rendered.capabilities.iter().eq(["CAPABILITY_NAMED_IAM"]));
        assert_eq!(rendered.parameters["ExternalId"], "", "{name}");
        assert!(rendered.secret_parameters.is_empty(), "{name}");
    }
    for (name, spec) in samples::samples() {
        let rendered = Template::new(&spec).unwrap().render(Format::CompactJson);
        assert!(!is_direct(&rendered.unwrap().body), "{name}");
    }
    assert!(!is_direct("no template"));
}

#[test]
fn a_role_without_a_name_is_refused() {
    let mut spec = samples::base();
    spec.provider = Provider::Direct;
    assert!(matches!(
        Template::new(&spec),
        Err(TemplateError::DirectRoleName)
    ));
}
