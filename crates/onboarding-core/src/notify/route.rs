//! Which target is told of which notice.

use std::collections::BTreeSet;

use super::{Event, Notice, digest, shortened};
use crate::plan::{Finding, Severity};

/// What a target wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target's name.
    pub target: String,
    /// Of which events.
    pub events: BTreeSet<Event>,
    /// Of which jobs, by name; empty: of all.
    pub jobs: BTreeSet<String>,
    /// New findings from this severity on.
    pub severity: Severity,
    /// For how long what has been told is not told again, in milliseconds.
    pub quiet: i64,
    /// For how long a notification is tried, in milliseconds.
    pub give_up_after: i64,
}

/// A notice for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The target's name.
    pub target: String,
    /// What is told.
    pub notice: Notice,
    /// For how long the same is not told again, in milliseconds.
    pub quiet: i64,
    /// For how long it is tried, in milliseconds.
    pub give_up_after: i64,
}

/// The notifications that follow from the notices of one moment. Whoever is told that a rollout is halted is not told of the run that
/// failed by it.
#[must_use]
pub fn route(routes: &[Route], notices: &[Notice]) -> Vec<Notification> {
    let mut notifications = Vec::new();
    for route in routes {
        let wanted = |notice: &&Notice| {
            // What is about no job in particular is about all of them.
            let is_of_jobs = notice.job.is_empty() || route.jobs.contains(&notice.job);
            route.events.contains(&notice.event) && (route.jobs.is_empty() || is_of_jobs)
        };
        let chosen: Vec<&Notice> = notices.iter().filter(wanted).collect();
        let is_told_of_halt = chosen
            .iter()
            .any(|notice| notice.event == Event::RolloutHalted);
        for notice in chosen {
            let notice = match notice.event {
                Event::RunFailed if is_told_of_halt => None,
                Event::NewFindings => of_severity(notice, route.severity),
                _ => Some(notice.clone()),
            };
            notifications.extend(notice.map(|notice| Notification {
                target: route.target.clone(),
                notice,
                quiet: route.quiet,
                give_up_after: route.give_up_after,
            }));
        }
    }
    notifications
}

/// The notice with the findings that are bad enough; none when there are none.
fn of_severity(notice: &Notice, severity: Severity) -> Option<Notice> {
    let mut notice = notice.clone();
    notice
        .findings
        .retain(|finding| finding.severity >= severity);
    if notice.findings.is_empty() {
        return None;
    }
    let ids: Vec<&str> = notice.findings.iter().map(|finding| &*finding.id).collect();
    notice.cause = digest(&ids.join("\n"));
    notice.what = words(&notice.findings);
    notice.findings_left_off = notice.findings.len().saturating_sub(MOST);
    notice.findings.truncate(MOST);
    Some(notice)
}

/// Findings that are kept with a notification; the others are counted.
const MOST: usize = 50;

/// Findings that are told in words; the others are counted.
const IN_WORDS: usize = 10;

/// Most characters of each of them.
const LONGEST: usize = 250;

fn words(findings: &[Finding]) -> String {
    let mut lines: Vec<String> = findings
        .iter()
        .take(IN_WORDS)
        .map(|finding| {
            let severity = match finding.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            let account = finding
                .account
                .map_or_else(String::new, |account| format!(" account {account}:"));
            // A command that was cut off would be dangerous to run.
            let fix = finding.fix.as_deref();
            let fix = fix.filter(|fix| fix.chars().count() <= LONGEST);
            let fix = fix.map_or_else(String::new, |fix| format!("; fix: {fix}"));
            format!(
                "- {severity}:{account} {}{fix}",
                shortened(&finding.message, LONGEST)
            )
        })
        .collect();
    if let Some(more) = findings
        .len()
        .checked_sub(IN_WORDS)
        .filter(|more| *more > 0)
    {
        lines.push(format!("- and {more} more"));
    }
    lines.join("\n")
}
