//! `runner exec`: one run of a job, from the first look to the report.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Failure, Global, load,
    running::{self, Reports},
    telemetry,
};
use crate::{
    config::{Approval, JobFile},
    engine::Consent,
    home::Home,
    jobs::{self, Request},
};

/// Run a job once: observe, plan, guard, apply, verify.
///
/// A job with approval = "required" keeps its plan and ends with exit code 4; `runner runs approve` continues it. One that was
/// approved and not applied to its end is continued here.
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
    #[command(flatten)]
    reports: Reports,
}

impl Exec {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let job = config
            .job(&self.job)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        let home = Home::connect(Arc::new(config)).await?;
        let state = home.state.clone();
        let mut request = Request {
            dry_run: self.dry_run,
            retry_failed: self.retry_failed,
            consent: Consent::NotNeeded,
        };
        let mut approved = None;
        if job.approval == Approval::Required && !self.dry_run {
            (request, approved) = consented(&home, &job, request).await?;
        }
        let report = running::run(global, home, &job, request).await?;
        if let Some(plan) = approved {
            running::note(&state, &plan, &report).await?;
        }
        running::tell(global, state, guard, &report, &self.reports).await
    }
}

/// With the plan that was approved and not applied to its end, whose run is told; else with a plan that has to be approved.
async fn consented(
    home: &Home,
    job: &JobFile,
    request: Request,
) -> Result<(Request, Option<String>), Failure> {
    let approved = home
        .state
        .approved_plan(&job.name, Timestamp::now())
        .await?;
    let Some(approved) = approved else {
        let basis = jobs::basis(home, job, request.retry_failed)?;
        let lifetime = job.plan_lifetime.get();
        let consent = Consent::Needed { basis, lifetime };
        return Ok((Request { consent, ..request }, None));
    };
    let plan = Arc::new(approved.document);
    let retry_failed = plan.basis.retry_failed;
    let run = plan.run_id.clone();
    let basis = jobs::basis(home, job, retry_failed)?;
    let request = Request {
        retry_failed,
        consent: Consent::Given { plan, basis },
        ..request
    };
    Ok((request, Some(run)))
}
