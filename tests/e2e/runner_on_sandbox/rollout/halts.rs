//! Rollouts that do not come to their end: gates that are not passed, accounts that go wrong, and what is refused before anything
//! begins.

use super::*;
use crate::runner_on_sandbox::{
    drift::finding,
    notify::{Got, Receiver, always_ok},
};

#[test]
fn a_gate_that_is_not_passed_halts_and_the_way_back_is_a_plan() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let waves = |soak: &str| {
        let first = format!("accounts = [{:?}]", members[0]);
        let second = format!(
            "accounts = [{:?}, {:?}, {:?}]\nsoak = {soak:?}",
            members[1], members[2], members[3]
        );
        rehearsal.define_rollout("", &[("one", &first), ("two", &second), ("all", "")]);
    };
    waves("1h");
    rehearsal.roll(0);
    let before = rehearsal.all_in_iam();
    rehearsal.widen();
    rehearsal.waits();
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 4);

    // While it soaks, somebody gives a role of the second wave something else: IAM is not what the version means.
    let tampered = &members[2];
    let name = linked_role(&rehearsal, tampered);
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let input = [
        ("RoleName", &*name),
        ("PolicyName", "stray"),
        ("PolicyDocument", &*anything.to_string()),
    ];
    in_account(&rehearsal, tampered, "iam", "PutRolePolicy", &input).unwrap();
    waves("0s");
    let halted = rehearsal.roll(1);
    let step = &halted["steps"][0];
    assert_eq!(step["id"], "check-wave:default:two", "{halted:#}");
    assert_eq!(step["outcome"], "failed");
    assert!(text(&step["note"]).contains(tampered), "{step:#}");
    assert!(text(&step["note"]).contains("s3:*"), "{step:#}");
    assert_eq!(rehearsal.rollout()["phase"], "halted");

    // It stays so, whoever runs.
    let calls = rehearsal.calls();
    let refused = rehearsal.roll(4);
    assert_eq!(
        refused["refusals"][0]["guard"], "rollout-halted",
        "{refused:#}"
    );
    rehearsal.sync_ends(0, &[]);
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes
            .iter()
            .any(|call| call.starts_with("cloudformation:")),
        "{writes:?}"
    );
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 4);

    // Back: as a plan first, with what it takes from whom.
    let decided = rehearsal.policy(
        0,
        &["rollback", "default", "--as", "ada", "--comment", "CHG-1"],
    );
    assert!(decided.stdout.contains("ada: CHG-1"), "{}", decided.stdout);
    let planned = rehearsal.run(&["plan", "policy-rollout"]);
    assert_eq!(planned.code, 3, "{}", planned.stderr);
    for words in [
        "revert:default",
        "unstage:default",
        "- glacier:ListVaults on *",
        tampered,
    ] {
        assert!(
            planned.stdout.contains(words),
            "{words}: {}",
            planned.stdout
        );
    }
    let back = rehearsal.roll(0);
    assert_eq!(count(&back, "ok"), 12, "{back:#}");
    let after = rehearsal.all_in_iam();
    assert_eq!(having_next(&after), BTreeSet::new());
    let documents = |all: &BTreeMap<String, Policies>| -> BTreeMap<String, Vec<Value>> {
        let of = |policies: &Policies| {
            policies
                .values()
                .map(|(_, document)| document.clone())
                .collect()
        };
        all.iter()
            .map(|(account, policies)| (account.clone(), of(policies)))
            .collect()
    };
    assert_eq!(documents(&before), documents(&after));
    assert_eq!(rehearsal.rollout()["phase"], "rolled-back");
    assert!(!rehearsal.template().contains("PolicyVersionIsNext"));

    // What was rolled back is not begun again by itself.
    let refused = rehearsal.roll(4);
    assert_eq!(
        refused["refusals"][0]["guard"], "version-rejected",
        "{refused:#}"
    );
    rehearsal.policy(0, &["resume", "default"]);
    assert_eq!(count(&rehearsal.roll(0), "ok"), 12);
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 12);
}

