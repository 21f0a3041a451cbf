//! The gates of a wave: what must be so before the next one begins.
//!
//! CloudFormation's word, row by row; what IAM has in each account, beside what the template means for it; the link to Spot, as
//! far as it can be known without posting it anew: the role that Spot uses is the live one and trusts it; and nothing differs
//! that did not before. What could not be read has not passed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Outcome, WaveProgress};
use crate::{
    drift::{Drift, DriftKind, Subject, findings},
    ids::AwsAccountId,
    plan::{Finding, Severity},
};

/// What was looked at for a wave.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// How the role of each account differs from what the template means for it; nothing where nothing differs.
    pub drifts: BTreeMap<AwsAccountId, Vec<Drift>>,
    /// Accounts that have no stack instance any more, or are not active: nothing can be said about them, and nothing is asked.
    pub gone: BTreeSet<AwsAccountId>,
    /// Accounts whose link is not ours to judge.
    pub kept: BTreeSet<AwsAccountId>,
    /// Whether accounts were asked at all.
    pub is_read: bool,
}

/// What the gates say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Why not, by account.
    pub problems: BTreeMap<AwsAccountId, Vec<String>>,
}

impl Verdict {
    /// Whether the wave has passed: at most so many accounts may have problems.
    #[must_use]
    pub fn passes(&self, failures: usize) -> bool {
        self.problems.len() <= failures
    }

    /// Why it has not, one line for each account, as many as a person reads.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        const MOST: usize = 20;
        let lines = self.problems.iter().take(MOST);
        let mut lines: Vec<String> = lines
            .map(|(account, problems)| format!("{account}: {}", problems.join("; ")))
            .collect();
        if self.problems.len() > MOST {
            lines.push(format!("and {} more accounts", self.problems.len() - MOST));
        }
        lines
    }
}

/// Judges a wave.
#[must_use]
pub fn judge(wave: &WaveProgress, evidence: &Evidence) -> Verdict {
    let mut problems: BTreeMap<AwsAccountId, Vec<String>> = BTreeMap::new();
    for (account, member) in &wave.sweep.members {
        let why = member.reason.as_deref().unwrap_or("no reason given");
        let problem = match member.outcome {
            Outcome::Updated => None,
            Outcome::Failed => Some(format!("its update failed: {why}")),
            Outcome::Cancelled => Some(format!("its update was not reached: {why}")),
            Outcome::Due => Some("it was not updated".to_owned()),
            // It left, or has another stack by now: a later wave is for it.
            Outcome::Gone => continue,
        };
        if evidence.gone.contains(account) {
            continue;
        }
        let mut found: Vec<String> = problem.into_iter().collect();
        let is_judged = evidence.is_read && !evidence.kept.contains(account);
        match evidence.drifts.get(account) {
            Some(drifts) => found.extend(differing(*account, drifts, &wave.known)),
            None if is_judged && member.outcome == Outcome::Updated => {
                found.push(
                    "it could not be asked: its link to Spot is gone, or its stack is not current"
                        .to_owned(),
                );
            }
            None => {}
        }
        if !found.is_empty() {
            problems.insert(*account, found);
        }
    }
    Verdict { problems }
}

/// Judges accounts that were put back: whether the managed policies are what the good version means. What else differs was not
/// the rollout's doing, and is not undone by going back.
#[must_use]
pub fn judge_put_back(evidence: &Evidence) -> Verdict {
    let problems = evidence.drifts.iter().filter_map(|(account, drifts)| {
        let policies = drifts.iter().filter(|drift| {
            matches!(
                drift.kind,
                DriftKind::PolicyDocumentDiffers | DriftKind::PolicyDetached
            )
        });
        let policies: Vec<Drift> = policies.cloned().collect();
        let messages = findings_of(*account, &policies).into_iter();
        let messages: Vec<String> = messages.map(|finding| finding.message).collect();
        (!messages.is_empty()).then_some((*account, messages))
    });
    Verdict {
        problems: problems.collect(),
    }
}

/// What differs in an account that did not before, and what must never differ after an update.
fn differing<'a>(
    account: AwsAccountId,
    drifts: &'a [Drift],
    known: &'a BTreeSet<String>,
) -> impl Iterator<Item = String> + 'a {
    let findings = findings_of(account, drifts);
    let found = drifts.iter().zip(findings);
    found
        .filter(|(drift, finding)| {
            let is_serious = finding.severity >= Severity::Warning;
            is_serious && (drift.kind.is_of_a_version() || !known.contains(&finding.id))
        })
        .map(|(_, finding)| finding.message)
}

/// The ids of what differs in accounts.
#[must_use]
pub fn ids(drifts: &BTreeMap<AwsAccountId, Vec<Drift>>) -> BTreeSet<String> {
    let findings = drifts
        .iter()
        .flat_map(|(account, drifts)| findings_of(*account, drifts));
    findings.map(|finding| finding.id).collect()
}

fn findings_of(account: AwsAccountId, drifts: &[Drift]) -> Vec<Finding> {
    let subject = Subject {
        account,
        name: None,
        ou_path: None,
    };
    findings(subject, drifts)
}
