//! Running a job from the command line: progress, signals, the report in every form, and the exit code.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Failure, Global, complain, load, print, print_json};
use crate::{
    config::JobFile,
    engine::{Asked, Interrupt, RunReport, exit_code},
    home::Home,
    jobs::{self, Request},
    notify,
    report::{Output, file::ReportFile, json, progress::TerminalProgress, table},
    state::State,
    telemetry,
};

/// How long telling people of a run may take at its end.
const TELLING: Duration = Duration::from_secs(10);

/// What every command that runs a job can be asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Reports {
    /// Write a report of the run to this file, too, by its extension: .json (the document of --output json), .csv (a line for
    /// each account), .xml (JUnit), .html (one page that needs nothing else). Can be given several times.
    #[arg(long = "report", value_name = "FILE")]
    reports: Vec<ReportFile>,
}

impl Reports {
    /// Whether any is wanted.
    pub(super) fn are_wanted(&self) -> bool {
        !self.reports.is_empty()
    }
}

/// What can be asked for beside the job's definition.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Asking {
    /// Try accounts that failed again now, whatever their clock says.
    #[arg(long)]
    retry_failed: bool,
    /// Mend what a drift-audit finds, where `enroll` can.
    #[arg(long)]
    fix: bool,
}

impl From<Asking> for Asked {
    fn from(Asking { retry_failed, fix }: Asking) -> Self {
        Self { retry_failed, fix }
    }
}

impl From<Asked> for Asking {
    fn from(Asked { retry_failed, fix }: Asked) -> Self {
        Self { retry_failed, fix }
    }
}

/// What a command that runs a job begins with.
pub(super) struct Begun {
    pub(super) home: Home,
    pub(super) job: JobFile,
    pub(super) guard: telemetry::Guard,
}

/// Reads the configuration with this job, starts telemetry, and connects.
pub(super) async fn begin(global: &Global, job: &str) -> Result<Begun, Failure> {
    let config = load(global)?;
    let guard = super::telemetry(global, &config)?;
    let job = config
        .job(job)
        .map_err(|errors| Failure::Config(errors.to_string()))?;
    let home = Home::connect(Arc::new(config)).await?;
    Ok(Begun { home, job, guard })
}

/// Runs a job once, with its progress on the terminal.
pub(super) async fn run(
    global: &Global,
    home: Home,
    job: &JobFile,
    request: Request,
) -> Result<RunReport, Failure> {
    let interrupt = Interrupt::on_signals()
        .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
    let progress = Arc::new(TerminalProgress::new(global.quiet));
    let (told_by, dry_run) = (home.clone(), request.dry_run);
    let report = Box::pin(jobs::execute(
        home,
        job,
        request,
        progress.clone(),
        interrupt.clone(),
    ))
    .await?;
    progress.finish();
    if !dry_run {
        tokio::select! {
            () = interrupt.abandoned() => {}
            () = notify::within(&told_by, TELLING) => {}
        }
    }
    Ok(report)
}

/// Writes the reports, says what went wrong, and prints the run. The state is closed and telemetry sent before.
pub(super) async fn tell(
    global: &Global,
    state: State,
    guard: telemetry::Guard,
    report: &RunReport,
    reports: &Reports,
) -> Result<u8, Failure> {
    // Its thread holds the spans of the last queries, and so the run's, open for a moment after they are answered.
    state.close().await;
    guard.shutdown().await;
    for file in &reports.reports {
        file.write(report, Timestamp::now()).map_err(|error| {
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
        Output::Json => print_json(&json::document(report))?,
        Output::Table => {
            print(&table::run(report));
            0
        }
    };
    Ok(exit_code(report))
}
