//! JUnit XML, as continuous integration shows it: a suite for each organizational unit with a case for each targeted
//! account, and one for the run itself. Every finding that somebody should look at is in a case that fails: that of its account, or
//! else one of the run's. One that is only worth knowing is in a case of either that does not fail for it. What earlier runs found, and
//! this one did not look for again, is in cases of the run, which fail like those of findings: nobody knows that it is mended.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Finding, Severity},
    status::{Reason, Standing},
};
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::needs_attention;
use crate::{engine::RunReport, report::findings};

pub(super) fn document(report: &RunReport) -> Result<Vec<u8>, SerializeError> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    let found = findings::by_account(report.findings());
    let [mut shown, mut failing] = [BTreeSet::new(), BTreeSet::new()];
    for row in report.accounts().iter().filter(|row| row.targeted) {
        let found = found.get(&row.account).map_or(&[][..], Vec::as_slice);
        let case = of_account(row, found, report.dry_run);
        shown.insert(row.account);
        if matches!(case.status, TestCaseStatus::NonSuccess { .. }) {
            failing.insert(row.account);
        }
        suites
            .entry(&row.ou_path)
            .or_insert_with(|| TestSuite::new(&*row.ou_path))
            .add_test_case(case);
    }
    let mut document = Report::new(&report.job);
    document.set_time(report.duration);
    document.add_test_suite(of_run(report, &shown, &failing));
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
    // What drifted says no more than the reasons of its findings.
    let detail = row.detail.as_deref();
    let detail = detail.filter(|_| row.reason != Reason::Drifted || found.is_empty());
    let mut described: Vec<String> = detail.map(str::to_owned).into_iter().collect();
    described.extend(found.iter().map(|finding| line(finding)));
    described.extend(findings::own_fix(row, found).map(|fix| format!("fix: {fix}")));
    let described = (!described.is_empty()).then(|| described.join("\n"));
    // A case that succeeds has no description.
    let output = described
        .clone()
        .filter(|_| matches!(status, TestCaseStatus::Success { .. }));
    if let Some(described) = described {
        status.set_description(described);
    }
    let mut case = TestCase::new(format!("{} {}", row.account, row.name), status);
    case.set_classname(&*row.ou_path);
    if let Some(output) = output {
        case.set_system_out(output);
    }
    case
}

/// A finding in a line: how bad, since when, what, and what mends it.
fn line(finding: &Finding) -> String {
    let severity = findings::severity(finding.severity);
    let since = findings::since(finding).unwrap_or_default();
    let recorded = finding.recorded.map(findings::as_recorded);
    let recorded = recorded.map_or_else(String::new, |recorded| format!("; {recorded}"));
    let fix = finding.fix.as_deref();
    let fix = fix.map_or_else(String::new, |fix| format!("; fix: {fix}"));
    format!(
        "{severity} {} since {since}: {}{recorded}{fix}",
        finding.reason, finding.message
    )
}

/// What no account's case says: errors of the run, refusals, steps that failed, and findings, but for those of accounts whose case
/// fails. An account that left has none, nor has one that is no target; and that of one that is enrolled does not fail.
fn of_run(
    report: &RunReport,
    shown: &BTreeSet<AwsAccountId>,
    failing: &BTreeSet<AwsAccountId>,
) -> TestSuite {
    let mut suite = TestSuite::new("run");
    let audited = findings::audited(report);
    if !audited.is_empty() {
        let mut case = TestCase::new("audited", TestCaseStatus::success());
        case.set_classname(&report.job);
        case.set_system_out(audited.join("\n"));
        suite.add_test_case(case);
    }
    let mut add =
        |name: &str, kind: Option<NonSuccessKind>, message: &str, more: Option<String>| {
            let mut status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
            status.set_message(message);
            if let Some(more) = more.clone().filter(|_| kind.is_some()) {
                status.set_description(more);
            }
            let mut case = TestCase::new(name, status);
            case.set_classname(&report.job);
            if let Some(more) = more.filter(|_| kind.is_none()) {
                case.set_system_out(more);
            }
            suite.add_test_case(case);
        };
    match &report.error {
        Some(error) => add("run", Some(NonSuccessKind::Error), &error.chain(), None),
        None => add("run", None, report.status().code(), None),
    }
    for refusal in report.refusals() {
        add(
            &refusal.guard,
            Some(NonSuccessKind::Failure),
            &refusal.message,
            None,
        );
    }
    for step in &report.steps {
        let kind = step.error.map(|_| NonSuccessKind::Failure);
        let kind = kind.filter(|_| step.outcome == crate::engine::StepOutcome::Failed);
        add(
            &step.id,
            kind,
            step.note.as_deref().unwrap_or_default(),
            None,
        );
    }
    for finding in report.findings() {
        let is_serious = finding.severity >= Severity::Warning;
        let told = if is_serious { failing } else { shown };
        if finding
            .account
            .is_some_and(|account| told.contains(&account))
        {
            continue;
        }
        let kind = is_serious.then_some(NonSuccessKind::Failure);
        add(&finding.id, kind, &finding.message, Some(line(finding)));
    }
    for finding in report.not_looked_at() {
        let is_serious = finding.severity >= Severity::Warning;
        let kind = is_serious.then_some(NonSuccessKind::Failure);
        let last = findings::last(finding).unwrap_or_default();
        let message = format!("not looked at since {last}: {}", finding.message);
        let more = format!("not looked at since {last}: {}", line(finding));
        add(&finding.id, kind, &message, Some(more));
    }
    suite
}
