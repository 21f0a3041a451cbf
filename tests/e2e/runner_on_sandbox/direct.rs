//! `enrollment.provider = "direct"`: no custom resources, no topic, no queue; and the management account as a plain stack.

use rustix::process::Signal;

use super::*;

/// Nine member accounts, and nothing in the home account that a provider could be asked through.
const TEN: &str = "seed = 7\nclock_speed = 120.0\n\
                   [organization]\naccounts = 9\nous = 3\ndepth = 2\ntrusted_access = true\n\
                   [provider]\nenabled = false\n";

const DIRECT: &str = "[enrollment]\nprovider = \"direct\"\n";

const STACK_SET: &str = "spot-onboarding-default";

fn direct(scenario: &str, sections: &str, profile: &str) -> Rehearsal {
    let rehearsal = Rehearsal::new(scenario);
    rehearsal.configure(&format!("{DIRECT}{sections}"), profile, "ous = [\"root\"]");
    rehearsal
}

fn management(rehearsal: &Rehearsal) -> String {
    rehearsal
        .account_ids(|account| account["management"] == true)
        .remove(0)
}

/// Calls CloudFormation as the management account.
fn cloudformation(
    rehearsal: &Rehearsal,
    action: &str,
    input: &[(&str, &str)],
) -> anyhow::Result<String> {
    let input = [&[("Version", "2010-05-15")], input].concat();
    rehearsal
        .runtime
        .block_on(rehearsal.wire.query("cloudformation", action, &input))
}

/// Updates the stack instance of an account, with these overrides, and waits for the end.
fn update_instance(rehearsal: &Rehearsal, account: &str, overrides: &[(&str, &str)]) {
    let root = text(&rehearsal.admin("state", None)["organization"]["root"]);
    let targets = [
        ("StackSetName", STACK_SET),
        ("DeploymentTargets.OrganizationalUnitIds.member.1", &root),
        ("DeploymentTargets.Accounts.member.1", account),
        ("DeploymentTargets.AccountFilterType", "INTERSECTION"),
        ("Regions.member.1", "us-east-1"),
    ];
    let input = [&targets[..], overrides].concat();
    cloudformation(rehearsal, "UpdateStackInstances", &input).unwrap();
    rehearsal.until_operations_end();
}

#[test]
fn an_organization_of_ten_is_enrolled_without_topic_and_queue_and_a_second_run_changes_nothing() {
    let rehearsal = direct(TEN, "", "management_account = true");
    let before = rehearsal.spot_accounts();
    let all: Vec<String> = rehearsal.account_ids(|_| true);
    assert_eq!(all.len(), 10);

    let first = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&first, "changed"), 10, "{first:#}");
    rehearsal.assert_enrolled_once(&all, &before);
    let calls = rehearsal.calls();
    let messaging: Vec<_> = calls
        .keys()
        .filter(|call| call.starts_with("sqs:") || call.starts_with("sns:"))
        .collect();
    assert!(messaging.is_empty(), "{messaging:?}");
    assert_eq!(calls["cloudformation:CreateStackInstances"], 9);
    // Their role is known by its name, and is of the account.
    for account in &all {
        let role = rehearsal.links_of(account)[0].role.clone().unwrap();
        assert_eq!(
            role,
            format!("arn:aws:iam::{account}:role/{STACK_SET}-SpotRole")
        );
    }
    // Cost Intelligence was switched on for each of them.
    assert_eq!(calls["spot:POST /cbi/v1/setup/account"], 10);

    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(count(&second, "unchanged"), 10);
    assert_eq!(written(&second), Vec::<&String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn a_dry_run_shows_what_would_become_of_the_management_accounts_stack_and_leaves_nothing() {
    let rehearsal = direct(TEN, "", "management_account = true");
    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    assert_eq!(count(&dry, "planned"), 10, "{dry:#}");
    let steps = dry["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["action"] == "enroll-management-account")
        .unwrap();
    let reason = text(&step["reason"]);
    for change in [
        "add SpotRole (AWS::IAM::Role)",
        "add SpotManagedPolicy (AWS::IAM::ManagedPolicy)",
    ] {
        assert!(reason.contains(change), "{reason}");
    }
    let stack = cloudformation(&rehearsal, "DescribeStacks", &[("StackName", STACK_SET)]);
    assert!(stack.is_err(), "{stack:?}");
    assert!(!rehearsal.calls().contains_key("spot:POST /setup/account"));
    // Who only looks makes no change set.
    let calls = rehearsal.calls();
    rehearsal.run(&["status"]);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn without_the_flag_the_management_account_is_reported_and_left_alone() {
    let rehearsal = direct(TEN, "", "");
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        listed(&document, "skipped", "management-account"),
        [management(&rehearsal)]
    );
    assert_eq!(count(&document, "changed"), 9);
    assert!(
        !rehearsal
            .calls()
            .contains_key("cloudformation:CreateChangeSet")
    );
}

#[test]
fn the_management_account_is_enrolled_beside_members_that_use_the_queue() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "management_account = true", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    let first = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&first, "changed"), 9, "{first:#}");
    rehearsal.assert_enrolled_once(&rehearsal.account_ids(|_| true), &before);
    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // A policy that changed reaches its stack, too, in place.
    let path = "config/policies/cost-intelligence.json";
    let policy = fs::read_to_string(rehearsal.path(path)).unwrap();
    let mut policy: Value = serde_json::from_str(&policy).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(
        json!({"Sid": "More", "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}),
    );
    rehearsal.write(path, &policy.to_string());
    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    let shown = dry["steps"].to_string();
    assert!(
        shown.contains(
            "modify SpotinstCostIntelligencePolicy (AWS::IAM::ManagedPolicy: PolicyDocument)"
        ),
        "{shown}"
    );
    let third = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&third, "changed"), 9, "{third:#}");
    rehearsal.assert_enrolled_once(&rehearsal.account_ids(|_| true), &before);
}

