//! `runner exec`: one run of a job, from the first look to the report.

use super::{
    Failure, Global,
    running::{self, Asking, Begun, Reports},
};
use crate::jobs::Request;

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
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    reports: Reports,
}

impl Exec {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Begun { home, job, guard } = running::begin(global, &self.job).await?;
        let state = home.state.clone();
        let request = Request {
            dry_run: self.dry_run,
            asked: self.asking.into(),
            given: None,
        };
        let report = running::run(global, home, &job, request).await?;
        running::tell(global, state, guard, &report, &self.reports).await
    }
}
