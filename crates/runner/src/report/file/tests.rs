//! What is hostile in a name or a detail stays text in every form, and the numbers of the forms agree.

use std::{collections::BTreeMap, time::Duration};

use onboarding_core::{
    plan::{AccountRow, Finding, Plan, Refusal, Severity},
    status::Reason,
};

use super::*;

mod docs;
mod fixes;
mod kinds;

use crate::engine::{RunId, StepOutcome, StepRecord};

fn row(id: u64, name: &str, ou_path: &str, reason: Reason, standing: Standing) -> AccountRow {
    AccountRow {
        account: format!("{id:012}").parse().unwrap(),
        name: name.into(),
        ou_path: ou_path.into(),
        profile: "default".into(),
        targeted: true,
        standing,
        reason,
        detail: (standing == Standing::Failed).then(|| "=AWS said <no> & \u{1} \"why\"".into()),
        spot_account: None,
        policy_version: None,
        live_role: None,
    }
}

fn report() -> RunReport {
    let hostile = "=<script>alert('x')</script>";
    let accounts = vec![
        row(
            1,
            hostile,
            "Root/A&B",
            Reason::InstanceFailed,
            Standing::Failed,
        ),
        row(
            2,
            "two, \"quoted\"",
            "Root/A&B",
            Reason::Enrolled,
            Standing::Ok,
        ),
        row(3, "three", "Root", Reason::Suspended, Standing::Skipped),
        row(
            4,
            "four",
            "Root",
            Reason::LinkedToSeveral,
            Standing::Skipped,
        ),
        row(5, "five", "Root", Reason::Enrolling, Standing::Pending),
    ];
    let plan = Plan {
        accounts,
        findings: vec![Finding {
            id: "definition-drift:default".to_owned(),
            severity: Severity::Warning,
            account: None,
            account_name: None,
            ou_path: None,
            reason: "definition-drift".to_owned(),
            message: "somebody <else>".to_owned(),
            ..Finding::default()
        }],
        refusals: vec![Refusal {
            guard: "shrink-guard".to_owned(),
            message: "fewer & fewer".to_owned(),
            whole_plan: false,
        }],
        ..Plan::default()
    };
    RunReport {
        run_id: RunId::new(),
        job: "nightly".to_owned(),
        kind: "stackset-sync".to_owned(),
        dry_run: false,
        plan_before: Some(plan),
        moved: Vec::new(),
        held: None,
        plan_after: None,
        steps: vec![StepRecord {
            id: "create-stack-instances:default:1".to_owned(),
            action: "create-stack-instances".to_owned(),
            accounts: 2,
            outcome: StepOutcome::Changed,
            note: Some("1 < 2".to_owned()),
            error: None,
            attempts: 1,
            duration_ms: 1,
        }],
        error: None,
        engine_refusals: Vec::new(),
        interrupted: false,
        left_behind: Vec::new(),
        api_calls: BTreeMap::from([("organizations:ListAccounts".to_owned(), 7)]),
        duration: Duration::from_millis(1500),
        trace_id: None,
    }
}

fn written(name: &str) -> String {
    written_of(name, &report())
}

fn written_of(name: &str, report: &RunReport) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let file: ReportFile = path.to_str().unwrap().parse().unwrap();
    file.write(report, Timestamp::UNIX_EPOCH).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_extension_names_the_form() {
    for name in ["report", "report.txt", ".json", "report.json.gz"] {
        assert_eq!(name.parse::<ReportFile>(), Err(UnknownForm), "{name}");
    }
    assert!("a.b/Report.HTML".parse::<ReportFile>().is_ok());
}

#[test]
fn a_line_of_values_is_no_formula() {
    insta::assert_snapshot!(written("report.csv"));
}

#[test]
fn continuous_integration_sees_what_a_person_must_look_at() {
    let text = written("report.xml");
    let read = quick_junit::Report::deserialize(&mut text.as_bytes()).unwrap();
    // Of the accounts those that failed, are pending, and are linked twice; and a refusal and a finding.
    assert_eq!((read.failures, read.errors, read.tests), (5, 0, 9));
    insta::assert_snapshot!(text);
}

