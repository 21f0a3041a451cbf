//! Comma-separated values: one line for each account, targeted or not.

use std::io;

use csv::Writer;
use onboarding_core::plan::{AccountRow, Finding, Verdicts};

use super::standing;
use crate::{engine::RunReport, report::findings};

const HEADER: [&str; 16] = [
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
];

pub(super) fn document(report: &RunReport) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    let found = findings::by_account(report);
    let verdicts = report.plan().map(|plan| &plan.verdicts);
    for row in report.accounts() {
        let found = found.get(&row.account).map_or(&[][..], Vec::as_slice);
        let said = verdicts.and_then(|verdicts| verdicts.get(&row.account));
        writer.write_record(record(row, found, said))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn record(row: &AccountRow, found: &[&Finding], said: Option<&Verdicts>) -> [String; 16] {
    let worst = found.iter().max_by_key(|finding| finding.severity);
    let oldest = found.iter().min_by_key(|finding| finding.first_seen);
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
        found.len().to_string(),
        worst.map_or_else(String::new, |worst| {
            findings::severity(worst.severity).to_owned()
        }),
        oldest
            .and_then(|oldest| findings::since(oldest))
            .unwrap_or_default(),
        said.map_or_else(String::new, |said| said.iam.code().to_owned()),
        said.map_or_else(String::new, |said| {
            said.cloudformation.status.code().to_owned()
        }),
        said.and_then(|said| findings::moment(said.cloudformation.checked_at?))
            .unwrap_or_default(),
    ]
}

/// A text that spreadsheets take for no formula: names and details come from elsewhere.
fn inert(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
