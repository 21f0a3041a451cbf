//! The stacks of the home account, over every combination of their parts.

use std::collections::BTreeSet;

use onboarding_core::template::{
    Format,
    home::{self, Encryption, FunctionSpec, HomeError, HomeSpec, HomeStack},
};
use serde_json::{Value, json};

use crate::home_samples::{self, spec};

fn for_every_stack(check: impl Fn(&str, &HomeSpec, &HomeStack, &Value)) {
    let samples = home_samples::samples();
    assert!(samples.len() >= 8, "{}", samples.len());
    for (name, spec) in samples {
        for stack in home::stacks(&spec).unwrap() {
            check(&name, &spec, &stack, &stack.template.to_value());
        }
    }
}

/// Every statement of every policy in the value.
fn statements<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            if map.contains_key("Effect") {
                found.push(value);
            }
            map.values().for_each(|value| statements(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| statements(item, found)),
        _ => {}
    }
}

fn properties<'a>(template: &'a Value, logical_id: &str) -> &'a Value {
    &template["Resources"][logical_id]["Properties"]
}

#[test]
fn no_statement_is_for_everybody_without_conditions() {
    for_every_stack(|name, _, stack, template| {
        let mut found = Vec::new();
        statements(template, &mut found);
        assert!(!found.is_empty(), "{name} {}", stack.name);
        for statement in found {
            let principal = statement["Principal"].to_string();
            if principal.contains("\"*\"") {
                let condition = statement["Condition"].as_object();
                assert!(
                    condition.is_some_and(|condition| !condition.is_empty()),
                    "{name}: {statement}"
                );
            }
        }
    });
}

#[test]
fn only_stack_set_roles_of_the_organization_may_publish() {
    for_every_stack(|name, spec, stack, template| {
        if !stack.name.ends_with("-home") {
            return;
        }
        let statements = &properties(template, "TopicPolicy")["PolicyDocument"]["Statement"];
        let partition = spec.region.partition();
        assert_eq!(
            statements,
            &json!([{
                "Sid": "Stacks",
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["sns:Publish"],
                "Resource": {"Ref": "Topic"},
                "Condition": {
                    "StringEquals": {"aws:PrincipalOrgID": spec.organization.as_str()},
                    "ArnLike": {"aws:PrincipalArn": format!("arn:{partition}:iam::*:role/stacksets-exec-*")},
                },
            }]),
            "{name}"
        );
    });
}

#[test]
fn what_stacks_rely_on_outlives_its_stack_and_its_replacement() {
    for_every_stack(|name, spec, stack, template| {
        if !stack.name.ends_with("-home") {
            return;
        }
        let mut ids = vec![
            "Topic",
            "TopicPolicy",
            "Queue",
            "QueuePolicy",
            "Subscription",
            "DeadLetters",
            "Undelivered",
            "TemplateBucket",
        ];
        if spec.encryption == Encryption::CustomerKey {
            ids.push("Key");
        }
        for id in ids {
            let resource = &template["Resources"][id];
            for attribute in ["DeletionPolicy", "UpdateReplacePolicy"] {
                assert_eq!(resource[attribute], "Retain", "{name} {id}");
            }
        }
    });
}

#[test]
fn a_key_encrypts_topic_and_queues_or_sqs_does_the_queues() {
    for_every_stack(|name, spec, stack, template| {
        if !stack.name.ends_with("-home") {
            return;
        }
        let key = json!({"Fn::GetAtt": ["Key", "Arn"]});
        let customer = spec.encryption == Encryption::CustomerKey;
        assert_eq!(template["Resources"].get("Key").is_some(), customer);
        let topic = properties(template, "Topic").get("KmsMasterKeyId");
        assert_eq!(topic, customer.then_some(&key), "{name}");
        for queue in ["Queue", "WakeUpQueue", "DeadLetters", "Undelivered"] {
            let properties = properties(template, queue);
            assert_eq!(
                properties.get("KmsMasterKeyId"),
                customer.then_some(&key),
                "{name}"
            );
            assert_eq!(
                properties.get("SqsManagedSseEnabled"),
                (!customer).then_some(&json!(true))
            );
        }
    });
}