#[test]
fn the_page_needs_nothing_else_and_shows_names_as_text() {
    let page = written("report.html");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    for fetched in ["src=", "href=", "url(", "@import", "http://", "https://"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    for shown in [
        "Root/A&amp;B",
        "fewer &amp; fewer",
        "somebody &lt;else&gt;",
        "50 %",
        "organizations:ListAccounts",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

/// Findings about accounts that no targeted row is about, or whose row is as it should be.
fn of_others() -> RunReport {
    let mut report = report();
    let plan = report.plan_before.as_mut().unwrap();
    let mut outside = row(6, "six", "Root", Reason::OutsideTargets, Standing::Skipped);
    outside.targeted = false;
    plan.accounts = vec![
        row(2, "two", "Root", Reason::Enrolled, Standing::Ok),
        row(4, "four", "Root", Reason::Drifted, Standing::Skipped),
        outside,
    ];
    let about = |account: u64, reason: &str, severity| Finding {
        id: format!("{reason}:{account:012}"),
        severity,
        account: Some(format!("{account:012}").parse().unwrap()),
        reason: reason.to_owned(),
        message: format!("what is wrong with {account}"),
        fix: Some(format!("mend {account}")),
        ..Finding::default()
    };
    plan.findings = vec![
        about(2, "leftover-stack", Severity::Warning),
        about(4, "misnamed", Severity::Warning),
        about(4, "role-missing", Severity::Error),
        about(6, "role-missing", Severity::Error),
        // It left, so that it has no row.
        about(9, "departed-spot-account", Severity::Warning),
        about(9, "info", Severity::Info),
    ];
    plan.refusals.clear();
    report
}

#[test]
fn a_finding_fails_a_case_whatever_row_its_account_has() {
    let text = written_of("report.xml", &of_others());
    let read = quick_junit::Report::deserialize(&mut text.as_bytes()).unwrap();
    // One of the account that drifted, and three of the run.
    assert_eq!((read.failures, read.errors), (4, 0), "{text}");
    for told in [
        "leftover-stack:000000000002",
        "role-missing:000000000006",
        "departed-spot-account:000000000009",
        "fix: mend 4",
        "fix: mend 9",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(
        !text.contains("misnamed:000000000004"),
        "its account's case says so: {text}"
    );
}

#[test]
fn every_account_has_what_mends_it_beside_it() {
    let csv = written_of("report.csv", &of_others());
    let mut lines = ::csv::Reader::from_reader(csv.as_bytes());
    let header = lines.headers().unwrap().clone();
    let lines: Vec<_> = lines.records().map(Result::unwrap).collect();
    let value = |account: u64, column: &str| {
        let at = header.iter().position(|name| name == column).unwrap();
        let id = format!("{account:012}");
        let line = lines.iter().find(|line| line[0] == *id).unwrap();
        line[at].to_owned()
    };
    for (account, fix) in [(2, "mend 2"), (4, "mend 4"), (6, "mend 6"), (9, "mend 9")] {
        assert!(value(account, "fix").ends_with(fix), "{csv}");
    }
    assert_eq!(value(9, "reason"), "departed-spot-account");
    assert_eq!(value(9, "targeted"), "false");
    assert_eq!(value(9, "findings"), "2");
    assert_eq!(value(9, "worst_finding"), "warning");
    let document: serde_json::Value =
        serde_json::from_str(&written_of("report.json", &of_others())).unwrap();
    assert_eq!(document["skipped"][0]["fix"], "mend 4", "{document:#}");
    let html = written_of("report.html", &of_others());
    assert!(html.contains("<td>mend 4</td>"), "{html}");
}

#[test]
fn what_was_not_looked_at_again_is_in_every_form_and_in_none_fine() {
    let mut report = of_others();
    let plan = report.plan_before.as_mut().unwrap();
    let about = |account: Option<u64>, reason: &str, severity| {
        let account = account.map(|account| format!("{account:012}"));
        Finding {
            id: format!("{reason}:{}", account.as_deref().unwrap_or("all")),
            severity,
            account: account.map(|account| account.parse().unwrap()),
            account_name: Some("known".to_owned()),
            reason: reason.to_owned(),
            message: format!("what was wrong: {reason}"),
            fix: Some("mend it".to_owned()),
            first_seen: Some(0),
            last_seen: Some(86_400),
            ..Finding::default()
        }
    };
    plan.findings.clear();
    plan.not_looked_at = vec![
        about(Some(2), "policy-inline-extra", Severity::Error),
        about(Some(9), "role-missing", Severity::Error),
        about(Some(9), "tag-differs", Severity::Info),
        about(None, "product-off", Severity::Warning),
    ];

    let xml = written_of("report.xml", &report);
    let read = quick_junit::Report::deserialize(&mut xml.as_bytes()).unwrap();
    let mut suites = read.test_suites.iter();
    let run = suites.find(|suite| suite.name.as_str() == "run").unwrap();
    assert_eq!((run.failures, run.errors), (3, 0), "{xml}");
    for id in [
        "policy-inline-extra:000000000002",
        "role-missing:000000000009",
        "tag-differs:000000000009",
        "product-off:all",
    ] {
        assert!(xml.contains(id), "{id}: {xml}");
    }
    assert!(xml.contains("not looked at since 1970-01-02 00:00: what was wrong"));

    let csv = written_of("report.csv", &report);
    let mut lines = ::csv::Reader::from_reader(csv.as_bytes());
    let header = lines.headers().unwrap().clone();
    let columns = ["findings", "not_looked_at", "not_looked_at_since", "name"];
    let places = columns.map(|column| header.iter().position(|name| name == column).unwrap());
    let lines: Vec<_> = lines.records().map(Result::unwrap).collect();
    assert_eq!(
        lines.len(),
        5,
        "three rows, one that left, and one of none: {csv}"
    );
    let since = "1970-01-02 00:00";
    for (account, expected) in [
        ("000000000002", ["0", "policy-inline-extra", since, "two"]),
        ("000000000004", ["0", "", "", "four"]),
        (
            "000000000009",
            ["0", "role-missing tag-differs", since, "known"],
        ),
        ("", ["0", "product-off", since, "known"]),
    ] {
        let line = lines.iter().find(|line| &line[0] == account).unwrap();
        assert_eq!(places.map(|place| &line[place]), expected, "{csv}");
    }

    let html = written_of("report.html", &report);
    assert!(html.contains("not looked at since"), "{html}");
    let document: serde_json::Value =
        serde_json::from_str(&written_of("report.json", &report)).unwrap();
    assert_eq!(document["not_looked_at"].as_array().unwrap().len(), 4);
}