#[test]
fn a_management_stack_that_fails_is_rolled_back_told_and_enrolled_once_a_person_has_mended_it() {
    let rehearsal = direct(TEN, "", "management_account = true");
    let before = rehearsal.spot_accounts();
    let name = format!("{STACK_SET}-SpotRole");
    let role = [("Version", "2010-05-08"), ("RoleName", &*name)];
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    });
    let trust = trust.to_string();
    let iam = |action: &str, input: &[(&str, &str)]| {
        let call = rehearsal.wire.query("iam", action, input);
        rehearsal.runtime.block_on(call).unwrap()
    };
    iam(
        "CreateRole",
        &[&role[..], &[("AssumeRolePolicyDocument", &*trust)]].concat(),
    );

    let (code, first) = rehearsal.sync(&[]);
    assert_eq!(code, 1, "{first:#}");
    assert_eq!(count(&first, "changed"), 9, "{first:#}");
    let failed = first["steps"].as_array().unwrap().iter();
    let failed: Vec<_> = failed.filter(|step| step["outcome"] == "failed").collect();
    let note = text(&failed[0]["note"]);
    assert!(
        note.contains("ROLLBACK_COMPLETE") && note.contains("SpotRole"),
        "{note}"
    );

    // Nothing is tried before a person has looked.
    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(3, &[]);
    assert_eq!(
        listed(&second, "skipped", "stack-blocked"),
        [management(&rehearsal)]
    );
    let message = second["findings"].to_string();
    assert!(message.contains("delete it"), "{message}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    iam("DeleteRole", &role);
    cloudformation(&rehearsal, "DeleteStack", &[("StackName", STACK_SET)]).unwrap();
    rehearsal.until("the stack is gone", || {
        let stack = cloudformation(&rehearsal, "DescribeStacks", &[("StackName", STACK_SET)]);
        stack.is_err().then_some(())
    });
    let third = rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(count(&third, "changed"), 1, "{third:#}");
    rehearsal.assert_enrolled_once(&rehearsal.account_ids(|_| true), &before);
}

#[test]
fn an_instance_without_an_external_id_is_corrected_in_place() {
    let rehearsal = direct(TEN, "", "");
    let before = rehearsal.spot_accounts();
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members().remove(0);
    let spot = rehearsal.links_of(&account).remove(0);
    update_instance(&rehearsal, &account, &[("ParameterOverrides", "")]);
    assert!(!rehearsal.links_of(&account)[0].works, "its role is gone");

    let calls = rehearsal.calls();
    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    assert_eq!(count(&dry, "planned"), 1, "{dry:#}");
    assert_eq!(
        text(&rehearsal.standing(&account)["reason"]),
        "external-id-missing"
    );
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 1, "{document:#}");
    assert_eq!(
        steps(&document),
        [format!("enroll-account:default:{account}")]
    );
    let writes = rehearsal.writes_since(&calls);
    assert!(writes.contains("cloudformation:UpdateStackInstances"));
    for never in [
        "spot:POST /setup/account",
        "spot:POST /setup/credentials/aws/externalId",
        "cloudformation:CreateStackInstances",
    ] {
        assert!(!writes.contains(never), "{writes:?}");
    }
    assert_eq!(rehearsal.links_of(&account), [spot]);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn the_adopt_rule_is_the_same_as_with_the_queue() {
    let scenario = format!("{TEN}[spot]\nlinked = 1\n");
    for (rule, reason, changed) in [
        ("keep-link", Some("enrolled-elsewhere"), 8),
        ("refuse", Some("adoption-refused"), 8),
        ("relink", None, 9),
    ] {
        let rehearsal = direct(&scenario, "", &format!("adopt = {rule:?}"));
        let spot = rehearsal.spot_accounts();
        let spot = spot.into_iter().find(|spot| spot.aws_account.is_some());
        let spot = spot.unwrap();
        let account = spot.aws_account.clone().unwrap();
        let code = if rule == "refuse" { 3 } else { 0 };
        let document = rehearsal.sync_ends(code, &[]);
        assert_eq!(count(&document, "changed"), changed, "{rule}");
        let links = rehearsal.links_of(&account);
        match reason {
            Some(reason) => {
                assert_eq!(listed(&document, "skipped", reason), [account.as_str()]);
                assert_eq!(links, [spot]);
            }
            None => {
                assert_eq!(links.len(), 1);
                assert_eq!(links[0].id, spot.id);
                assert!(links[0].works && links[0].role != spot.role, "{links:?}");
            }
        }
        let calls = rehearsal.calls();
        rehearsal.sync_ends(code, &[]);
        assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new(), "{rule}");
    }
}

