//! What people and programs see of a run: tables, one JSON document, progress. Everything here is computed from rows.

pub mod coverage;
pub mod file;
pub mod findings;
pub mod json;
pub mod plan;
pub mod progress;
pub mod table;

/// The form of what is written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    #[default]
    Table,
    /// One JSON document for programs.
    Json,
}
