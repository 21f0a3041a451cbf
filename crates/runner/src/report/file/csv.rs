//! Comma-separated values: one line for each account, targeted or not, for each other one that something was found about, and for each
//! finding about no account. What earlier runs found, and this one did not look for again, has columns of its own in the same lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use csv::Writer;
use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Finding, Verdicts},
};

use super::standing;
use crate::{engine::RunReport, report::findings};

const HEADER: [&str; 20] = [
    "account",
    "name",
    "organizational_unit",
    "profile",
    "targeted",
    "state",
    "reason",
    "spot_account",
    "detail",
    "meaning",
    "findings",
    "worst_finding",
    "oldest_finding",
    "iam",
    "cloudformation_drift",
    "cloudformation_checked",
    "fix",
    "finding_reasons",
    "not_looked_at",
    "not_looked_at_since",
];

/// A line.
type Record = [String; HEADER.len()];

pub(super) fn document(report: &RunReport) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    let found = findings::by_account(report.findings());
    let left = findings::by_account(report.not_looked_at());
    let verdicts = report.plan().map(|plan| &plan.verdicts);
    for row in report.accounts() {
        let [found, left] = [&found, &left].map(|all| of_account(all, row.account));
        let said = verdicts.and_then(|verdicts| verdicts.get(&row.account));
        writer.write_record(record(row, &found, &left, said))?;
    }
    let rows = report.accounts().iter().map(|row| row.account);
    let rows: BTreeSet<AwsAccountId> = rows.collect();
    let others: BTreeSet<_> = found.keys().chain(left.keys()).collect();
    for account in others.into_iter().filter(|account| !rows.contains(account)) {
        let [found, left] = [&found, &left].map(|all| of_account(all, *account));
        writer.write_record(without_row(Some(*account), &found, &left))?;
    }
    for finding in about_none(report.findings()) {
        writer.write_record(without_row(None, &[finding], &[]))?;
    }
    for finding in about_none(report.not_looked_at()) {
        writer.write_record(without_row(None, &[], &[finding]))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn of_account<'a>(
    all: &BTreeMap<AwsAccountId, Vec<&'a Finding>>,
    account: AwsAccountId,
) -> Vec<&'a Finding> {
    all.get(&account).cloned().unwrap_or_default()
}

fn about_none(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    let all = findings.iter();
    all.filter(|finding| finding.account.is_none())
}

fn record(
    row: &AccountRow,
    found: &[&Finding],
    left: &[&Finding],
    said: Option<&Verdicts>,
) -> Record {
    let [count, worst, oldest] = counted(found);
    let spot_account = row.spot_account.as_ref().map(ToString::to_string);
    [
        row.account.to_string(),
        inert(&row.name),
        inert(&row.ou_path),
        inert(&row.profile),
        row.targeted.to_string(),
        standing(row).to_owned(),
        row.reason.to_string(),
        spot_account.unwrap_or_default(),
        inert(row.detail.as_deref().unwrap_or_default()),
        row.reason.explanation().to_owned(),
        count,
        worst,
        oldest,
        said.map_or_else(String::new, |said| said.iam.code().to_owned()),
        said.map_or_else(String::new, |said| {
            said.cloudformation.status.code().to_owned()
        }),
        said.and_then(|said| findings::moment(said.cloudformation.checked_at?))
            .unwrap_or_default(),
        inert(&findings::fix(row, found).unwrap_or_default()),
        reasons(found),
        reasons(left),
        not_since(left),
    ]
}

/// What was found about an account that is in no listing any more, or about none. Where it was not looked for again, what it was is
/// what earlier runs said.
fn without_row(account: Option<AwsAccountId>, found: &[&Finding], left: &[&Finding]) -> Record {
    let [count, worst, oldest] = counted(found);
    let told = if found.is_empty() { left } else { found };
    let worst_of_all = told.iter().max_by_key(|finding| finding.severity);
    let of = |part: fn(&Finding) -> Option<&str>| {
        let part = worst_of_all.and_then(|finding| part(finding));
        inert(part.unwrap_or_default())
    };
    let mut record: Record = std::array::from_fn(|_| String::new());
    let known = [
        (
            "account",
            account.map_or_else(String::new, |account| account.to_string()),
        ),
        ("name", of(|finding| finding.account_name.as_deref())),
        (
            "organizational_unit",
            of(|finding| finding.ou_path.as_deref()),
        ),
        ("targeted", false.to_string()),
        ("reason", of(|finding| Some(&*finding.reason))),
        ("detail", of(|finding| Some(&*finding.message))),
        ("findings", count),
        ("worst_finding", worst),
        ("oldest_finding", oldest),
        ("fix", inert(&findings::fixes(told).unwrap_or_default())),
        ("finding_reasons", reasons(found)),
        ("not_looked_at", reasons(left)),
        ("not_looked_at_since", not_since(left)),
    ];
    for (column, value) in known {
        let place = HEADER
            .iter()
            .zip(&mut record)
            .find(|(name, _)| **name == column);
        if let Some((_, place)) = place {
            *place = value;
        }
    }
    record
}

/// The reasons of findings, in their order.
fn reasons(found: &[&Finding]) -> String {
    let reasons: Vec<&str> = found.iter().map(|finding| &*finding.reason).collect();
    inert(&reasons.join(" "))
}

/// Since when one of these was not looked at (UTC).
fn not_since(left: &[&Finding]) -> String {
    let oldest = left.iter().min_by_key(|finding| finding.last_seen);
    let oldest = oldest.and_then(|oldest| findings::last(oldest));
    oldest.unwrap_or_default()
}

/// How many findings, how bad the worst is, and since when the oldest is there.
fn counted(found: &[&Finding]) -> [String; 3] {
    let worst = found.iter().map(|finding| finding.severity).max();
    let oldest = found.iter().min_by_key(|finding| finding.first_seen);
    let oldest = oldest.and_then(|oldest| findings::since(oldest));
    [
        found.len().to_string(),
        worst.map_or_else(String::new, |worst| findings::severity(worst).to_owned()),
        oldest.unwrap_or_default(),
    ]
}

/// A text that spreadsheets take for no formula: names and details come from elsewhere.
fn inert(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
