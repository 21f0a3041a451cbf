//! `runner exec`: one run of a job, from the first look to the report.

use jiff::Timestamp;

use super::{
    Failure, Global, beside_daemon,
    confirm::{self, Removals},
    running::{self, Asking, Begun, Reports},
};
use crate::{
    config::{Approval, JobFile, JobParams},
    engine::{Asked, PlanDocument},
    home::Home,
    jobs::{self, Given, Request},
    report::plan,
};

/// Whether a run of the job deletes Spot accounts on the word of whoever runs it.
fn deletes(job: &JobFile) -> bool {
    matches!(&job.params, JobParams::OrphanCleanup(params) if params.apply)
        && job.approval != Approval::Required
}

/// Run a job once: observe, plan, guard, apply, verify.
///
/// Beside a daemon on the same state file, the daemon runs it, and this command waits for it and tells what became of it; a first
/// SIGINT or SIGTERM cancels the run, a second one leaves.
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
    #[command(flatten)]
    asking: Asking,
    /// Do not ask before Spot accounts are deleted, where there is no terminal to ask on.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    reports: Reports,
}

impl Exec {
    /// The same run of a job again.
    pub(super) fn again(job: String, asked: Asked, yes: bool, reports: Reports) -> Self {
        Self {
            job,
            dry_run: false,
            asking: asked.into(),
            yes,
            reports,
        }
    }

    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Begun { home, job, guard } = running::begin(global, &self.job).await?;
        let state = home.state.clone();
        if !self.dry_run && !deletes(&job) && state.has_daemon()? {
            return beside_daemon::run(
                global,
                home,
                guard,
                &job,
                self.asking.into(),
                &self.reports,
            )
            .await;
        }
        let request = Request {
            dry_run: self.dry_run,
            asked: self.asking.into(),
            given: self.confirmed(global, &home, &job).await?,
            taken: None,
        };
        let report = running::run(global, home, &job, request).await?;
        running::tell(global, state, guard, &report, &self.reports).await
    }

    /// The plan that the operator has confirmed, where Spot accounts would be deleted and nobody else approves of it.
    async fn confirmed(
        &self,
        global: &Global,
        home: &Home,
        job: &JobFile,
    ) -> Result<Option<Given>, Failure> {
        if !deletes(job) || self.dry_run {
            return Ok(None);
        }
        let request = Request {
            dry_run: true,
            asked: self.asking.into(),
            given: None,
            taken: None,
        };
        let planned = running::run(global, home.clone(), job, request).await?;
        // What is refused or cannot be looked at now is confirmed by nobody, whatever the run itself finds then.
        let shown = planned.plan_before.filter(|plan| !plan.is_refused());
        let shown = shown.unwrap_or_default();
        let removals = Removals::of(&shown.steps);
        if removals.count() > 0 {
            let shown = plan::text(&shown, None);
            confirm::confirm(&shown, &removals.words(), removals.count(), self.yes)?;
        }
        let basis = jobs::basis(home, job, self.asking.into())?;
        let lifetime = job.plan_lifetime.get();
        let document = PlanDocument::new(planned.run_id, basis, &shown, Timestamp::now(), lifetime);
        Ok(Some(Given::File(Box::new(document))))
    }
}
