//! `runner exec`: one run of a job, from the first look to the report.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Failure, Global, complain, load, print, print_json, telemetry};
use crate::{
    config::Approval,
    engine::{Interrupt, exit_code},
    home::Home,
    jobs,
    report::{Output, file::ReportFile, json, progress::TerminalProgress, table},
};

/// Run a job once: observe, plan, guard, apply, verify.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// The job: the name of its file in jobs/, without .toml.
    job: String,
    /// Only observe and plan; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Try accounts that failed again now, whatever their clock says.
    #[arg(long)]
    retry_failed: bool,
    /// Write a report of the run to this file, too, by its extension: .json (the document of --output json), .csv (a line for
    /// each account), .xml (JUnit), .html (one page that needs nothing else). Can be given several times.
    #[arg(long = "report", value_name = "FILE")]
    reports: Vec<ReportFile>,
}

impl Exec {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let job = config
            .job(&self.job)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        if job.approval == Approval::Required && !self.dry_run {
            return Err(Failure::Refused(format!(
                "job {} needs an approval (approval = \"required\"), which this version cannot take yet; look at the plan with \
                 --dry-run, and have approval = \"never\" reviewed before you run it",
                job.name
            )));
        }
        let interrupt = Interrupt::on_signals()
            .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
        let home = Home::connect(Arc::new(config)).await?;
        let state = home.state.clone();
        let progress = Arc::new(TerminalProgress::new(global.quiet));
        let request = jobs::Request {
            dry_run: self.dry_run,
            retry_failed: self.retry_failed,
        };
        let report = Box::pin(jobs::execute(
            home,
            &job,
            request,
            progress.clone(),
            interrupt,
        ))
        .await?;
        progress.finish();
        // Its thread holds the spans of the last queries, and so the run's, open for a moment after they are answered.
        state.close().await;
        guard.shutdown().await;
        let document = json::document(&report);
        for file in &self.reports {
            file.write(&report, Timestamp::now()).map_err(|error| {
                Failure::Failed(format!(
                    "the report could not be written to {}: {error}",
                    file.path().display()
                ))
            })?;
        }
        if let Some(error) = &report.error {
            complain(&error.chain());
        }
        match global.output {
            Output::Json => print_json(&document)?,
            Output::Table => {
                print(&table::run(&report));
                0
            }
        };
        Ok(exit_code(&report))
    }
}