#[test]
fn an_account_in_which_the_update_is_denied_halts_the_wave_and_can_be_resumed() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let denied = &members[4];
    let first = format!("accounts = [{:?}]", members[0]);
    let second = format!(
        "accounts = [{:?}, {denied:?}, {:?}]\nconcurrency = 1",
        members[3], members[5]
    );
    rehearsal.define_rollout("", &[("one", &first), ("two", &second), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.post(&format!("accounts/{denied}/scp"), &json!({"blocked": true}));
    let halted = rehearsal.roll(1);
    assert_eq!(count(&halted, "failed"), 1, "{halted:#}");
    let rollout = rehearsal.rollout();
    assert_eq!(rollout["phase"], "halted", "{rollout:#}");
    assert!(
        text(&rollout["halted"][0]).contains("service control policy"),
        "{rollout:#}"
    );
    let having = having_next(&rehearsal.all_in_iam());
    assert!(having.len() <= 3 && !having.contains(denied), "{having:?}");
    // However long it stays halted, nobody says that all is well: that account was left half-way, and its role is not looked at.
    let name = linked_role(&rehearsal, denied);
    let stray = [("RoleName", &*name), ("PolicyName", "stray")];
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]});
    let anything = anything.to_string();
    let put = [&stray[..], &[("PolicyDocument", &*anything)]].concat();
    let scp = |blocked: bool| {
        let path = format!("accounts/{denied}/scp");
        rehearsal.post(&path, &json!({ "blocked": blocked }));
    };
    scp(false);
    in_account(&rehearsal, denied, "iam", "PutRolePolicy", &put).unwrap();
    scp(true);
    let full = ["--set", "params.depth=full"];
    let audit = rehearsal.audit_ends(3, &full);
    let unread = finding(&audit, denied, "role-unreadable");
    assert!(text(&unread["actual"]).contains("half-way"), "{unread:#}");
    assert_eq!(audit["audited"]["asked"], 12, "{audit:#}");
    assert!(listed(&audit, "skipped", "rolling-out").contains(denied));
    let coverage = rehearsal.audit_ends(3, &[]);
    assert_eq!(
        finding(&coverage, denied, "rolling-out")["severity"],
        "warning"
    );
    // Nobody goes on with it behind the halt: not even with what failed or was not reached.
    rehearsal.roll(4);
    let sync = rehearsal.sync_ends(0, &["--retry-failed"]);
    assert!(
        listed(&sync, "skipped", "rolling-out").contains(denied),
        "{sync:#}"
    );
    // Not with a change of the stack set that has nothing to do with policies either: any update works on all that is left.
    let config = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    let described = format!("{config}\n[stack_set]\ndescription = \"another\"\n");
    rehearsal.write("config/runner.toml", &described);
    let sync = rehearsal.sync_ends(4, &[]);
    assert_eq!(sync["refusals"][0]["guard"], "rollout-open", "{sync:#}");
    assert_eq!(having_next(&rehearsal.all_in_iam()), having);
    rehearsal.write("config/runner.toml", &config);
    scp(false);
    in_account(&rehearsal, denied, "iam", "DeleteRolePolicy", &stray).unwrap();
    rehearsal.policy(0, &["resume", "default"]);
    let done = rehearsal.roll(0);
    assert_eq!(count(&done, "ok"), 12, "{done:#}");
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 12);
}

