//! `runner policy diff`: what an operator types, what is printed and how it ends. It needs neither AWS nor Spot, nor a
//! configuration that is in order.

use std::collections::BTreeMap;
use std::fs;

use e2e::runner::{Ended, Runner};
use serde_json::{Value, json};

const SPOT: &str = "spot-elastigroup-ocean";

fn diff(runner: &Runner, arguments: &[&str]) -> Ended {
    runner
        .run(&[&["policy", "diff"], arguments].concat())
        .unwrap()
}

fn runner() -> Runner {
    let runner = Runner::new(BTreeMap::new()).unwrap();
    fs::remove_file(runner.directory().join("config/runner.toml")).unwrap();
    runner
}

/// Writes Spot's policy, changed, and returns the name of the file.
fn changed(runner: &Runner, change: impl FnOnce(&mut Vec<Value>)) -> &'static str {
    let path = runner
        .directory()
        .join(format!("config/policies/{SPOT}.json"));
    let mut policy: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(policy["Statement"].as_array_mut().unwrap());
    fs::write(runner.directory().join("next.json"), policy.to_string()).unwrap();
    "next.json"
}

#[test]
fn a_policy_written_differently_ends_with_0() {
    let runner = runner();
    let same = diff(&runner, &[SPOT, &format!("config/policies/{SPOT}.json")]);
    assert_eq!(same.code, 0, "{}", same.stderr);
    assert_eq!(
        same.stdout,
        "equal: 14 statements = 0 widened + 0 narrowed + 0 changed + 0 cosmetic + 14 equal\n"
    );
    let next = changed(&runner, |statements| {
        statements.reverse();
        statements[0]["Action"] = json!("S3:*");
        statements[1]["Sid"] = json!("Deployments");
    });
    let other = diff(&runner, &[SPOT, next]);
    assert_eq!(other.code, 0, "{}", other.stderr);
    assert!(other.stdout.contains(
        "cosmetic  Deployments (statement 2), was ElastigroupCodeDeploy (statement 13)\n"
    ));
    assert!(other.stdout.ends_with(
        "cosmetic: 14 statements = 0 widened + 0 narrowed + 0 changed + 2 cosmetic + 12 equal\n"
    ));
}

#[test]
fn a_difference_is_said_in_words_and_ends_with_3() {
    let runner = runner();
    let next = changed(&runner, |statements| {
        statements[0]["Action"]
            .as_array_mut()
            .unwrap()
            .push(json!("opsworks:Create*"));
        statements[13]["Resource"] = json!("arn:aws:s3:::elasticbeanstalk-*");
        statements[10]["Action"]
            .as_array_mut()
            .unwrap()
            .retain(|action| action != "iam:PassRole");
        statements.push(
            json!({"Sid": "PassSpotRoles", "Effect": "Allow", "Action": "iam:PassRole",
            "Resource": "arn:aws:iam::*:role/spot-*",
            "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}),
        );
    });
    let ended = diff(&runner, &[SPOT, next]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    insta::assert_snapshot!(ended.stdout);

    let report = diff(&runner, &["--output", "json", SPOT, next]);
    assert_eq!(report.code, 3, "{}", report.stderr);
    let report = report.json().unwrap();
    assert_eq!(report["verdict"], "changed");
    assert_eq!(report["undecided"], false);
    let statements = report["statements"].as_array().unwrap();
    assert_eq!(report["summary"]["statements"], statements.len());
    assert_eq!(
        statements[0],
        json!({
            "before": {"position": 1, "sid": "OpsWorks"},
            "after": {"position": 1, "sid": "OpsWorks"},
            "verdict": "widened",
            "changes": [{
                "text": "+ opsworks:Create* on *",
                "widens": true,
                "sign": "added",
                "effect": "Allow",
                "actions": {"except": false, "names": ["opsworks:Create*"]},
                "resources": {"except": false, "names": ["*"]},
                "principals": {"except": false, "names": []},
                "condition": null,
                "in_part": false,
            }],
        })
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_place_and_ends_with_2() {
    let runner = runner();
    let refused = |arguments: &[&str], words: &[&str]| {
        let ended = diff(&runner, arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{}",
            ended.stderr
        );
        for word in words {
            assert!(
                ended.stderr.contains(word),
                "{word:?} is not in: {}",
                ended.stderr
            );
        }
    };
    let write = |text: &str| fs::write(runner.directory().join("bad.json"), text).unwrap();
    refused(
        &["spot-elastigroup-oceans", SPOT],
        &["did you mean spot-elastigroup-ocean"],
    );
    refused(
        &[SPOT, "zzz"],
        &["no file and no policy zzz", "cost-intelligence"],
    );
    refused(&[SPOT], &["<B>"]);
    write("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [,]\n}\n");
    refused(
        &[SPOT, "bad.json"],
        &["bad.json:3:17: the policy is not well-formed JSON"],
    );
    write(
        "{\"Version\": \"2012-10-17\", \"Statement\": {\"Sid\": \"A\", \"Action\": \"s3:*\", \"Resource\": \"*\"}}",
    );
    refused(
        &["bad.json", SPOT],
        &["bad.json: statement 1 (A): Effect must be"],
    );
    fs::write(runner.directory().join("bad.json"), b"\xff\xfe").unwrap();
    refused(&["bad.json", SPOT], &["bad.json", "UTF-8"]);
}

#[test]
fn what_the_files_say_is_a_version_and_what_accounts_have_is_none_before_it_was_noted() {
    let runner = Runner::new(BTreeMap::new()).unwrap();
    let same = diff(&runner, &["files", "files"]);
    assert_eq!(same.code, 0, "{}", same.stderr);
    assert!(same.stdout.contains("Cost Intelligence"), "{}", same.stdout);
    let unknown = diff(&runner, &["deployed", "files"]);
    assert_eq!(unknown.code, 2, "{}", unknown.stdout);
    assert!(
        unknown.stderr.contains("policy-rollout"),
        "{}",
        unknown.stderr
    );
    let mixed = diff(&runner, &[SPOT, "files"]);
    assert_eq!(mixed.code, 2, "{}", mixed.stdout);
    assert!(mixed.stderr.contains("two versions"), "{}", mixed.stderr);
}
