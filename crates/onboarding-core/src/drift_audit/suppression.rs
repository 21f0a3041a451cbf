//! Findings that somebody has accepted, for a reason and until a day. What was looked at and accepted as a warning is not accepted
//! once it has become an error.

use std::collections::BTreeSet;

use super::AuditReason;
use crate::plan::{Finding, Severity};

/// Findings that are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Their ids; a `*` at the end stands for any characters.
    pub finding: String,
    /// How bad they may be.
    pub most: Severity,
    /// Why.
    pub reason: String,
    /// Until when, in Unix seconds.
    pub until: i64,
}

impl Suppression {
    fn matches(&self, id: &str) -> bool {
        match self.finding.strip_suffix('*') {
            Some(beginning) => id.starts_with(beginning),
            None => self.finding == id,
        }
    }

    /// Whether it is about this finding as bad as it is now.
    fn covers(&self, finding: &Finding) -> bool {
        self.matches(&finding.id) && finding.severity <= self.most
    }
}

/// The ids of the findings that are accepted at a moment (Unix seconds).
pub(super) fn accepted(
    suppressions: &[Suppression],
    now: i64,
    findings: &[Finding],
) -> BTreeSet<String> {
    let is_accepted = |finding: &&Finding| {
        let mut in_force = suppressions.iter().filter(|one| now < one.until);
        in_force.any(|suppression| suppression.covers(finding))
    };
    let accepted = findings.iter().filter(is_accepted);
    accepted.map(|finding| finding.id.clone()).collect()
}

/// Makes findings that are accepted ones that are only worth knowing. A suppression that has expired is a finding itself, as
/// long as it would hide something.
pub(super) fn apply(suppressions: &[Suppression], now: i64, findings: &mut Vec<Finding>) {
    let mut expired = Vec::new();
    let before: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    for suppression in suppressions {
        let mut hides = false;
        for (finding, severity) in findings.iter_mut().zip(&before) {
            if !suppression.matches(&finding.id) {
                continue;
            }
            let covers = *severity <= suppression.most;
            hides |= covers;
            if now >= suppression.until {
                continue;
            }
            if covers {
                finding.severity = Severity::Info;
                finding.message = format!("{} (accepted: {})", finding.message, suppression.reason);
            } else {
                finding.message = format!(
                    "{} (accepted as a warning, and an error now: {})",
                    finding.message, suppression.reason
                );
            }
        }
        if hides && now >= suppression.until {
            expired.push(AuditReason::SuppressionExpired.of(
                &suppression.finding,
                format!(
                    "the suppression of {:?} ({}) has expired, and would still hide something",
                    suppression.finding, suppression.reason
                ),
                Some("needs a person: mend what it hides, or give it a later day"),
            ));
        }
    }
    findings.extend(expired);
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: i64 = 1_000;

    /// What becomes of an error, at a moment: ids and severities.
    fn judged(pattern: &str, id: &str, now: i64) -> Vec<(String, Severity)> {
        let suppression = Suppression {
            finding: pattern.to_owned(),
            most: Severity::Error,
            reason: "CHG-1".to_owned(),
            until: UNTIL,
        };
        let mut findings = vec![Finding {
            id: id.to_owned(),
            severity: Severity::Error,
            ..Finding::default()
        }];
        apply(&[suppression], now, &mut findings);
        let findings = findings.into_iter();
        findings.map(|one| (one.id, one.severity)).collect()
    }

    #[test]
    fn a_finding_is_accepted_until_a_day_and_told_again_after_it() {
        let id = "misnamed:111111111111";
        let is = |severity| (id.to_owned(), severity);
        for pattern in [id, "misnamed:*"] {
            assert_eq!(judged(pattern, id, UNTIL - 1), [is(Severity::Info)]);
            let expired = (format!("suppression-expired:{pattern}"), Severity::Warning);
            assert_eq!(judged(pattern, id, UNTIL), [is(Severity::Error), expired]);
        }
        for other in ["misnamed:1", "product-off:*", "isnamed*"] {
            assert_eq!(judged(other, id, UNTIL - 1), [is(Severity::Error)]);
            assert_eq!(judged(other, id, UNTIL), [is(Severity::Error)], "{other}");
        }
    }

    #[test]
    fn what_is_accepted_as_a_warning_is_told_once_it_is_an_error() {
        let suppression = Suppression {
            finding: "policy-inline-extra:111111111111:*".to_owned(),
            most: Severity::Warning,
            reason: "CHG-1".to_owned(),
            until: UNTIL,
        };
        let suppressions = [suppression];
        for (severity, told, is_accepted) in [
            (Severity::Info, Severity::Info, true),
            (Severity::Warning, Severity::Info, true),
            (Severity::Error, Severity::Error, false),
        ] {
            let id = "policy-inline-extra:111111111111:debug";
            let finding = Finding {
                id: id.to_owned(),
                severity,
                ..Finding::default()
            };
            let mut findings = vec![finding];
            let ids = accepted(&suppressions, UNTIL - 1, &findings);
            assert_eq!(ids.contains(id), is_accepted, "{severity:?}");
            apply(&suppressions, UNTIL - 1, &mut findings);
            assert_eq!(findings[0].severity, told);
            assert!(findings[0].message.contains("CHG-1"), "{findings:?}");
            // Nor would it hide an error once it has expired.
            findings[0].severity = severity;
            apply(&suppressions, UNTIL, &mut findings);
            assert_eq!(findings.len() == 2, is_accepted, "{findings:?}");
        }
    }
}