#[test]
fn a_rollout_that_is_halted_is_told_once_and_not_as_a_run_that_failed() {
    let rehearsal = enrolled(&[]);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.by_file(&rehearsal, "on-call", "");
    audited(&rehearsal, &target, "");
    let denied = &rehearsal.members()[0];
    let first = format!("accounts = [{denied:?}]");
    rehearsal.define_rollout("", &[("one", &first), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.post(&format!("accounts/{denied}/scp"), &json!({"blocked": true}));
    let halted = rehearsal.roll(1);
    assert_eq!(rehearsal.rollout()["phase"], "halted", "{halted:#}");
    // It stays so.
    rehearsal.roll(4);
    let got = receiver.got();
    let told: Vec<Value> = got.iter().map(Got::document).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    got[0].assert_signed();
    assert_eq!(told[0]["type"], "rollout-halted", "{told:#?}");
    let data = &told[0]["data"];
    assert_eq!(data["run_id"], halted["run_id"]);
    assert!(
        text(&data["text"]).contains("the rollout is halted"),
        "{data:#}"
    );
}

#[test]
fn after_an_operation_in_which_too_many_failed_there_is_no_other() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let [denied, other, apart, ..] = &members[..] else {
        panic!("{members:?}")
    };
    // What instances override together goes in one operation: this one has another one.
    rehearsal.give_override(apart, "RepairNonce", "1");
    let first = format!("accounts = [{denied:?}, {other:?}, {apart:?}]\nconcurrency = 3");
    rehearsal.define_rollout("", &[("one", &first), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.post(&format!("accounts/{denied}/scp"), &json!({"blocked": true}));
    rehearsal.roll(1);
    assert_eq!(rehearsal.rollout()["phase"], "halted");
    assert!(!is_next(&rehearsal.in_iam(apart)));
    assert_eq!(rehearsal.overrides(apart), ["RepairNonce"]);
    rehearsal.post(
        &format!("accounts/{denied}/scp"),
        &json!({"blocked": false}),
    );
    rehearsal.policy(0, &["resume", "default"]);
    rehearsal.roll(0);
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 12);
    assert_eq!(rehearsal.overrides(apart), ["RepairNonce"]);
}

#[test]
fn an_account_that_could_not_be_updated_at_the_end_is_no_success() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let denied = &members[2];
    rehearsal.define_rollout("", &[("all", "failures = 1\ntolerance = \"soft\"")]);
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.post(&format!("accounts/{denied}/scp"), &json!({"blocked": true}));
    let ended = rehearsal.roll(1);
    let last = ended["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["id"], "clear-overrides:default", "{ended:#}");
    assert_eq!(last["outcome"], "failed", "{ended:#}");
    assert!(text(&last["note"]).contains(denied), "{ended:#}");
    assert_eq!(rehearsal.rollout()["phase"], "done");
    rehearsal.post(
        &format!("accounts/{denied}/scp"),
        &json!({"blocked": false}),
    );
    rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 12);
}

#[test]
fn an_override_that_was_left_keeps_a_version_of_its_name_from_being_staged() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let [one, kept, ..] = &members[..] else {
        panic!("{members:?}")
    };
    let first = format!("accounts = [{one:?}, {kept:?}]\nsoak = \"1h\"");
    let waves = |params: &str| rehearsal.define_rollout(params, &[("one", &first), ("all", "")]);
    waves("");
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.waits();
    let version = text(&rehearsal.rollout()["to"]);
    // Suspended when the rollout goes back: AWS passes it by.
    rehearsal.post(&format!("accounts/{kept}/suspend"), &json!({}));
    rehearsal.policy(0, &["rollback", "default"]);
    rehearsal.roll(0);
    assert_eq!(rehearsal.rollout()["phase"], "rolled-back");
    rehearsal.post(&format!("accounts/{kept}/activate"), &json!({}));
    rehearsal.give_override(kept, "PolicyVersion", &version);
    assert!(!is_next(&rehearsal.in_iam(kept)));

    rehearsal.policy(0, &["resume", "default"]);
    let refused = rehearsal.roll(4);
    let refusal = &refused["refusals"][0];
    assert_eq!(refusal["guard"], "versions-do-not-fit", "{refused:#}");
    assert!(text(&refusal["message"]).contains(kept), "{refused:#}");
    assert_eq!(having_next(&rehearsal.all_in_iam()), BTreeSet::new());
    // Under another name it is nobody's yet.
    waves("version = \"2027b\"");
    rehearsal.waits();
    let both = BTreeSet::from([one.clone(), kept.clone()]);
    assert_eq!(having_next(&rehearsal.all_in_iam()), both);
}

#[test]
fn a_version_with_which_cost_intelligence_would_not_work_comes_no_further_than_its_first_wave() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let first = format!("accounts = [{:?}]", members[0]);
    rehearsal.define_rollout("ask_spot = true", &[("one", &first), ("all", "")]);
    rehearsal.roll(0);
    let mut document: Value =
        serde_json::from_str(&fs::read_to_string(rehearsal.path(COSTS)).unwrap()).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.push(
        json!({"Sid": "No", "Effect": "Deny", "Action": "ec2:DescribeInstances", "Resource": "*"}),
    );
    rehearsal.write(COSTS, &document.to_string());
    let halted = rehearsal.roll(1);
    let note = text(&halted["steps"][2]["note"]);
    assert!(
        note.contains("Cost Intelligence") && note.contains(&members[0]),
        "{halted:#}"
    );
    assert_eq!(rehearsal.rollout()["phase"], "halted");
    assert_eq!(rehearsal.rollout()["waves"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_rolled_out_is_said_before_anything_begins() {
    let rehearsal = enrolled(&[("nobody", "accounts = [\"999999999999\"]"), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    let calls = rehearsal.calls();
    let refused = |guard: &str, words: &str| {
        let document = rehearsal.roll(4);
        assert_eq!(document["refusals"][0]["guard"], guard, "{document:#}");
        let message = text(&document["refusals"][0]["message"]);
        assert!(message.contains(words), "{message}");
        let writes = rehearsal.writes_since(&calls);
        assert!(
            !writes
                .iter()
                .any(|call| call.starts_with("cloudformation:")),
            "{writes:?}"
        );
    };
    refused("empty-wave", "nobody");
    // Outside the window, nothing begins.
    let closed = "window = { days = [\"mon\"], hours = \"00:00-00:01\" }";
    rehearsal.define_rollout(closed, &[("all", "")]);
    let waits = rehearsal.waits();
    assert!(
        text(&waits["findings"][0]["message"]).contains("change window"),
        "{waits:#}"
    );
    // A statement that grew would have to move to another managed policy.
    rehearsal.define_rollout("", &[("all", "")]);
    let file = "config/policies/spot-elastigroup-ocean.json";
    let mut document: Value =
        serde_json::from_str(&fs::read_to_string(rehearsal.path(file)).unwrap()).unwrap();
    let more: Vec<String> = (0..20).map(|n| format!("glacier:Action{n}")).collect();
    document["Statement"][0]["Action"] = json!(more);
    rehearsal.write(file, &document.to_string());
    refused("versions-do-not-fit", "missing for a moment");
    let broken = |params: &str, waves: &[(&str, &str)], words: &str| {
        rehearsal.define_rollout(params, waves);
        let ended = rehearsal.run(&["exec", "policy-rollout"]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    };
    broken(
        "",
        &[("all", ""), ("more", "percent = 5")],
        "selects nothing",
    );
    broken("version = \"2027-a\"", &[("all", "")], "letters and digits");
    // A job file that is broken does not let go of what is kept.
    let sync = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&sync, "unchanged"), 12, "{sync:#}");
}
