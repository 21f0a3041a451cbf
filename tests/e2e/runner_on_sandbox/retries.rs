//! Accounts that fail: the others go on, the failed ones wait for their clock, and `--retry-failed` does not wait.

use super::{audits::audited, plain_stacks::StateFile, *};

#[test]
fn an_account_blocked_by_a_service_control_policy_stops_nobody_and_is_enrolled_once_it_is_lifted() {
    let rehearsal = Rehearsal::new(&SMALL.replace("depth = 2", "depth = 2\nscp_blocked = 1"));
    let before = rehearsal.spot_accounts();
    let blocked = rehearsal.account_ids(|account| account["scp_blocked"] == true);
    let [blocked] = &blocked[..] else {
        panic!("{blocked:?}")
    };
    let first = rehearsal.sync_ends(3, &[]);
    assert_eq!(count(&first, "changed"), 7);
    assert_eq!(
        listed(&first, "skipped", "blocked-by-scp"),
        [blocked.as_str()]
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);

    // Its clock has not run out: it is skipped, and still a finding.
    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(3, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(
        listed(&second, "skipped", "blocked-by-scp"),
        [blocked.as_str()]
    );
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    rehearsal.post(
        &format!("accounts/{blocked}/scp"),
        &json!({ "blocked": false }),
    );
    // Not even a failure that no run has counted yet has to wait: as after auto-deployment, or with a new state.
    for file in ["runner.db", "runner.db-wal", "runner.db-shm"] {
        fs::remove_file(rehearsal.path(file)).ok();
    }
    let dry = rehearsal.sync_ends(3, &["--dry-run", "--retry-failed"]);
    assert_eq!(count(&dry, "planned"), 1, "{dry:#}");
    let third = rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(count(&third, "ok"), 8, "{third:#}");
    assert_eq!(count(&third, "changed"), 1, "{third:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn an_account_that_spot_does_not_let_in_waits_for_its_clock_and_says_why() {
    let limited = format!("{SMALL}[spot]\nenrollment = \"limited\"\nenrollment_limit = 3\n");
    let rehearsal = Rehearsal::new(&limited);
    let (code, first) = rehearsal.sync(&[]);
    assert_eq!(code, 1, "{first:#}");
    let failed = listed(&first, "failed", "instance-failed");
    assert!(!failed.is_empty() && failed.len() < 8, "{first:#}");
    assert_eq!(count(&first, "changed"), 8 - failed.len());

    // Nothing is tried before its time, and the run is not green: they are still not enrolled.
    let second = rehearsal.sync_ends(3, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(listed(&second, "skipped", "retry-later"), failed);
    assert_eq!(listed(&second, "findings", "retry-later"), failed);
    let rows = second["skipped"].as_array().unwrap();
    let waits = |row: &&Value| row["reason"] == "retry-later";
    let detail = text(&rows.iter().find(waits).unwrap()["detail"]);
    assert!(detail.contains("next try in"), "{detail}");

    let third = rehearsal.sync(&["--retry-failed"]).1;
    assert_eq!(listed(&third, "failed", "instance-failed"), failed);
}

#[test]
fn an_account_that_failed_too_often_is_quarantined_with_the_reason_until_a_person_says_so() {
    let limited = format!("{SMALL}[spot]\nenrollment = \"limited\"\nenrollment_limit = 3\n");
    let rehearsal = Rehearsal::new(&limited);
    rehearsal.configure(
        "[retry_failed]\nquarantine_after = 2\n",
        "",
        "ous = [\"root\"]",
    );
    let (_, first) = rehearsal.sync(&[]);
    let failed = listed(&first, "failed", "instance-failed");
    assert!(!failed.is_empty(), "{first:#}");
    let second = rehearsal.sync(&["--retry-failed"]).1;
    assert_eq!(listed(&second, "failed", "instance-failed"), failed);
    // As if its clock had run out long ago: nothing is tried any more.
    rehearsal.in_state("UPDATE account_retry SET next_due = 0");
    let calls = rehearsal.calls();
    let third = rehearsal.sync_ends(3, &[]);
    assert_eq!(third["steps"], json!([]), "{third:#}");
    assert_eq!(listed(&third, "skipped", "quarantined"), failed);
    assert_eq!(listed(&third, "findings", "quarantined"), failed);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    for row in third["skipped"].as_array().unwrap() {
        if row["reason"] == "quarantined" {
            let detail = text(&row["detail"]);
            assert!(
                detail.contains("2 ") && detail.contains("SpotAccount"),
                "{detail}"
            );
        }
    }
    let fourth = rehearsal.sync(&["--retry-failed"]).1;
    assert_eq!(listed(&fourth, "failed", "instance-failed"), failed);
}

#[test]
fn a_role_that_a_resource_control_policy_keeps_from_spot_is_a_finding_for_a_person() {
    // Real time: the provider waits for the role to spread until the stack's patience ends.
    let rehearsal = Rehearsal::new(
        "seed = 7\n[organization]\naccounts = 2\nous = 1\ndepth = 1\ntrusted_access = true\n\
         [stack_sets]\noperation_start = \"0s\"\nresource_time = \"0s\"\nlist_lag = \"0s\"\n\
         [iam]\npropagation = \"0s\"\n[spot]\nrcp_blocked = true\n",
    );
    rehearsal.configure(
        "[enrollment]\nservice_timeout = \"10s\"\n",
        "",
        "ous = [\"root\"]",
    );
    let document = rehearsal.sync_ends(3, &[]);
    let members = rehearsal.members();
    assert_eq!(
        listed(&document, "skipped", "blocked-by-rcp"),
        members,
        "{document:#}"
    );
    assert_eq!(listed(&document, "findings", "blocked-by-rcp"), members);
    let rows = document["skipped"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["account"] == members[0].as_str());
    let detail = text(&row.unwrap()["detail"]);
    assert!(detail.contains("cannot assume the role"), "{detail}");
}

#[test]
fn a_unit_that_the_remediation_role_does_not_find_stops_no_clock_of_that_role() {
    let rehearsal = Rehearsal::new(SMALL);
    let Some(state) = StateFile::of(&rehearsal) else {
        eprintln!("skipped: the state file cannot be read without Python");
        return;
    };
    audited(&rehearsal, "", "");
    let config = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    rehearsal.sync_ends(0, &[]);
    let blocked = &rehearsal.members()[0];
    rehearsal.post(
        &format!("accounts/{blocked}/scp"),
        &json!({ "blocked": true }),
    );
    let with_role = |units: &str| {
        let remediation = format!(
            "[remediation]\nenabled = true\nprincipals = [\"user/administrator\"]\n{units}"
        );
        rehearsal.write("config/runner.toml", &format!("{config}\n{remediation}"));
    };
    let clocks = || {
        state.rows(
            "SELECT account, failures, next_due FROM account_retry WHERE profile = 'remediation-role'",
        )
    };
    with_role("");
    rehearsal.sync_ends(3, &[]);
    let wound = clocks();
    assert_eq!(wound.len(), 1, "{wound:?}");
    assert_eq!(wound[0]["account"], blocked.as_str());
    // Somebody gave the unit another name.
    with_role("leftover_stacks = true\norganizational_units = [\"Root/Gone\"]\n");
    let told = rehearsal.sync_ends(3, &[]);
    let findings = told["findings"].as_array().unwrap();
    let mut reasons = findings.iter().map(|finding| text(&finding["reason"]));
    assert!(reasons.any(|reason| reason == "remediation-role-units"));
    assert_eq!(clocks(), wound);
}
