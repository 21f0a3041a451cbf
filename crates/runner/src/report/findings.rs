//! The findings of a run, as reports show them: the worst first, those of one reason together, and since when they are there; and what
//! mends an account, by its findings and its reason.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::{
    drift_audit,
    ids::AwsAccountId,
    inventory::StackDrift,
    orphan_cleanup,
    plan::{AccountRow, Audited, Finding, Recorded, Severity},
    status::{Reason, Standing},
};

use crate::{config::JobKind, engine::RunReport};

/// How old findings are, as reports count them: a name, and less than how many days.
pub const AGES: [(&str, i64); 4] = [
    ("today", 1),
    ("this week", 7),
    ("this month", 30),
    ("longer", i64::MAX),
];

/// The findings of one reason and severity.
#[derive(Debug)]
pub struct Group<'a> {
    /// How bad they are.
    pub severity: Severity,
    /// Their reason code.
    pub reason: &'a str,
    /// The findings, in their order.
    pub findings: Vec<&'a Finding>,
}

/// The findings that a report shows one by one: all of an audit or a clean-up, and else those that say more than an account's reason.
#[must_use]
pub fn shown(report: &RunReport) -> Vec<&Finding> {
    match shows_accounts(report) {
        true => report.findings().iter().collect(),
        false => beside(report.findings(), report.accounts()),
    }
}

/// The findings that say more than the reason of their account, as which an account that a job leaves out is shown anyway.
#[must_use]
pub fn beside<'a>(findings: &'a [Finding], rows: &[AccountRow]) -> Vec<&'a Finding> {
    let rows = rows.iter().map(|row| (row.account, row.reason.code()));
    let reasons: BTreeMap<AwsAccountId, &str> = rows.collect();
    let of_row = |finding: &&Finding| finding.account.and_then(|account| reasons.get(&account));
    let findings = findings.iter();
    findings
        .filter(|finding| of_row(finding).is_none_or(|reason| *reason != finding.reason))
        .collect()
}

/// Whether all findings about accounts are shown one by one.
#[must_use]
pub fn shows_accounts(report: &RunReport) -> bool {
    let kinds = [
        drift_audit::KIND,
        orphan_cleanup::KIND,
        orphan_cleanup::undo::KIND,
    ];
    // What a plugin finds is nowhere else.
    kinds.contains(&report.kind.as_str()) || JobKind::from_name(&report.kind).is_none()
}

/// How many accounts IAM was read in, and what is not known of that; nothing where it was not read.
#[must_use]
pub fn audited(report: &RunReport) -> Vec<String> {
    let Some(Audited {
        asked,
        read,
        unreadable,
        by_aggregator,
        oldest_status,
        untold_recorders,
    }) = report.plan().and_then(|plan| plan.audited)
    else {
        return Vec::new();
    };
    let accounts = format!(
        "{read} of the {asked} accounts that are enrolled by us and current or being changed"
    );
    let mut lines = vec![match by_aggregator {
        true => format!(
            "AWS Config told what IAM has in {accounts}; of {unreadable} it could not be known"
        ),
        false => format!("IAM was read in {accounts}; {unreadable} could not be read"),
    }];
    if let Some(oldest) = oldest_status.and_then(moment) {
        lines.push(format!("the oldest source status is as of {oldest}"));
    }
    if untold_recorders > 0 {
        lines.push(format!(
            "of {untold_recorders} accounts AWS Config does not tell whether their recorders run"
        ));
    }
    lines
}

/// The findings by reason, the worst first.
pub fn groups<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let key = (std::cmp::Reverse(finding.severity), finding.reason.as_str());
        groups.entry(key).or_default().push(finding);
    }
    let groups = groups.into_iter();
    groups
        .map(|((severity, reason), findings)| Group {
            severity: severity.0,
            reason,
            findings,
        })
        .collect()
}

/// The findings about each account.
#[must_use]
pub fn by_account<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
) -> BTreeMap<AwsAccountId, Vec<&'a Finding>> {
    let mut accounts: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        if let Some(account) = finding.account {
            accounts.entry(account).or_default().push(finding);
        }
    }
    accounts
}

/// What mends an account: its reason, as far as no finding says more, and its findings.
#[must_use]
pub fn fix(row: &AccountRow, found: &[&Finding]) -> Option<String> {
    let parts = [own_fix(row, found).map(str::to_owned), fixes(found)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What mends an account by its reason; none where it is as it should be, or a finding about it says that.
#[must_use]
pub fn own_fix(row: &AccountRow, found: &[&Finding]) -> Option<&'static str> {
    let is_wrong = row.standing != Standing::Ok && telling(row, found).is_none();
    row.reason.fix().filter(|_| is_wrong)
}

/// The finding, of those about an account, that says what mends it from standing as it does.
#[must_use]
pub fn telling<'a>(row: &AccountRow, found: &[&'a Finding]) -> Option<&'a Finding> {
    let is_of_row =
        |finding: &Finding| row.reason == Reason::Drifted || finding.reason == row.reason.code();
    let mut found = found.iter().copied();
    found.find(|finding| finding.fix.is_some() && is_of_row(finding))
}

/// What mends these, the worst first, each once.
#[must_use]
pub fn fixes(found: &[&Finding]) -> Option<String> {
    let mut found = found.to_vec();
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut fixes: Vec<&str> = Vec::new();
    for fix in found.iter().filter_map(|finding| finding.fix.as_deref()) {
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    (!fixes.is_empty()).then(|| fixes.join("; "))
}

/// How many findings of a severity there are by age, in the order of [`AGES`].
pub fn ages<'a>(
    findings: impl Iterator<Item = &'a Finding>,
    severity: Severity,
    now: Timestamp,
) -> [usize; 4] {
    let mut counts = [0; 4];
    for finding in findings.filter(|finding| finding.severity == severity) {
        let since = finding.first_seen.unwrap_or(now.as_second());
        let days = (now.as_second() - since).max(0) / 86_400;
        let age = AGES.iter().position(|(_, most)| days < *most);
        if let Some(count) = age.and_then(|age| counts.get_mut(age)) {
            *count += 1;
        }
    }
    counts
}

/// Since when a finding is there (UTC).
#[must_use]
pub fn since(finding: &Finding) -> Option<String> {
    moment(finding.first_seen?)
}

/// When a finding was seen last (UTC).
#[must_use]
pub fn last(finding: &Finding) -> Option<String> {
    moment(finding.last_seen?)
}

/// A moment in Unix seconds, for people (UTC).
#[must_use]
pub fn moment(seconds: i64) -> Option<String> {
    let moment = Timestamp::from_second(seconds).ok()?;
    Some(moment.strftime("%Y-%m-%d %H:%M").to_string())
}

/// What CloudFormation's own drift detection said, and when (UTC).
#[must_use]
pub fn said(drift: StackDrift) -> String {
    match drift.checked_at.and_then(moment) {
        Some(at) => format!("{} (checked {at})", drift.status.code()),
        None => drift.status.code().to_owned(),
    }
}

/// As of when what AWS Config told is known (UTC).
#[must_use]
pub fn as_recorded(recorded: Recorded) -> String {
    let status = moment(recorded.collected_at).unwrap_or_default();
    match recorded.captured_at.and_then(moment) {
        Some(captured) => {
            format!("as AWS Config saw it at {captured} (source status as of {status})")
        }
        None => format!("as AWS Config has it (source status as of {status})"),
    }
}

/// How bad, in one word.
#[must_use]
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
