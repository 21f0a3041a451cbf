//! What there is to tell of a run that ended.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Notice};
use crate::{
    plan::{AccountRow, Finding, Refusal, Summary},
    status::Standing,
};

/// The guard rail that lets a rollout go no further.
const HALTED: &str = "rollout-halted";

/// Guard rails by which nobody has to be told: somebody has said so, or another run of the job goes on.
const EXPECTED: [&str; 2] = ["freeze", "one-run-per-job"];

/// Accounts that are named in words for each reason; the others are counted.
const NAMED: usize = 5;

/// A step that failed.
#[derive(Debug, Clone, Copy)]
pub struct StepFailure<'a> {
    /// What it does.
    pub action: &'a str,
    /// The class of its error.
    pub class: &'a str,
    /// Why.
    pub note: &'a str,
}

/// A plan that waits for an approval.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The run that made it, by which it is approved.
    pub run: &'a str,
    /// Until when, for people.
    pub until: &'a str,
    /// How many steps it has.
    pub steps: usize,
}

/// A run that ended, as far as people are told of it.
#[derive(Debug, Clone)]
pub struct RunEnded<'a> {
    /// Its id.
    pub run: &'a str,
    /// The job.
    pub job: &'a str,
    /// The job's kind.
    pub kind: &'a str,
    /// How it ended.
    pub status: &'a str,
    /// Whether it failed or was refused.
    pub is_failed: bool,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// The counts.
    pub summary: Summary,
    /// Why it failed as a whole.
    pub error: Option<&'a str>,
    /// The steps that failed.
    pub failures: Vec<StepFailure<'a>>,
    /// Where every account stands.
    pub accounts: &'a [AccountRow],
    /// What guard rails refused.
    pub refusals: &'a [Refusal],
    /// What they refuse by the run's last look.
    pub refused_now: &'a [Refusal],
    /// What a person should know.
    pub findings: &'a [Finding],
    /// The ids of the findings of the job's run before, when this one has looked at everything; none when it has not.
    pub known: Option<BTreeSet<String>>,
    /// The plan that waits.
    pub held: Option<Held<'a>>,
}

/// What there is to tell of it. What one target is told of all that is another matter.
#[must_use]
pub fn notices(ended: &RunEnded<'_>) -> Vec<Notice> {
    let all = [
        halted(ended),
        failed(ended),
        approval(ended),
        new_findings(ended),
    ];
    let complete = |notice: Notice| Notice {
        kind: Some(ended.kind.to_owned()),
        run: Some(ended.run.to_owned()),
        status: Some(ended.status.to_owned()),
        summary: Some(ended.summary),
        command: match notice.command.is_empty() {
            true => format!("runner runs show {}", ended.run),
            false => notice.command,
        },
        ..notice
    };
    all.into_iter().flatten().map(complete).collect()
}

fn halted(ended: &RunEnded<'_>) -> Option<Notice> {
    let mut refusals = ended.refusals.iter().chain(ended.refused_now);
    let refusal = refusals.find(|refusal| refusal.guard == HALTED)?;
    let what = refusal.message.clone();
    // Which gate and which accounts: another halt of the same rollout is another matter.
    Some(Notice {
        cause: super::digest(&what),
        ..Notice::new(Event::RolloutHalted, ended.job, ended.at, what, "")
    })
}

fn failed(ended: &RunEnded<'_>) -> Option<Notice> {
    let is_expected = |refusal: &Refusal| EXPECTED.contains(&&*refusal.guard);
    let is_refused = !ended.refusals.is_empty() && ended.error.is_none();
    if !ended.is_failed || (is_refused && ended.refusals.iter().all(is_expected)) {
        return None;
    }
    let (what, cause) = match ended.error {
        Some(error) => (error.to_owned(), error.to_owned()),
        None if is_refused => refused(ended.refusals),
        None => went_wrong(ended),
    };
    Some(Notice::new(
        Event::RunFailed,
        ended.job,
        ended.at,
        what,
        &cause,
    ))
}

fn refused(refusals: &[Refusal]) -> (String, String) {
    let messages: Vec<&str> = refusals.iter().map(|one| &*one.message).collect();
    let guards: BTreeSet<&str> = refusals.iter().map(|one| &*one.guard).collect();
    let guards: Vec<&str> = guards.into_iter().collect();
    (messages.join("\n"), guards.join(" "))
}

/// What became of accounts and steps: in words, and what of it is the same when other accounts fail likewise.
fn went_wrong(ended: &RunEnded<'_>) -> (String, String) {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let failed = ended.accounts.iter();
    for row in failed.filter(|row| row.targeted && row.standing == Standing::Failed) {
        let accounts = by_reason.entry(row.reason.code()).or_default();
        accounts.push(row.account.to_string());
    }
    let mut lines = Vec::new();
    for (reason, accounts) in &by_reason {
        let named = accounts
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = match accounts.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!(
            "{} failed ({reason}): {named}{more}.",
            counted(accounts.len())
        ));
    }
    let mut causes: BTreeSet<String> = by_reason
        .keys()
        .map(|reason| (*reason).to_owned())
        .collect();
    for StepFailure {
        action,
        class,
        note,
    } in &ended.failures
    {
        if causes.insert(format!("{action}/{class}")) {
            lines.push(format!("A step failed, {action} ({class}): {note}"));
        }
    }
    if lines.is_empty() {
        let pending = counted(ended.summary.pending);
        lines.push(format!("It left something to do: {pending} pending."));
        causes.insert("pending".to_owned());
    }
    let causes: Vec<String> = causes.into_iter().collect();
    (lines.join("\n"), causes.join(" "))
}

fn counted(accounts: usize) -> String {
    match accounts {
        1 => "1 account".to_owned(),
        many => format!("{many} accounts"),
    }
}

fn approval(ended: &RunEnded<'_>) -> Option<Notice> {
    let held = ended.held?;
    let what = format!(
        "It has {} steps, and can be approved until {}.",
        held.steps, held.until
    );
    let notice = Notice::new(Event::ApprovalNeeded, ended.job, ended.at, what, "");
    Some(Notice {
        // The plan itself: a later run that keeps the same one tells nothing new.
        cause: super::digest(held.run),
        command: format!("runner runs show {0}; runner runs approve {0}", held.run),
        ..notice
    })
}

fn new_findings(ended: &RunEnded<'_>) -> Option<Notice> {
    let known = ended.known.as_ref()?;
    let findings = ended.findings.iter();
    let mut new: Vec<Finding> = findings
        .filter(|finding| !known.contains(&finding.id))
        .cloned()
        .collect();
    if new.is_empty() {
        return None;
    }
    new.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let notice = Notice::new(Event::NewFindings, ended.job, ended.at, String::new(), "");
    Some(Notice {
        findings: new,
        ..notice
    })
}
