//! `runner plan` and `runner apply`: a plan that is looked at first, and applied as it was.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use onboarding_core::orphan_cleanup;

use super::{
    Failure, Global, complain,
    confirm::{self, Removals},
    load, print, print_json,
    running::{self, Asking, Begun, Reports},
    telemetry,
};
use crate::{
    config::{Approval, HumanDuration},
    engine::{PlanDocument, exit_code},
    home::Home,
    jobs::{self, Given, Request},
    report::{Output, json, plan, table},
};

/// Show what a job would do. Changes nothing.
///
/// Exit code 0 when there is nothing to do, 3 when there is, 4 when a guard rail refuses it.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The job: the name of its file in jobs/, without .toml.
    job: String,
    /// Write the plan to this file, for `runner apply`.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long the plan can be applied; without it, as the job says.
    #[arg(long, value_name = "DURATION", requires = "out")]
    valid_for: Option<HumanDuration>,
    #[command(flatten)]
    asking: Asking,
}

impl Plan {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Begun { home, job, guard } = running::begin(global, &self.job).await?;
        let state = home.state.clone();
        let asked = self.asking.into();
        let basis = jobs::basis(&home, &job, asked)?;
        let request = Request {
            dry_run: true,
            asked,
            given: None,
            taken: None,
        };
        let report = running::run(global, home, &job, request).await?;
        state.close().await;
        guard.shutdown().await;
        if let Some(error) = &report.error {
            complain(&error.chain());
        }
        if let (Some(planned), Some(file)) = (&report.plan_before, &self.out) {
            let lifetime = self.valid_for.unwrap_or(job.plan_lifetime).get();
            let now = Timestamp::now();
            write(
                file,
                &PlanDocument::new(report.run_id, basis, planned, now, lifetime),
            )?;
        }
        let how = self.out.as_ref().map(|file| match job.approval {
            Approval::Never => format!("runner apply {}", file.display()),
            Approval::Required => {
                format!(
                    "runner exec {}, which keeps the plan until somebody approves it",
                    job.name
                )
            }
        });
        match (global.output, &report.plan_before) {
            (Output::Json, _) => {
                print_json(&json::document(&report))?;
            }
            (Output::Table, Some(planned)) => print(&plan::text(planned, how.as_deref())),
            (Output::Table, None) => print(&table::run(&report)),
        }
        Ok(exit_code(&report))
    }
}

/// Apply a plan that `runner plan -o FILE` wrote, as far as it still holds.
///
/// Nothing is applied when the plan has expired, or when the configuration, the job, a policy, a template or a guard rail is
/// another one now. Else everything is looked at and planned again, and what the plan has is applied; the rest is reported as
/// moved.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The plan.
    file: PathBuf,
    /// Do not ask before Spot accounts are deleted, where there is no terminal to ask on.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    reports: Reports,
}

impl Apply {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let document = read(&self.file)?;
        let job = config
            .job(&document.basis.job)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        if job.approval == Approval::Required {
            return Err(Failure::Refused(format!(
                "job {0} has approval = \"required\": `runner exec {0}` keeps a plan, and `runner runs approve` applies it and \
                 writes down who approved it",
                job.name
            )));
        }
        if document.basis.kind == orphan_cleanup::KIND {
            let removals = Removals::of(document.steps.iter().map(|one| &one.step));
            if removals.count() > 0 {
                let shown = plan::kept(&document.steps);
                confirm::confirm(&shown, &removals.words(), removals.count(), self.yes)?;
            }
        }
        let home = Home::connect(Arc::new(config)).await?;
        let state = home.state.clone();
        let request = Request {
            given: Some(Given::File(Box::new(document))),
            ..Request::default()
        };
        let report = running::run(global, home, &job, request).await?;
        running::tell(global, state, guard, &report, &self.reports).await
    }
}

fn read(file: &Path) -> Result<PlanDocument, Failure> {
    let unusable = |why: String| {
        Failure::Config(format!(
            "{} is no plan that can be applied: {why}; `runner plan <job> -o FILE` writes one",
            file.display()
        ))
    };
    let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    PlanDocument::read(&text).map_err(unusable)
}

/// Writes the plan for its owner alone: it names accounts and what may be done in them. Whoever reads the file meanwhile has the
/// old one or the new one, whole.
fn write(file: &Path, document: &PlanDocument) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| {
        Failure::Failed(format!(
            "the plan could not be written to {}: {error}",
            file.display()
        ))
    };
    let text = serde_json::to_string_pretty(document).map_err(|error| failed(error.into()))?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", document.run_id));
    let new = file.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    let mut opened = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    let written = opened
        .write_all(text.as_bytes())
        .and_then(|()| opened.write_all(b"\n"))
        .and_then(|()| fs::rename(&new, file));
    written.map_err(|error| {
        // What is left of it is of no use; that it cannot be removed either says nothing new.
        let _ = fs::remove_file(&new);
        failed(error)
    })
}