#[test]
fn events_that_appear_elsewhere_are_handed_on() {
    let regions = |change: &dyn Fn(&mut HomeSpec)| -> Vec<(String, Vec<String>)> {
        let mut spec = spec("eu-west-1");
        change(&mut spec);
        let stacks = home::stacks(&spec).unwrap();
        stacks[1..]
            .iter()
            .map(|stack| {
                assert_eq!(stack.name, "spot-onboarding-events");
                let rules = stack.template.resources.iter();
                let rules = rules.filter(|one| one.resource_type == "AWS::Events::Rule");
                (
                    stack.region.to_string(),
                    rules.map(|rule| rule.logical_id.clone()).collect(),
                )
            })
            .collect()
    };
    let one = |region: &str, rules: &[&str]| {
        (
            region.to_owned(),
            rules.iter().map(|rule| (*rule).to_owned()).collect(),
        )
    };
    let tower = |region: &str| Some(region.parse().unwrap());
    assert_eq!(
        regions(&|_| {}),
        [one("us-east-1", &["OrganizationEvents"])]
    );
    assert_eq!(
        regions(&|spec| spec.control_tower_region = tower("us-east-1")),
        [one(
            "us-east-1",
            &["OrganizationEvents", "ControlTowerEvents"]
        )]
    );
    assert_eq!(
        regions(&|spec| spec.control_tower_region = tower("eu-central-1")),
        [
            one("eu-central-1", &["ControlTowerEvents"]),
            one("us-east-1", &["OrganizationEvents"])
        ]
    );
    // A delegated administrator does not see the organization's events; what Control Tower reports at home is there.
    assert_eq!(
        regions(&|spec| {
            spec.organization_events = false;
            spec.control_tower_region = tower("eu-west-1");
        }),
        []
    );
    assert_eq!(home::stacks(&spec("us-east-1")).unwrap().len(), 1);
}

#[test]
fn every_rule_may_send_to_its_queue() {
    for_every_stack(|name, _, stack, template| {
        if !stack.name.ends_with("-home") {
            return;
        }
        let rules: BTreeSet<String> = stack
            .template
            .resources
            .iter()
            .filter(|one| one.resource_type == "AWS::Events::Rule")
            .map(|rule| json!({"Fn::GetAtt": [rule.logical_id, "Arn"]}).to_string())
            .collect();
        let statement =
            &properties(template, "WakeUpQueuePolicy")["PolicyDocument"]["Statement"][0];
        let allowed = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
            .as_array()
            .unwrap();
        let allowed: BTreeSet<String> = allowed.iter().map(Value::to_string).collect();
        assert_eq!(rules, allowed, "{name}");
    });
}

#[test]
fn the_same_parts_give_the_same_text() {
    for_every_stack(|name, spec, stack, _| {
        let again = home::stacks(spec).unwrap();
        let again = again.iter().find(|one| one.region == stack.region).unwrap();
        let render = |stack: &HomeStack| stack.template.render(Format::CompactJson).unwrap();
        assert_eq!(render(stack), render(again), "{name}");
    });
}

#[test]
fn what_aws_would_refuse_is_refused() {
    let refused = |change: &dyn Fn(&mut HomeSpec)| {
        let mut spec = spec("us-east-1");
        change(&mut spec);
        home::stacks(&spec).unwrap_err()
    };
    let topic = |name: &str| {
        format!("arn:aws:sns:us-east-1:123456789012:{name}")
            .parse()
            .unwrap()
    };
    assert!(matches!(
        refused(&|spec| spec.topic = topic(&"t".repeat(65))),
        HomeError::TopicName { length: 65, .. }
    ));
    assert!(matches!(
        refused(&|spec| spec.stack_name_prefix = "1-bad".to_owned()),
        HomeError::StackName { .. }
    ));
    assert!(matches!(
        refused(&|spec| spec.account = "999999999999".parse().unwrap()),
        HomeError::OtherTopic { .. }
    ));
    assert!(matches!(
        refused(&|spec| spec.alarm_topic = "arn:aws:sns:eu-west-1:123456789012:alarms".parse().ok()),
        HomeError::AlarmTopicRegion { .. }
    ));
    assert!(matches!(
        refused(&|spec| spec.control_tower_region = "cn-north-1".parse().ok()),
        HomeError::OtherPartition { .. }
    ));
    let function = |change: &dyn Fn(&mut FunctionSpec)| {
        let mut function = home_samples::function("us-east-1");
        change(&mut function);
        refused(&|spec| spec.function = Some(function.clone()))
    };
    let long = |name: &str| (name.to_owned(), "x".repeat(4096));
    assert!(matches!(
        function(&|function| function.environment = [long("PROVIDER_TARGETS")].into()),
        HomeError::FunctionEnvironment { .. }
    ));
    assert!(matches!(
        function(&|function| function.memory = 64),
        HomeError::FunctionMemory { .. }
    ));
    for (concurrency, shares_state) in [(1, true), (1001, true), (1, false), (3, false)] {
        assert!(matches!(
            function(&|function| {
                function.maximum_concurrency = concurrency;
                function.shares_state = shares_state;
            }),
            HomeError::FunctionConcurrency { .. }
        ));
    }
    assert!(matches!(
        function(&|function| function.log_retention_days = 31),
        HomeError::LogRetention { .. }
    ));
    assert!(matches!(
        refused(&|spec| spec.runner_principals =
            vec!["arn:aws-cn:iam::123456789012:root".parse().unwrap()]),
        HomeError::OtherPartition { .. }
    ));
}

