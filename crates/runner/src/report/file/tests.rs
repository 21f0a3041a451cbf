//! What is hostile in a name or a detail stays text in every form, and the numbers of the forms agree.

use std::{collections::BTreeMap, time::Duration};

use onboarding_core::{
    plan::{AccountRow, Finding, Plan, Refusal, Severity},
    status::Reason,
};

use super::*;
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
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let file: ReportFile = path.to_str().unwrap().parse().unwrap();
    file.write(&report(), Timestamp::UNIX_EPOCH).unwrap();
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
