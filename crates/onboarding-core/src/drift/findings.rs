//! Differences as findings of a report.

use super::Drift;
use crate::{ids::AwsAccountId, plan::Finding};

/// Most characters of a finding's message.
const MAX_MESSAGE: usize = 1_000;

/// Most characters of one part of a message that was read from an account.
const MAX_PART: usize = 240;

/// The account that findings are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The account.
    pub account: AwsAccountId,
    /// Its name, when that is known.
    pub name: Option<&'a str>,
    /// Its place in the organization, when that is known.
    pub ou_path: Option<&'a str>,
}

/// One finding for each difference, in their order.
#[must_use]
pub fn findings(subject: Subject<'_>, drifts: &[Drift]) -> Vec<Finding> {
    let account = subject.account;
    let finding = |drift: &Drift| Finding {
        id: drift.id(account),
        severity: drift.severity(),
        account: Some(account),
        account_name: subject.name.map(str::to_owned),
        ou_path: subject.ou_path.map(str::to_owned),
        reason: drift.kind.code().to_owned(),
        message: message(drift),
        resource: Some(drift.resource.clone()),
        expected: Some(drift.expected.clone()),
        actual: Some(drift.actual.clone()),
        fix: Some(drift.remedy()),
        cloudformation: None,
        recorded: None,
        first_seen: None,
        last_seen: None,
    };
    drifts.iter().map(finding).collect()
}

fn message(drift: &Drift) -> String {
    let mut text = format!(
        "{}: {}; expected: {}; found: {}",
        cut(&drift.resource, MAX_PART),
        drift.kind.explanation(),
        cut(&drift.expected, MAX_PART),
        cut(&drift.actual, MAX_PART),
    );
    let room = MAX_MESSAGE.saturating_sub(text.chars().count());
    text.push_str(&cut(&changes(&drift.changes), room));
    text
}

fn changes(changes: &[String]) -> String {
    match changes {
        [] => String::new(),
        changes => format!(" ({})", changes.join("; ")),
    }
}

/// The text, with `…` in place of what is too much.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}
