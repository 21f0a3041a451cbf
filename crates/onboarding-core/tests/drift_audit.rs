//! The audit's reasons are those that its page describes, with their severities.

use std::{collections::BTreeMap, fs, path::Path};

use onboarding_core::{drift::DriftKind, drift_audit::AuditReason, plan::Severity};

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

#[test]
fn the_page_has_every_reason_with_its_severity_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/jobs/drift-audit.md");
    let page = fs::read_to_string(page).unwrap();
    // `| code | severity; when it is another | what mends it |`
    let rows = page.lines().filter_map(|line| {
        let (code, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let severity = rest.split([' ', ';']).next()?;
        Some((code, severity))
    });
    let is_reason = |(_, severity): &(&str, &str)| ["info", "warning", "error"].contains(severity);
    let described: BTreeMap<&str, &str> = rows.filter(is_reason).collect();
    let kinds = DriftKind::ALL.map(|kind| (kind.code(), word(kind.severity())));
    let others = AuditReason::ALL.map(|reason| (reason.code(), word(reason.severity())));
    // What `stackset-sync` finds about a stack set, not about an account.
    let of_sync = [("stack-set-targets-more", "warning")];
    let expected: BTreeMap<&str, &str> = kinds.into_iter().chain(others).chain(of_sync).collect();
    assert_eq!(expected.len(), kinds.len() + others.len() + of_sync.len());
    assert_eq!(described, expected);
}
