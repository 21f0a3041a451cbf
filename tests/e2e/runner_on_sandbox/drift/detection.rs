//! CloudFormation's own drift detection, beside what IAM has.

use super::*;

const PARAMS: &str = "[params]\ndepth = \"full\"\ncloudformation_drift = true\n";

const DETECT: &str = "cloudformation:DetectStackSetDrift";

impl Rehearsal {
    /// `runner --output json exec drift-audit …`, which must add up: how it ended, its document, and what it wrote.
    #[track_caller]
    fn look(&self, arguments: &[&str]) -> (i32, Value, BTreeSet<String>) {
        let before = self.calls();
        let command = [&["--output", "json", "exec", "drift-audit"], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        let mut writes = self.writes_since(&before);
        writes.remove("sts:AssumeRole");
        (ended.code, document, writes)
    }

    /// The same, which must end so.
    #[track_caller]
    fn look_ends(&self, code: i32, arguments: &[&str]) -> (Value, BTreeSet<String>) {
        let (ended, document, writes) = self.look(arguments);
        assert_eq!(ended, code, "{document:#}");
        (document, writes)
    }
}

/// What IAM and CloudFormation say of each account.
fn verdicts(document: &Value) -> BTreeMap<String, (String, String)> {
    let rows = document["verdicts"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let said = (text(&row["iam"]), text(&row["cloudformation"]["status"]));
            (text(&row["account"]), said)
        })
        .collect()
}

fn said(iam: &str, cloudformation: &str) -> (String, String) {
    (iam.to_owned(), cloudformation.to_owned())
}

/// Adds an inline policy to the role of an account.
fn add_a_policy(rehearsal: &Rehearsal, account: &str) {
    let role = linked_role(rehearsal, account);
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let policy = policy.to_string();
    let input = [
        ("RoleName", &*role),
        ("PolicyName", "stray"),
        ("PolicyDocument", &*policy),
    ];
    rehearsal.iam(account, "PutRolePolicy", &input);
}

#[test]
fn both_verdicts_stand_side_by_side_and_in_sync_hides_no_policy_that_was_added() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(PARAMS);
    let members = rehearsal.members();
    let [added, gone, ..] = &members[..] else {
        panic!("{members:?}");
    };
    add_a_policy(&rehearsal, added);
    rehearsal.delete_role(gone);

    // A dry run asks nobody, and says that nobody was asked before.
    let (dry, writes) = rehearsal.look_ends(3, &["--dry-run"]);
    assert_eq!(writes, BTreeSet::new());
    assert_eq!(steps(&dry), ["detect-drift:default"]);
    let mut expected: BTreeMap<String, _> = members
        .iter()
        .map(|account| (account.clone(), said("as-meant", "NOT_CHECKED")))
        .collect();
    expected.insert(added.clone(), said("differs", "NOT_CHECKED"));
    expected.insert(gone.clone(), said("differs", "NOT_CHECKED"));
    assert_eq!(verdicts(&dry), expected);

    let (looked, writes) = rehearsal.look_ends(3, &[]);
    assert_eq!(writes, BTreeSet::from([DETECT.to_owned()]));
    // Who looks changes nothing.
    assert_eq!(looked["steps"][0]["outcome"], "unchanged", "{looked:#}");
    for (_, cloudformation) in expected.values_mut() {
        *cloudformation = "IN_SYNC".to_owned();
    }
    expected.insert(gone.clone(), said("differs", "DRIFTED"));
    assert_eq!(verdicts(&looked), expected);
    let stray = finding(&looked, added, "policy-inline-extra");
    assert_eq!(stray["cloudformation"]["status"], "IN_SYNC", "{stray:#}");
    assert!(stray["cloudformation"]["checked_at"].is_i64());
    assert_eq!(stray["severity"], "error");
    let reasons = pairs(&[
        (added, "policy-inline-extra"),
        (gone, "role-missing"),
        (gone, "cloudformation-drifted"),
        (gone, "cost-intelligence-not-connected"),
    ]);
    assert_eq!(found(&looked), reasons, "{looked:#}");
    let drifted = finding(&looked, gone, "cloudformation-drifted");
    let fix = text(&drifted["fix"]);
    let operation = fix.split("--operation-id ").nth(1).unwrap();
    assert!(operation.starts_with("spot-onboarding-drift-"), "{fix}");
    assert_eq!(count(&looked, "unchanged"), members.len() - 2);

    // It has just looked: the same is said again, and it is not asked.
    let (again, writes) = rehearsal.look_ends(3, &[]);
    assert_eq!(writes, BTreeSet::new());
    assert_eq!(again["steps"], json!([]));
    assert_eq!(verdicts(&again), expected);
    let age = ["--set", "params.cloudformation_drift_max_age=0s"];
    let (_, writes) = rehearsal.look_ends(3, &age);
    assert_eq!(writes, BTreeSet::from([DETECT.to_owned()]));

    // People and other programs read both.
    let ended = rehearsal.run(&["exec", "drift-audit", "--report", "report.csv"]);
    assert!(
        ended
            .stdout
            .contains("CloudFormation says IN_SYNC (checked "),
        "{}",
        ended.stdout
    );
    let csv = fs::read_to_string(rehearsal.path("report.csv")).unwrap();
    let line = csv.lines().find(|line| line.starts_with(added)).unwrap();
    assert!(line.contains(",differs,IN_SYNC,"), "{line}");

    // Switched off, nothing is said of it.
    rehearsal.define_audit("[params]\ndepth = \"full\"");
    let (off, _) = rehearsal.look_ends(3, &[]);
    assert_eq!(off["verdicts"], Value::Null);
    assert_eq!(
        finding(&off, added, "policy-inline-extra")["cloudformation"],
        Value::Null
    );
}

