//! JUnit XML, as continuous integration shows it: a suite for each organizational unit with a case for each targeted
//! account, and one for the run itself.

use std::collections::BTreeMap;

use onboarding_core::{
    plan::{AccountRow, Finding, Severity},
    status::{Reason, Standing},
};
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::needs_attention;
use crate::{engine::RunReport, report::findings};

pub(super) fn document(report: &RunReport) -> Result<Vec<u8>, SerializeError> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    let found = findings::by_account(report);
    for row in report.accounts().iter().filter(|row| row.targeted) {
        let found = found.get(&row.account).map_or(&[][..], Vec::as_slice);
        suites
            .entry(&row.ou_path)
            .or_insert_with(|| TestSuite::new(&*row.ou_path))
            .add_test_case(of_account(row, found, report.dry_run));
    }
    let mut document = Report::new(&report.job);
    document.set_time(report.duration);
    document.add_test_suite(of_run(report));
    document.add_test_suites(suites.into_values());
    document.to_string().map(String::into_bytes)
}

fn of_account(row: &AccountRow, found: &[&Finding], dry_run: bool) -> TestCase {
    let mut status = match row.standing {
        _ if needs_attention(row) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Standing::Ok => TestCaseStatus::success(),
        Standing::Due if dry_run => TestCaseStatus::skipped(),
        // Nothing is wrong with it, or the run itself says what is.
        Standing::Pending if row.reason == Reason::WaitsForWave => TestCaseStatus::skipped(),
        Standing::Due | Standing::Pending => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Standing::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Standing::Skipped => TestCaseStatus::skipped(),
    };
    status
        .set_type(row.reason.to_string())
        .set_message(row.reason.explanation());
    if let Some(detail) = &row.detail {
        status.set_description(&**detail);
    }
    if row.reason == Reason::Drifted {
        status.set_description(described(found));
    }
    let mut case = TestCase::new(format!("{} {}", row.account, row.name), status);
    case.set_classname(&*row.ou_path);
    case
}

/// Findings, one a line: how bad, since when, and what.
fn described(found: &[&Finding]) -> String {
    let lines = found.iter().map(|finding| {
        let severity = findings::severity(finding.severity);
        let since = findings::since(finding).unwrap_or_default();
        let recorded = finding.recorded.map(findings::as_recorded);
        let recorded = recorded.map_or_else(String::new, |recorded| format!("; {recorded}"));
        format!(
            "{severity} {} since {since}: {}{recorded}",
            finding.reason, finding.message
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What is not about one account: errors of the run, refusals, steps that failed, findings.
fn of_run(report: &RunReport) -> TestSuite {
    let mut suite = TestSuite::new("run");
    let audited = findings::audited(report);
    if !audited.is_empty() {
        let mut case = TestCase::new("audited", TestCaseStatus::success());
        case.set_classname(&report.job);
        case.set_system_out(audited.join("\n"));
        suite.add_test_case(case);
    }
    let mut add = |name: &str, kind: Option<NonSuccessKind>, message: &str| {
        let mut status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
        status.set_message(message);
        let mut case = TestCase::new(name, status);
        case.set_classname(&report.job);
        suite.add_test_case(case);
    };
    match &report.error {
        Some(error) => add("run", Some(NonSuccessKind::Error), &error.chain()),
        None => add("run", None, report.status().code()),
    }
    for refusal in report.refusals() {
        add(
            &refusal.guard,
            Some(NonSuccessKind::Failure),
            &refusal.message,
        );
    }
    for step in &report.steps {
        let kind = step.error.map(|_| NonSuccessKind::Failure);
        let kind = kind.filter(|_| step.outcome == crate::engine::StepOutcome::Failed);
        add(&step.id, kind, step.note.as_deref().unwrap_or_default());
    }
    let general = report.findings().iter().filter(|one| one.account.is_none());
    for finding in general.filter(|one| one.severity >= Severity::Warning) {
        add(&finding.id, Some(NonSuccessKind::Failure), &finding.message);
    }
    suite
}