#[test]
fn a_run_that_is_killed_between_spot_account_and_stack_leaves_no_second_spot_account() {
    let scenario = format!("{TEN}[spot]\nname_needs_letter = false\n");
    let rehearsal = direct(
        &scenario,
        // What was claimed by the run that is killed is free again soon.
        "[stack_set]\nmax_concurrent = 2\n[spot]\ncall_timeout = \"2s\"\n",
        "",
    );
    let before = rehearsal.spot_accounts();
    let fault = json!({"service": "cloudformation", "operation": "CreateStackInstances", "kind": "drop_before"});
    rehearsal.post("faults", &fault);
    let mut run = rehearsal.runner.start(&["exec", "stackset-sync"]).unwrap();
    rehearsal.until("two accounts are at Spot and none has a stack", || {
        run.check().unwrap();
        (rehearsal.spot_accounts().len() >= before.len() + 2
            && rehearsal
                .calls()
                .contains_key("cloudformation:CreateStackInstances"))
        .then_some(())
    });
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");
    rehearsal
        .runtime
        .block_on(rehearsal.wire.admin_delete("faults"))
        .unwrap();
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 0);

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "changed"), 9, "{next:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    assert_eq!(rehearsal.calls()["spot:POST /setup/account"], 9);
}

#[test]
fn a_run_that_is_killed_while_stacks_are_made_is_taken_up_and_finished_by_the_next_one() {
    let scenario = TEN.replace("120.0", "20.0");
    // One at a time, so that none is killed while Spot is asked to create: the next run waits minutes for what became of it.
    let rehearsal = direct(
        &scenario,
        "[stack_set]\nmax_concurrent = 1\n",
        "management_account = true",
    );
    let before = rehearsal.spot_accounts();
    let mut run = rehearsal.runner.start(&["exec", "stackset-sync"]).unwrap();
    rehearsal.until("a stack is being made", || {
        run.check().unwrap();
        (rehearsal.instances().values().sum::<u64>() > 0).then_some(())
    });
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "ok"), 10, "{next:#}");
    rehearsal.assert_enrolled_once(&rehearsal.account_ids(|_| true), &before);
}

