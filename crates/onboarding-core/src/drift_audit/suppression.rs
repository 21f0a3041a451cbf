//! Findings that somebody has accepted, for a reason and until a day.

use super::AuditReason;
use crate::plan::{Finding, Severity};

/// Findings that are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Their ids; a `*` at the end stands for any characters.
    pub finding: String,
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
}

/// Whether the finding with this id is accepted at a moment (Unix seconds).
pub(super) fn is_accepted(suppressions: &[Suppression], now: i64, id: &str) -> bool {
    let mut in_force = suppressions.iter().filter(|one| now < one.until);
    in_force.any(|suppression| suppression.matches(id))
}

/// Makes findings that are accepted ones that are only worth knowing. A suppression that has expired is a finding itself, as
/// long as it would hide something.
pub(super) fn apply(suppressions: &[Suppression], now: i64, findings: &mut Vec<Finding>) {
    let mut expired = Vec::new();
    for suppression in suppressions {
        let mut hides = false;
        for finding in findings
            .iter_mut()
            .filter(|finding| suppression.matches(&finding.id))
        {
            hides = true;
            if now < suppression.until {
                finding.severity = Severity::Info;
                finding.message = format!("{} (accepted: {})", finding.message, suppression.reason);
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
}
