//! Notifications: what people are told about jobs, who is told, in which words, and when it is tried again.
//!
//! A notice says what happened. A route is what a target wants to be told. A notification is a notice for a target. Of one event of a
//! job with one cause, a target is told once within a while, with how often it happened.

mod pace;
mod route;
mod run;
mod template;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use pace::{next_slot, retry_after};
pub use route::{Notification, Route, route};
pub use run::{Held, RunEnded, StepFailure, notices};
pub use template::{Template, TemplateError, Told};

use crate::plan::{Finding, Summary};

/// What people can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A run failed, could not begin, or was refused by a guard rail.
    RunFailed,
    /// A gate of a rollout was not passed: somebody has to decide.
    RolloutHalted,
    /// A plan waits for somebody to approve it.
    ApprovalNeeded,
    /// A run found what the job's last run did not find.
    NewFindings,
    /// The file of a job is wrong.
    DefinitionBroken,
    /// Runs of a job died with their process again and again.
    RunsDied,
    /// Somebody tried whether a target is reached.
    Test,
}

impl Event {
    /// What targets can choose from.
    pub const ALL: [Self; 6] = [
        Self::RunFailed,
        Self::RolloutHalted,
        Self::ApprovalNeeded,
        Self::NewFindings,
        Self::DefinitionBroken,
        Self::RunsDied,
    ];

    /// The event as text, in kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RunFailed => "run-failed",
            Self::RolloutHalted => "rollout-halted",
            Self::ApprovalNeeded => "approval-needed",
            Self::NewFindings => "new-findings",
            Self::DefinitionBroken => "definition-broken",
            Self::RunsDied => "runs-died",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind of thing.
    pub event: Event,
    /// The job.
    pub job: String,
    /// The job's kind, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The run, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// What happened, in words.
    pub what: String,
    /// What shows more, or what to do.
    pub command: String,
    /// The run's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// What is new, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How many more are new.
    #[serde(default)]
    pub findings_left_off: usize,
    /// What tells it from other things of this kind that happen to the job: a digest. Of equal ones, one is told.
    pub cause: String,
}

impl Notice {
    /// A notice whose cause is this text, whatever numbers, ids and times are in it. Of what happened, so much is kept as is told.
    #[must_use]
    pub fn new(event: Event, job: &str, at: i64, what: String, cause: &str) -> Self {
        Self {
            event,
            job: job.to_owned(),
            kind: None,
            run: None,
            status: None,
            at,
            what: shortened(&what, template::LONGEST),
            command: String::new(),
            summary: None,
            findings: Vec::new(),
            findings_left_off: 0,
            cause: digest(&without_numbers(cause)),
        }
    }

    /// What tells this time that it happened from others: the run, or else what is said. What happens once and is seen twice, by two
    /// processes or after a restart, is the same.
    #[must_use]
    pub fn occurrence(&self) -> String {
        match &self.run {
            Some(run) => run.clone(),
            None => digest(&self.what),
        }
    }
}

/// A text with so many characters at most, and a mark where the rest is left off.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The digest of a cause: 16 bytes, in hexadecimal digits.
fn digest(cause: &str) -> String {
    hex::encode(&Sha256::digest(cause.as_bytes())[..16])
}

/// A text with each word that has a digit replaced, so that a request id, a moment or a count makes no other cause of it.
fn without_numbers(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_part(first) {
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match word.contains(|c: char| c.is_ascii_digit()) {
                true => plain.push('#'),
                false => plain.push_str(word),
            }
            rest = after;
        } else {
            plain.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_from_run_to_run_makes_no_other_cause() {
        for (one, other) in [
            (
                "AWS said no (request 0b1c-4f): wait until 2027-01-01T10:00:00Z",
                "AWS said no (request 99aa-1e): wait until 2027-01-02T11:30:00Z",
            ),
            ("3 of 8 accounts", "12 of 9 accounts"),
            ("é 1", "é 2"),
        ] {
            assert_eq!(without_numbers(one), without_numbers(other), "{one}");
        }
        for (one, other) in [("access denied", "not found"), ("a", "é"), ("", "1")] {
            assert_ne!(without_numbers(one), without_numbers(other), "{one}");
        }
    }

    #[test]
    fn what_is_seen_twice_happened_once() {
        let notice = |what: &str, run: Option<&str>| Notice {
            run: run.map(str::to_owned),
            ..Notice::new(Event::RunFailed, "sync", 0, what.to_owned(), "")
        };
        for (one, other, is_same) in [
            (notice("a", Some("1")), notice("b", Some("1")), true),
            (notice("a", Some("1")), notice("a", Some("2")), false),
            (notice("a", None), notice("a", None), true),
            (notice("line 1", None), notice("line 2", None), false),
        ] {
            assert_eq!(one.occurrence() == other.occurrence(), is_same, "{one:?}");
        }
    }

    #[test]
    fn of_what_happened_as_much_is_kept_as_is_told() {
        let long = "é".repeat(template::LONGEST + 9);
        let notice = Notice::new(Event::RunFailed, "sync", 0, long, "");
        assert_eq!(notice.what.chars().count(), template::LONGEST + 1);
        assert!(notice.what.ends_with("é…"));
    }

    #[test]
    fn events_are_written_as_they_are_named() {
        for event in Event::ALL.into_iter().chain([Event::Test]) {
            let text = serde_json::to_value(event).unwrap();
            assert_eq!(text, event.code());
        }
    }
}
