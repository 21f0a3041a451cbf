//! The report of a run as a file, in the form that the file's extension names.

mod csv;
mod html;
mod junit;

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use jiff::Timestamp;
use onboarding_core::{plan::AccountRow, status::Standing};

use super::json;
use crate::engine::RunReport;

/// A file that a report is written to: `.json`, `.csv`, `.xml` (JUnit) or `.html`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Junit,
    Html,
}

/// An extension that names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a report is a file that ends in .json, .csv, .xml (JUnit) or .html")]
pub struct UnknownForm;

impl FromStr for ReportFile {
    type Err = UnknownForm;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(path);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let form = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv,
            Some("xml") => Form::Junit,
            Some("html" | "htm") => Form::Html,
            _ => return Err(UnknownForm),
        };
        Ok(Self { path, form })
    }
}

impl ReportFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the report of a run that ended at a moment.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, report: &RunReport, ended: Timestamp) -> io::Result<()> {
        let content = match self.form {
            Form::Json => serde_json::to_vec_pretty(&json::document(report))?,
            Form::Csv => csv::document(report)?,
            Form::Junit => junit::document(report).map_err(io::Error::other)?,
            Form::Html => html::document(report, ended).into_bytes(),
        };
        fs::write(&self.path, content)
    }
}

/// Where an account stands, in one word.
fn standing(row: &AccountRow) -> &'static str {
    match row.standing {
        Standing::Ok => "ok",
        Standing::Due => "due",
        Standing::Pending => "pending",
        Standing::Failed => "failed",
        Standing::Skipped => "skipped",
    }
}

/// Whether a person should look at an account.
fn needs_attention(row: &AccountRow) -> bool {
    row.standing == Standing::Failed || row.reason.is_finding()
}

#[cfg(test)]
mod tests;
