//! The management account, which stack sets pass by: its role is read with the runner's own credentials.

use super::*;

const STACK: &str = "spot-onboarding-default";

/// Eight member accounts and the management account, enrolled and audited, and the management account's id.
fn enrolled(sections: &str) -> (Rehearsal, String) {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, sections, "management_account = true");
    rehearsal.sync_ends(0, &[]);
    let management = rehearsal.account_ids(|account| account["management"] == true);
    (rehearsal, management[0].clone())
}

/// Calls CloudFormation as the management account.
fn cloudformation(rehearsal: &Rehearsal, action: &str, input: &[(&str, &str)]) -> String {
    let input = [&[("Version", "2010-05-15")], input].concat();
    let call = rehearsal.wire.query("cloudformation", action, &input);
    rehearsal.runtime.block_on(call).unwrap()
}

/// Does what a command of the AWS CLI would: `aws cloudformation update-stack …`.
#[track_caller]
fn update_stack(rehearsal: &Rehearsal, command: &str) {
    let (_, command) = command
        .split_once("aws cloudformation update-stack ")
        .unwrap();
    let mut words = command.split(' ').peekable();
    let mut input: Vec<(String, String)> = Vec::new();
    while let Some(option) = words.next() {
        match option {
            "--region" => assert_eq!(words.next(), Some("us-east-1")),
            "--stack-name" => input.push(("StackName".into(), words.next().unwrap().into())),
            "--use-previous-template" => input.push(("UsePreviousTemplate".into(), "true".into())),
            "--capabilities" => {
                let name = words.next().unwrap();
                input.push(("Capabilities.member.1".into(), name.into()));
            }
            "--parameters" => {
                for (index, parameter) in words.by_ref().enumerate() {
                    for part in parameter.split(',') {
                        let (name, value) = part.split_once('=').unwrap();
                        let name = format!("Parameters.member.{}.{name}", index + 1);
                        input.push((name, value.to_owned()));
                    }
                }
            }
            other => panic!("{other} in {command}"),
        }
    }
    let input: Vec<(&str, &str)> = input
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    cloudformation(rehearsal, "UpdateStack", &input);
    rehearsal.until("the stack is updated", || {
        let shown = cloudformation(rehearsal, "DescribeStacks", &[("StackName", STACK)]);
        shown.contains("UPDATE_COMPLETE<").then_some(())
    });
}

#[test]
fn the_management_account_is_compared_like_any_other_and_its_findings_say_what_a_person_does() {
    let (rehearsal, management) = enrolled("");
    let clean = rehearsal.audit_ends(0, &["--set", FULL]);
    assert_eq!(clean["findings"], json!([]), "{clean:#}");
    let all = json!({"asked": 9, "read": 9, "unreadable": 0});
    assert_eq!(clean["audited"], all);
    assert_eq!(count(&clean, "unchanged"), 9);
    // It is the one account that no role is assumed in.
    assert_eq!(clean["api_calls"]["sts:AssumeRole"], 8);

    let role = linked_role(&rehearsal, &management);
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let anything = anything.to_string();
    let stray = [("RoleName", &*role), ("PolicyName", "stray")];
    let put = [&stray[..], &[("PolicyDocument", &*anything)]].concat();
    rehearsal.iam(&management, "PutRolePolicy", &put);
    let mut trust = rehearsal.trust(&management);
    let other = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}});
    trust["Statement"].as_array_mut().unwrap().push(other);
    rehearsal.set_trust(&management, &trust);

    // Nobody sees it without looking into the account.
    rehearsal.audit_ends(0, &[]);
    let tampered = rehearsal.audit_ends(3, &["--set", FULL]);
    let expected = pairs(&[
        (&management, "policy-inline-extra"),
        (&management, "trust-differs"),
    ]);
    assert_eq!(found(&tampered), expected, "{tampered:#}");
    assert_eq!(
        listed(&tampered, "skipped", "drifted"),
        std::slice::from_ref(&management)
    );
    let delete = text(&finding(&tampered, &management, "policy-inline-extra")["fix"]);
    assert!(delete.contains("aws iam delete-role-policy"), "{delete}");
    let write_again = text(&finding(&tampered, &management, "trust-differs")["fix"]);
    // Its stack is none of the stack set's, so that no job of ours writes it again.
    let fixed = rehearsal.run(&[
        "--output",
        "json",
        "exec",
        "drift-audit",
        "--fix",
        "--set",
        FULL,
    ]);
    assert_eq!(fixed.code, 3, "{}", fixed.stderr);
    assert_eq!(found(&fixed.json().unwrap()), expected);

    // What the findings say mends it.
    rehearsal.iam(&management, "DeleteRolePolicy", &stray);
    for _ in 0..2 {
        update_stack(&rehearsal, &write_again);
        rehearsal.audit_ends(0, &["--set", FULL]);
        // The next one needs another nonce than the one that the stack has now.
        rehearsal.set_trust(&management, &trust);
        let again = rehearsal.audit_ends(3, &["--set", FULL]);
        let other = text(&finding(&again, &management, "trust-differs")["fix"]);
        assert_ne!(other, write_again);
        update_stack(&rehearsal, &other);
        rehearsal.audit_ends(0, &["--set", FULL]);
        rehearsal.set_trust(&management, &trust);
    }
    update_stack(&rehearsal, &write_again);
    let calls = rehearsal.calls();
    rehearsal.sync_ends(0, &[]);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // A role that is gone comes back with another stack, and the account stays the same at Spot.
    let before = rehearsal.spot_accounts();
    rehearsal.delete_role(&management);
    let gone = rehearsal.audit_ends(3, &["--set", FULL]);
    let fix = text(&finding(&gone, &management, "role-missing")["fix"]);
    let command = format!(
        "delete-stack --region us-east-1 --stack-name {STACK}; then `runner exec stackset-sync`"
    );
    assert!(fix.contains(&command), "{fix}");
    cloudformation(&rehearsal, "DeleteStack", &[("StackName", STACK)]);
    rehearsal.until("the stack is gone", || {
        let input = [("Version", "2010-05-15"), ("StackName", STACK)];
        let shown = rehearsal
            .wire
            .query("cloudformation", "DescribeStacks", &input);
        rehearsal.runtime.block_on(shown).is_err().then_some(())
    });
    rehearsal.sync_ends(0, &[]);
    rehearsal.audit_ends(0, &["--set", FULL]);
    assert_eq!(rehearsal.spot_accounts(), before);
}