#[test]
fn a_function_serves_the_queue_and_may_do_nothing_else() {
    let mut served = spec("eu-west-1");
    served.function = Some(home_samples::function("eu-west-1"));
    let stack = home::stacks(&served).unwrap().remove(0);
    let mut template = stack.template.to_value();
    let without = home::stacks(&spec("eu-west-1")).unwrap().remove(0);
    let without = without.template.to_value();
    let resources = template["Resources"].as_object_mut().unwrap();
    resources.retain(|id, _| without["Resources"].get(id).is_none());
    let visibility = &without["Resources"]["Queue"]["Properties"]["VisibilityTimeout"];
    assert_eq!(properties(&template, "Function")["Timeout"], *visibility);
    let mut found = Vec::new();
    statements(&template["Resources"]["FunctionRole"], &mut found);
    for statement in found.iter().filter(|one| one.get("Resource").is_some()) {
        assert!(
            !statement["Action"].to_string().contains('*'),
            "{statement}"
        );
        assert_ne!(statement["Resource"], json!(["*"]), "{statement}");
    }
    let function = serde_json::to_string_pretty(&template["Resources"]).unwrap();
    insta::assert_snapshot!("function", function);
}

#[test]
fn a_function_with_a_state_is_in_its_vpc_and_repeats_what_failed() {
    let region = "eu-west-1";
    let mut stateful = spec(region);
    stateful.function = Some(home_samples::function_with_state(region));
    let template = home::stacks(&stateful)
        .unwrap()
        .remove(0)
        .template
        .to_value();
    let function = properties(&template, "Function");
    assert_eq!(
        function["VpcConfig"],
        json!({"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]})
    );
    let mapping = properties(&template, "FunctionQueue");
    assert_eq!(mapping["ScalingConfig"]["MaximumConcurrency"], 10);
    let events = properties(&template, "FunctionEvents");
    assert_eq!(events["MaximumRetryAttempts"], 2);
    assert_eq!(events["MaximumEventAgeInSeconds"], 420);
    let mut found = Vec::new();
    statements(&template["Resources"]["FunctionRole"], &mut found);
    let of = |sid: &str| *found.iter().find(|one| one["Sid"] == sid).unwrap();
    assert_eq!(
        of("NetworkInterfaces")["Action"],
        of("NoNetworkInterfaces")["Action"]
    );
    assert_eq!(of("NoNetworkInterfaces")["Effect"], "Deny");
    assert_eq!(
        of("NoNetworkInterfaces")["Condition"]["ArnLike"]["lambda:SourceFunctionArn"],
        "arn:aws:lambda:eu-west-1:123456789012:function:*"
    );
    assert_eq!(
        of("State")["Resource"],
        json!(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:spot/state-??????"])
    );
    // Beside Lambda's own interfaces, everything is named.
    for statement in found.iter().filter(|one| one["Resource"] == json!(["*"])) {
        assert!(
            statement["Action"].to_string().contains("NetworkInterface"),
            "{statement}"
        );
    }
    // How long Lambda keeps an event stays within what AWS allows.
    for (service_timeout, age) in [(1, 60), (3600, 1800)] {
        stateful.function.as_mut().unwrap().service_timeout = service_timeout;
        let template = home::stacks(&stateful)
            .unwrap()
            .remove(0)
            .template
            .to_value();
        assert_eq!(
            properties(&template, "FunctionEvents")["MaximumEventAgeInSeconds"],
            age
        );
    }
}

#[test]
fn the_home_stack_is_as_reviewed() {
    let stacks = home::stacks(&spec("eu-west-1")).unwrap();
    for stack in stacks {
        let rendered = stack.template.render(Format::Yaml).unwrap();
        insta::assert_snapshot!(stack.name, rendered.body);
    }
}
