//! Comma-separated values: one line for each account, targeted or not.

use std::io;

use csv::Writer;
use onboarding_core::plan::AccountRow;

use super::standing;
use crate::engine::RunReport;

const HEADER: [&str; 10] = [
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
];

pub(super) fn document(report: &RunReport) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for row in report.accounts() {
        writer.write_record(record(row))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn record(row: &AccountRow) -> [String; 10] {
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
    ]
}

/// A text that spreadsheets take for no formula: names and details come from elsewhere.
fn inert(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
