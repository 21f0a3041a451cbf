//! Every kind of finding there is, about an account or about none, is in every form of report; and the numbers of the forms agree.

use onboarding_core::{
    drift::DriftKind,
    drift_audit::AuditReason,
    stackset_sync::past_links::{KEPT, LEFTOVER, RELINKED},
};

use super::{
    fixes::{KINDS, about, forms},
    *,
};

/// The kinds that no list has: they are a job's own.
const OTHERS: [&str; 15] = [
    "audit-role-lacking",
    "remediation-role-lacking",
    "billing-engine-not-connected",
    "billing-engine-not-linked",
    "billing-engine-several-links",
    "files-moved-on",
    "nothing-deployed",
    "rollout-waits",
    "stack-set-targets-more",
    "user-group",
    "not-recreated",
    "recreated-not-linked",
    "unknown-spot-account",
    LEFTOVER,
    KEPT,
];

pub(super) fn kinds() -> Vec<&'static str> {
    let of_rows = Reason::ALL
        .into_iter()
        .filter(|reason| reason.standing() != Standing::Ok);
    let mut kinds: Vec<&str> = AuditReason::ALL.map(AuditReason::code).to_vec();
    kinds.extend(DriftKind::ALL.map(DriftKind::code));
    kinds.extend(of_rows.map(Reason::code));
    kinds.extend(OTHERS);
    kinds.push(RELINKED);
    kinds
}

/// One about no account, one about an account that is fine, one about one that drifted, one about one that left, one about one that stands
/// so for that very reason.
fn findings(kind: &str, severity: Severity) -> Vec<Finding> {
    let of = |account: Option<u64>| {
        let about = account.map_or_else(|| "all".to_owned(), |id| format!("{id:012}"));
        Finding {
            id: format!("{kind}:{about}"),
            severity,
            account: account.map(|_| about.parse().unwrap()),
            reason: kind.to_owned(),
            message: format!("found about {about}"),
            fix: Some(format!("mend {about}")),
            first_seen: Some(0),
            ..Finding::default()
        }
    };
    [None, Some(2), Some(4), Some(5), Some(9)].map(of).to_vec()
}

fn rows(kind: &str) -> Vec<AccountRow> {
    let own = Reason::of_code(kind).unwrap_or(Reason::StackRemains);
    vec![
        row(2, "two", "Root", Reason::Enrolled, Standing::Ok),
        row(4, "four", "Root", Reason::Drifted, Standing::Skipped),
        row(5, "five", "Root", own, own.standing()),
    ]
}

#[test]
fn every_kind_of_finding_is_in_every_form() {
    // No form goes by what the job is and what was found at once.
    for (job, kind) in KINDS.into_iter().cycle().zip(kinds()) {
        for severity in [Severity::Info, Severity::Warning, Severity::Error] {
            let findings = findings(kind, severity);
            let report = about(job, rows(kind), findings.clone());
            for (form, text) in forms(&report) {
                let at = format!("{job} {form} {kind} {severity:?}: {text}");
                assert!(text.contains(kind), "{at}");
                for finding in &findings {
                    let mended = finding.fix.as_deref().unwrap();
                    assert!(text.contains(mended), "{mended}: {at}");
                }
                assert!(text.contains("found about all"), "{at}");
            }
            agree(&report);
        }
    }
}

/// What the forms count.
fn agree(report: &RunReport) {
    let summary = report.summary();
    assert!(summary.adds_up());
    let found = report.findings().len();

    let document: serde_json::Value =
        serde_json::from_str(&written_of("report.json", report)).unwrap();
    assert_eq!(document["findings"].as_array().unwrap().len(), found);
    assert_eq!(document["summary"]["targeted"], summary.targeted);
    for (list, count) in [
        ("failed", summary.failed),
        ("pending", summary.pending),
        ("skipped", summary.skipped),
    ] {
        assert_eq!(document[list].as_array().unwrap().len(), count, "{list}");
    }

    let csv = written_of("report.csv", report);
    let mut lines = ::csv::Reader::from_reader(csv.as_bytes());
    let header = lines.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let lines: Vec<_> = lines.records().map(Result::unwrap).collect();
    let of_state = |state: &str| {
        let lines = lines.iter().filter(|line| &line[at("targeted")] == "true");
        lines.filter(|line| &line[at("state")] == state).count()
    };
    assert_eq!(
        ["ok", "failed", "skipped"].map(of_state),
        [summary.ok, summary.failed, summary.skipped],
        "{csv}"
    );
    assert_eq!(of_state("pending") + of_state("due"), summary.pending);
    let counts = lines
        .iter()
        .map(|line| line[at("findings")].parse::<usize>());
    assert_eq!(counts.map(Result::unwrap).sum::<usize>(), found, "{csv}");
    let reasons = lines.iter().map(|line| &line[at("finding_reasons")]);
    let reasons: usize = reasons.map(|line| line.split_whitespace().count()).sum();
    assert_eq!(reasons, found, "{csv}");

    let xml = written_of("report.xml", report);
    let read = quick_junit::Report::deserialize(&mut xml.as_bytes()).unwrap();
    let mut suites = read.test_suites.iter();
    let run = suites.find(|suite| suite.name.as_str() == "run").unwrap();
    assert_eq!(read.tests, run.tests + summary.targeted, "{xml}");

    let html = written_of("report.html", report);
    let targeted = format!("<b>{}</b>targeted", summary.targeted);
    assert!(html.contains(&targeted), "{html}");

    let table = crate::report::table::run(report);
    let totals = format!("{} targeted = {} ok ", summary.targeted, summary.ok);
    assert!(table.contains(&totals), "{table}");
}
