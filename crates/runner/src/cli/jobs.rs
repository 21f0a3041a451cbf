//! `runner jobs`: the job definitions.

use super::{Failure, Global, load, print, print_json};
use crate::{
    config::{self, JobKind},
    report::{Output, table},
};

/// List, check and describe job definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Jobs {
    /// List the jobs: kind, schedule, and whether they are in order.
    List,
    /// Check runner.toml and every job file. Needs no credentials.
    Validate,
    /// Print the JSON Schema of a job file of one kind, or of runner.toml.
    Schema {
        /// The kind of job; without it, runner.toml.
        kind: Option<String>,
    },
}

impl Jobs {
    pub(super) fn run(self, global: &Global) -> Result<u8, Failure> {
        match self {
            Self::List => list(global),
            Self::Validate => validate(global),
            Self::Schema { kind } => schema(kind.as_deref()),
        }
    }
}

fn list(global: &Global) -> Result<u8, Failure> {
    let config = load(global)?;
    if global.output == Output::Json {
        let jobs: Vec<serde_json::Value> = config
            .jobs
            .iter()
            .map(|job| {
                serde_json::json!({
                    "name": job.name,
                    "kind": job.kind().name(),
                    "schedule": job.schedule.as_ref().map(ToString::to_string),
                    "enabled": job.enabled,
                })
            })
            .chain(config.broken_jobs.iter().map(|broken| {
                serde_json::json!({ "name": broken.name, "error": broken.errors.to_string() })
            }))
            .collect();
        return print_json(&jobs);
    }
    let mut rows = table::table(&["job", "kind", "schedule", "state"]);
    for job in &config.jobs {
        let schedule = job
            .schedule
            .as_ref()
            .map_or_else(|| "by hand".to_owned(), ToString::to_string);
        let state = if job.enabled { "enabled" } else { "disabled" };
        rows.add_row(vec![
            job.name.clone(),
            job.kind().name().to_owned(),
            schedule,
            state.to_owned(),
        ]);
    }
    for broken in &config.broken_jobs {
        rows.add_row(vec![
            broken.name.as_str(),
            "-",
            "-",
            "broken: see `runner jobs validate`",
        ]);
    }
    print(&table::render(&rows));
    Ok(0)
}

fn validate(global: &Global) -> Result<u8, Failure> {
    let config = load(global)?;
    if let Some(errors) = config.broken_jobs_text() {
        return Err(Failure::Config(errors));
    }
    // Rendering the templates finds what reading cannot: policy files that are missing or too large.
    config
        .check()
        .map_err(|errors| Failure::Config(errors.to_string()))?;
    print(&format!(
        "{}: {} profiles and {} jobs are in order\n",
        global.config.display(),
        config.runner.profiles.len(),
        config.jobs.len()
    ));
    Ok(0)
}

fn schema(kind: Option<&str>) -> Result<u8, Failure> {
    match kind {
        None => print_json(config::schema::runner()),
        Some(name) => match JobKind::from_name(name) {
            Some(kind) => print_json(config::schema::job(kind)),
            None => {
                let known: Vec<&str> = JobKind::ALL.iter().map(|kind| kind.name()).collect();
                Err(Failure::Config(format!(
                    "there is no job kind {name:?}; there are: {}",
                    known.join(", ")
                )))
            }
        },
    }
}