#[test]
fn an_interrupted_run_ends_and_the_next_one_finishes() {
    let scenario = TEN.replace("120.0", "20.0");
    let rehearsal = direct(&scenario, "[stack_set]\nmax_concurrent = 2\n", "");
    let before = rehearsal.spot_accounts();
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    rehearsal.until("a stack is being made", || {
        run.check().unwrap();
        (rehearsal.instances().values().sum::<u64>() > 0).then_some(())
    });
    run.signal(Signal::INT).unwrap();
    assert_eq!(run.wait(LIMIT).unwrap(), 130, "{}", run.stderr().unwrap());
    let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_adds_up(&document);
    assert!(count(&document, "pending") > 0, "{document:#}");

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "ok"), 9, "{next:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn an_account_that_spot_refuses_stops_nobody_waits_for_its_clock_and_says_why() {
    let limited = format!("{TEN}[spot]\nenrollment = \"limited\"\nenrollment_limit = 4\n");
    let rehearsal = direct(&limited, "", "");
    let (code, first) = rehearsal.sync(&[]);
    assert_eq!(code, 1, "{first:#}");
    let failed = listed(&first, "failed", "enrollment-failed");
    assert!(!failed.is_empty() && failed.len() < 9, "{first:#}");
    assert_eq!(count(&first, "changed"), 9 - failed.len());

    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(3, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(listed(&second, "skipped", "retry-later"), failed);
    let rows = second["skipped"].as_array().unwrap();
    let waits = |row: &&Value| row["reason"] == "retry-later";
    let detail = text(&rows.iter().find(waits).unwrap()["detail"]);
    assert!(detail.contains("next try in"), "{detail}");
    assert!(detail.contains("enroll more accounts"), "{detail}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn an_account_blocked_by_a_policy_of_the_organization_is_told_and_enrolled_once_it_is_lifted() {
    let blocked = TEN.replace("depth = 2", "depth = 2\nscp_blocked = 1");
    let rehearsal = direct(&blocked, "", "");
    let before = rehearsal.spot_accounts();
    let account = rehearsal.account_ids(|account| account["scp_blocked"] == true);
    let first = rehearsal.sync_ends(3, &[]);
    assert_eq!(listed(&first, "skipped", "blocked-by-scp"), account);
    assert_eq!(count(&first, "changed"), 8);
    rehearsal.post(
        &format!("accounts/{}/scp", account[0]),
        &json!({ "blocked": false }),
    );
    let second = rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(count(&second, "changed"), 1, "{second:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn more_accounts_than_the_ceiling_are_refused_with_the_ways_out() {
    let rehearsal = direct(TEN, "direct_ceiling = 8\n", "");
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(4, &[]);
    assert_eq!(document["refusals"][0]["guard"], "direct-ceiling");
    let message = text(&document["refusals"][0]["message"]);
    for part in ["9 accounts", "allows 8", "provider = \"queue\""] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    let set = [
        "--set",
        "enrollment.direct_ceiling=9",
        "exec",
        "stackset-sync",
    ];
    assert_eq!(rehearsal.run(&set).code, 2);
}

#[test]
fn a_stack_set_keeps_its_provider() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    rehearsal.sync_ends(0, &[]);
    rehearsal.configure(DIRECT, "", "ous = [\"root\"]");
    let document = rehearsal.sync_ends(4, &[]);
    assert_eq!(document["refusals"][0]["guard"], "provider-changed");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn what_does_not_go_together_with_the_provider_is_a_configuration_error() {
    let rehearsal = Rehearsal::new(TEN);
    for (sections, profile, told) in [
        (DIRECT, "deployment = \"auto\"", "gets no external ID"),
        (
            "[enrollment]\nprovider = \"direct\"\ndeletion = \"stack\"\n",
            "",
            "no stack can delete its Spot account",
        ),
        (
            DIRECT,
            "stack_set = \"a-stack-set-whose-name-is-far-too-long-to-name-the-role-after\"",
            "named too long",
        ),
    ] {
        rehearsal.configure(sections, profile, "ous = [\"root\"]");
        let ended = rehearsal.run(&["exec", "stackset-sync"]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[test]
fn the_runners_policy_has_what_enrolling_directly_calls() {
    let rehearsal = direct(TEN, "", "management_account = true");
    let policy = rehearsal.run(&["iam-policy"]).json().unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowed: BTreeSet<String> = statements
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(text)
        .collect();
    let document = rehearsal.sync_ends(0, &[]);
    let calls = document["api_calls"].as_object().unwrap().keys();
    let missing: Vec<_> = calls
        .filter(|call| !call.starts_with("spot:") && *call != "sts:GetCallerIdentity")
        .filter(|call| !allowed.contains(*call))
        .collect();
    assert!(missing.is_empty(), "called, but not allowed: {missing:?}");
    assert!(!allowed.iter().any(|action| action.starts_with("sqs:")));
}

#[test]
fn the_audit_role_is_deployed_by_the_runner_as_well() {
    let rehearsal = Rehearsal::new(TEN);
    let organization = text(&rehearsal.admin("state", None)["organization"]["id"]);
    let audit = format!(
        "{DIRECT}[audit]\nenabled = true\nprincipals = [\"user/administrator\"]\norganization_id = {organization:?}\n"
    );
    rehearsal.configure(&audit, "", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    let first = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&first, "changed"), 9, "{first:#}");
    // Each changed account was looked at once.
    assert_eq!(first["api_calls"]["iam:GetRole"], 9, "{first:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(second["steps"], json!([]));
}

#[test]
fn accounts_that_spot_cannot_enter_for_a_policy_of_the_organization_are_told_so() {
    let scenario = TEN.replace("accounts = 9", "accounts = 3");
    let rehearsal = direct(
        &format!("{scenario}[spot]\nrcp_blocked = true\n"),
        "service_timeout = \"4s\"\n",
        "",
    );
    let first = rehearsal.sync_ends(3, &[]);
    assert_eq!(
        listed(&first, "skipped", "blocked-by-rcp").len(),
        3,
        "{first:#}"
    );
    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(3, &[]);
    assert_eq!(listed(&second, "skipped", "blocked-by-rcp").len(), 3);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}