#[test]
fn what_the_runners_own_identity_may_not_read_there_is_a_finding_and_what_it_prints_is_enough() {
    let (rehearsal, management) = enrolled("");
    let config = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    rehearsal.write(
        "config/runner.toml",
        &config.replace("user/administrator", "role/reader"),
    );
    // The audit roles let the reader in from here on.
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit("[params]\ndepth = \"full\"\ncloudformation_drift = true");
    for job in ["stackset-sync", "enroll"] {
        let _ = fs::remove_file(rehearsal.path(&format!("config/jobs/{job}.toml")));
    }
    let mut policy = rehearsal.run(&["iam-policy"]).json().unwrap();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{management}:root")}}]});
    let trust = trust.to_string();
    let create = [
        ("RoleName", "reader"),
        ("AssumeRolePolicyDocument", &*trust),
    ];
    rehearsal.iam(&management, "CreateRole", &create);
    let put = |policy: &Value| {
        let policy = policy.to_string();
        let input = [
            ("RoleName", "reader"),
            ("PolicyName", "runner"),
            ("PolicyDocument", &*policy),
        ];
        rehearsal.iam(&management, "PutRolePolicy", &input);
    };
    put(&policy);
    let session = rehearsal.session(&format!("arn:aws:iam::{management}:role/reader"));
    let variables: Vec<(&str, &str)> = session
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let audit = ["--output", "json", "exec", "drift-audit"];
    let allowed = rehearsal.run_with(&variables, &audit);
    let document = allowed.json().unwrap();
    assert_eq!(allowed.code, 0, "{document:#}\n{}", allowed.stderr);
    let all = json!({"asked": 9, "read": 9, "unreadable": 0});
    assert_eq!(document["audited"], all);

    let statements = policy["Statement"].as_array_mut().unwrap();
    let before = statements.len();
    statements.retain(|statement| statement["Sid"] != "ManagementRoleReads");
    assert_eq!(statements.len(), before - 1);
    put(&policy);
    let denied = rehearsal.run_with(&variables, &audit);
    let document = denied.json().unwrap();
    assert_eq!(denied.code, 3, "{document:#}\n{}", denied.stderr);
    let unread = finding(&document, &management, "role-unreadable");
    let why = text(&unread["actual"]);
    for word in ["read as ourselves", "iam:GetRole", "runner iam-policy"] {
        assert!(why.contains(word), "{why}");
    }
    let but_one = json!({"asked": 9, "read": 8, "unreadable": 1});
    assert_eq!(document["audited"], but_one);
    assert_eq!(listed(&document, "skipped", "drifted"), [management]);
}

#[test]
fn a_management_account_that_nobody_enrolls_any_more_is_not_taken_for_fine() {
    let (rehearsal, management) = enrolled("");
    let config = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    let config = config.replace("management_account = true", "");
    rehearsal.write("config/runner.toml", &config);
    let document = rehearsal.audit_ends(3, &["--set", FULL]);
    let unread = finding(&document, &management, "role-unreadable");
    assert!(
        text(&unread["actual"]).contains("management_account = true"),
        "{unread:#}"
    );
    assert_eq!(document["audited"]["unreadable"], 1);
}
