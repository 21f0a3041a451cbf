//! The gates of a wave: what must be so before the next one begins.
//!
//! CloudFormation's word, row by row; what IAM has in each account, beside what the template means for it; the link to Spot, as
//! far as it can be known without posting it anew: the role that Spot uses is the live one and trusts it; and nothing differs
//! that did not before. What could not be read has not passed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Outcome, WaveProgress};
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
    /// The stack of each account that has a stack instance.
    pub stacks: BTreeMap<AwsAccountId, Option<Box<str>>>,
    /// Accounts whose link is not ours to judge.
    pub kept: BTreeSet<AwsAccountId>,
    /// Accounts whose link to Spot is gone.
    pub unlinked: BTreeSet<AwsAccountId>,
    /// Why Spot's validation of Cost Intelligence has not passed, for accounts that it was asked for.
    pub validations: BTreeMap<AwsAccountId, String>,
    /// Whether accounts were asked at all.
    pub is_read: bool,
}

impl Evidence {
    /// Whether an account was moved since it was updated, and has lost what it was given: a later wave is for it.
    fn has_moved(&self, account: AwsAccountId, member: &Member) -> bool {
        let stack = self.stacks.get(&account);
        stack.is_some_and(|stack| *stack != member.stack) && member.outcome == Outcome::Updated
    }

    /// Writes down of a wave whose accounts have left or were moved since they were updated.
    pub fn note_gone(&self, wave: &mut WaveProgress) {
        for (account, member) in &mut wave.sweep.members {
            if self.gone.contains(account) || self.has_moved(*account, member) {
                member.outcome = Outcome::Gone;
                member.reason = Some("it has left, or was moved, since".to_owned());
            }
        }
    }
}

/// What the gates say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Why not, by account.
    pub problems: BTreeMap<AwsAccountId, Vec<String>>,
    /// Why nothing can be said: nobody was updated.
    pub untried: Option<String>,
}

impl Verdict {
    /// Whether the wave has passed: at most so many accounts may have problems, and somebody must have tried it out.
    #[must_use]
    pub fn passes(&self, failures: usize) -> bool {
        self.untried.is_none() && self.problems.len() <= failures
    }

    /// Why it has not, one line for each account, as many as a person reads.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        const MOST: usize = 20;
        let lines = self.problems.iter().take(MOST);
        let lines = lines.map(|(account, problems)| format!("{account}: {}", problems.join("; ")));
        let mut lines: Vec<String> = self.untried.iter().cloned().chain(lines).collect();
        if self.problems.len() > MOST {
            lines.push(format!("and {} more accounts", self.problems.len() - MOST));
        }
        lines
    }
}

/// Judges a wave. `is_rest` says that it is for all that are left, so that nobody may be left.
#[must_use]
pub fn judge(wave: &WaveProgress, evidence: &Evidence, is_rest: bool) -> Verdict {
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
        if evidence.gone.contains(account) || evidence.has_moved(*account, member) {
            continue;
        }
        let mut found: Vec<String> = problem.into_iter().collect();
        let is_judged = evidence.is_read && !evidence.kept.contains(account);
        match evidence.drifts.get(account) {
            Some(drifts) => found.extend(differing(*account, drifts, &wave.known)),
            None if is_judged && member.outcome == Outcome::Updated => {
                found.push(NOT_ASKED.to_owned());
            }
            None => {}
        }
        if evidence.unlinked.contains(account) && is_judged {
            found.push("its link to Spot is gone".to_owned());
        }
        if let Some(why) = evidence.validations.get(account)
            && !wave.known.contains(&validation_id(*account))
        {
            found.push(format!("Spot's validation of Cost Intelligence: {why}"));
        }
        if !found.is_empty() {
            problems.insert(*account, found);
        }
    }
    let is_there = |(account, member): &(&AwsAccountId, &Member)| {
        let is_there = !evidence.gone.contains(account) && !evidence.has_moved(**account, member);
        member.outcome == Outcome::Updated && is_there
    };
    // Into those whose link was kept nobody looks.
    let is_unseen = |account| evidence.is_read && evidence.kept.contains(account);
    let updated: Vec<_> = wave.sweep.members.iter().filter(is_there).collect();
    let is_tried = updated.iter().any(|(account, _)| !is_unseen(account));
    let mut others = wave.sweep.members.iter().filter(|one| !is_there(one));
    let may_be_empty = is_rest && others.all(|(_, member)| member.outcome == Outcome::Gone);
    let untried = (!is_tried && !may_be_empty).then(|| match updated.is_empty() {
        true => "none of its accounts has the version: nothing was tried out".to_owned(),
        false => KEPT_ONLY.to_owned(),
    });
    Verdict { problems, untried }
}

/// What is said of a wave that has the version only where nobody looks.
const KEPT_ONLY: &str = "only accounts have the version whose link was kept, and IAM is not read in those: nothing was tried out; roll \
                         back and give the wave an account that we linked, or set iam = false to go by CloudFormation's word alone";

/// What is said of an account that should have been read.
const NOT_ASKED: &str =
    "it could not be asked: it has not one link to Spot, or its stack is not current";

/// Judges accounts that were put back: whether the managed policies are what the good version means. What else differs was not
/// the rollout's doing, and is not undone by going back. What could not be read has not been seen; those whose link was kept, into
/// which nobody looked before either, keep nobody from going back.
#[must_use]
pub fn judge_put_back(accounts: &BTreeSet<AwsAccountId>, evidence: &Evidence) -> Verdict {
    let asked = accounts.iter().filter(|account| {
        evidence.is_read && !evidence.gone.contains(account) && !evidence.kept.contains(account)
    });
    let problems = asked.filter_map(|account| {
        let Some(drifts) = evidence.drifts.get(account) else {
            return Some((*account, vec![NOT_ASKED.to_owned()]));
        };
        let policies = drifts.iter().filter(|drift| {
            matches!(
                drift.kind,
                DriftKind::RoleUnreadable
                    | DriftKind::PolicyUnreadable
                    | DriftKind::PolicyDocumentDiffers
                    | DriftKind::PolicyDetached
            )
        });
        let policies: Vec<Drift> = policies.cloned().collect();
        let messages = findings_of(*account, &policies).into_iter();
        let messages: Vec<String> = messages.map(|finding| finding.message).collect();
        (!messages.is_empty()).then_some((*account, messages))
    });
    Verdict {
        problems: problems.collect(),
        untried: None,
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
        .map(|(drift, finding)| match drift.kind {
            DriftKind::ExternalIdUntold => format!("{}; {UNTOLD}", finding.message),
            _ => finding.message,
        })
}

/// What to do when nobody tells any more what was told before.
const UNTOLD: &str = "resume the rollout when Spot tells it again, or set iam = false to go by CloudFormation's word alone";

/// The ids of what was wrong in accounts before they were touched.
#[must_use]
pub fn ids(evidence: &Evidence) -> BTreeSet<String> {
    let drifts = evidence.drifts.iter();
    let findings = drifts.flat_map(|(account, drifts)| findings_of(*account, drifts));
    let validations = evidence.validations.keys();
    findings
        .map(|finding| finding.id)
        .chain(validations.map(|account| validation_id(*account)))
        .collect()
}

fn validation_id(account: AwsAccountId) -> String {
    format!("cost-intelligence-validation:{account}")
}

fn findings_of(account: AwsAccountId, drifts: &[Drift]) -> Vec<Finding> {
    let subject = Subject {
        account,
        name: None,
        ou_path: None,
    };
    findings(subject, drifts)
}