#[test]
fn nothing_is_started_while_another_operation_is_going_on() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit("[params]\ncloudformation_drift = true\n");
    // Slow enough for an operation to be seen, which is then held.
    rehearsal.post("clock", &json!({ "speed": 1.0 }));
    let root = text(&rehearsal.admin("state", None)["organization"]["root"]);
    let set = [
        ("Version", "2010-05-15"),
        ("StackSetName", "spot-onboarding-default"),
    ];
    let ask = |action: &str, input: &[(&str, &str)]| {
        let input = [&set[..], input].concat();
        let asked = rehearsal.wire.query("cloudformation", action, &input);
        rehearsal.runtime.block_on(asked).unwrap()
    };
    let targets = [
        ("DeploymentTargets.OrganizationalUnitIds.member.1", &*root),
        ("Regions.member.1", "us-east-1"),
    ];
    ask("UpdateStackInstances", &targets);
    rehearsal.until("the operation is listed", || {
        let listed = ask("ListStackSetOperations", &[]);
        listed.contains("<Status>RUNNING<").then_some(())
    });
    rehearsal.post("clock", &json!({ "speed": 0.0 }));
    let (busy, writes) = rehearsal.look_ends(0, &[]);
    assert_eq!(busy["steps"], json!([]), "{busy:#}");
    assert_eq!(writes, BTreeSet::new());
    let findings = busy["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding["reason"] == "operation-running"),
        "{busy:#}"
    );
    // At full depth, the accounts that the operation works on, or is to, are not looked into, and that is told of each.
    let full = ["--set", "params.depth=full"];
    let (unread, _) = rehearsal.look_ends(3, &full);
    let members = rehearsal.members();
    let audited = &unread["audited"];
    assert_eq!(audited["asked"], members.len(), "{unread:#}");
    let waiting = listed(&unread, "skipped", "enrolling");
    assert!(!waiting.is_empty(), "{unread:#}");
    assert_eq!(audited["unreadable"], waiting.len(), "{unread:#}");
    let expected = waiting.iter().map(|account| (account, "role-unreadable"));
    assert_eq!(found(&unread), pairs(&expected.collect::<Vec<_>>()));
    rehearsal.post("clock", &json!({ "speed": 120.0 }));
    rehearsal.until_operations_end();
    rehearsal.look_ends(0, &full);
    let (_, writes) = rehearsal.look_ends(0, &["--set", "params.cloudformation_drift_max_age=0s"]);
    assert_eq!(writes, BTreeSet::from([DETECT.to_owned()]));
}
