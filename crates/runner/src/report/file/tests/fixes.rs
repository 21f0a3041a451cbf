//! Whoever reads of an account that can be mended reads in every form what mends it.

use super::*;

/// The kinds of jobs whose rows have reasons of the closed set.
pub(super) const KINDS: [&str; 5] = [
    "stackset-sync",
    "enroll",
    "drift-audit",
    "policy-rollout",
    "orphan-cleanup",
];

/// A report in each of the five forms, with what the form writes otherwise as it was.
pub(super) fn forms(report: &RunReport) -> [(&'static str, String); 5] {
    let plain = |text: String| {
        text.replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&gt;", ">")
            .replace("\\\"", "\"")
            .replace("\"\"", "\"")
    };
    let file = |name: &'static str| (name, plain(written_of(name, report)));
    [
        ("table", crate::report::table::run(report)),
        ("report.csv", written_of("report.csv", report)),
        file("report.json"),
        file("report.xml"),
        file("report.html"),
    ]
}

/// A report of a job of a kind, about these rows and findings and nothing else.
pub(super) fn about(kind: &str, accounts: Vec<AccountRow>, findings: Vec<Finding>) -> RunReport {
    let plan = Plan {
        accounts,
        findings,
        ..Plan::default()
    };
    RunReport {
        kind: kind.to_owned(),
        plan_before: Some(plan),
        steps: Vec::new(),
        ..report()
    }
}

/// What mends the one account, as a form says it.
fn told(form: &str, text: &str) -> Vec<String> {
    let between = |before: &str, after: &str| -> Vec<String> {
        let parts = text.split(before).skip(1);
        let parts = parts.filter_map(|rest| rest.split(after).next());
        parts.map(str::to_owned).collect()
    };
    let mut told = match form {
        "report.json" => between("\"fix\": \"", "\"\n"),
        "report.xml" => between("fix: ", "</"),
        "report.html" => {
            let rows = between("<code>000000000007</code>", "</td></tr>");
            let fixes = rows.iter().filter_map(|row| row.rsplit("<td>").next());
            fixes.map(str::to_owned).collect()
        }
        "report.csv" => {
            let mut lines = ::csv::Reader::from_reader(text.as_bytes());
            let at = lines
                .headers()
                .unwrap()
                .iter()
                .position(|name| name == "fix");
            let lines = lines.records().map(Result::unwrap);
            lines.map(|line| line[at.unwrap()].to_owned()).collect()
        }
        _ => between("fix: ", "\n"),
    };
    told.retain(|fix| !fix.is_empty());
    told
}

#[test]
fn every_reason_that_can_be_mended_is_told_with_what_mends_it() {
    for kind in KINDS {
        for reason in Reason::ALL {
            let account = row(7, "seven", "Root", reason, reason.standing());
            let report = about(kind, vec![account], Vec::new());
            for (form, text) in forms(&report) {
                let at = format!("{kind} {form} {reason}: {text}");
                assert!(
                    text.contains(reason.code()) || reason.fix().is_none(),
                    "{at}"
                );
                let fix: Vec<&str> = reason.fix().into_iter().collect();
                assert_eq!(told(form, &text), fix, "{at}");
            }
        }
    }
}

#[test]
fn what_a_finding_says_takes_the_place_of_what_the_reason_does() {
    for kind in KINDS {
        let account = row(7, "seven", "Root", Reason::NotLinked, Standing::Skipped);
        let finding = Finding {
            id: "not-linked:000000000007".to_owned(),
            severity: Severity::Error,
            account: Some(account.account),
            reason: Reason::NotLinked.code().to_owned(),
            message: "it is not".to_owned(),
            fix: Some("enroll alone".to_owned()),
            ..Finding::default()
        };
        let report = about(kind, vec![account], vec![finding]);
        for (form, text) in forms(&report) {
            assert!(text.contains("enroll alone"), "{kind} {form}: {text}");
            let by_reason = Reason::NotLinked.fix().unwrap();
            assert!(!text.contains(by_reason), "{kind} {form}: {text}");
        }
    }
}

#[test]
fn a_step_that_is_planned_is_what_mends_an_account_on_the_terminal() {
    let account = row(7, "seven", "Root", Reason::MissingInstance, Standing::Due);
    let mut report = about("stackset-sync", vec![account], Vec::new());
    assert!(crate::report::table::run(&report).contains("  fix: stackset-sync\n"));
    report.dry_run = true;
    let table = crate::report::table::run(&report);
    assert!(!table.contains("fix:"), "{table}");
}

#[test]
fn what_accounts_have_in_common_is_said_once() {
    let mut rows: Vec<AccountRow> = [6, 7]
        .map(|id| row(id, "name", "Root", Reason::WaitsForWave, Standing::Pending))
        .into();
    let table = |rows: &[AccountRow]| {
        let report = about("policy-rollout", rows.to_vec(), Vec::new());
        crate::report::table::run(&report)
    };
    for row in &mut rows {
        row.detail = Some("wave \"canary\" soaks".into());
    }
    assert_eq!(table(&rows).matches("soaks").count(), 1);
    rows[1].detail = Some("it soaks longer".into());
    assert_eq!(table(&rows).matches("soaks").count(), 2);
}
