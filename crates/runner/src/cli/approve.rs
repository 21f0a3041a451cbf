//! `runner runs approve`: somebody agrees with a plan, and it is applied.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Failure, Global,
    freeze::named,
    load,
    running::{self, Reports},
    telemetry,
};
use crate::{
    home::Home,
    jobs::{self, Given, Request},
    state::ApprovalRow,
};

/// Approve the plan of a run that waits, and apply exactly that, as far as it still holds.
///
/// `runner runs show` shows the plan.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The run's id, or the beginning of it.
    id: String,
    /// Who approves it, beside the identity in AWS that it is applied with. Without it, the user of this machine.
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
    /// Why, or on whose word.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    reports: Reports,
}

impl Approve {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let home = Home::connect(Arc::new(config)).await?;
        let state = home.state.clone();
        let stored = state.plan(&self.id).await?;
        let run = stored.run.clone();
        let plan = stored.document.map_err(|why| {
            Failure::Refused(format!(
                "the plan of run {run} cannot be applied: {why}; plan again"
            ))
        })?;
        let job = home
            .config
            .job(&plan.basis.job)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        let now = Timestamp::now();
        let basis = jobs::basis(&home, &job, plan.basis.asked)?;
        if let Some((_, why)) = plan.void(now, &basis) {
            return Err(Failure::Refused(why));
        }
        let approval = ApprovalRow {
            by: format!("{} ({})", named(self.by), home.identity.arn),
            at: now.as_millisecond(),
            comment: self.comment,
        };
        if !state.approve_plan(&run, &job.name, &approval).await? {
            return Err(Failure::Refused(match stored.approval {
                Some(approval) => format!(
                    "the plan of run {run} is {} already, by {}",
                    stored.state, approval.by
                ),
                None => format!(
                    "the plan of run {run} is {}: a newer run of job {} has another one; `runner runs list` shows it",
                    stored.state, job.name
                ),
            }));
        }
        let request = Request {
            given: Some(Given::Approved(Box::new(plan))),
            ..Request::default()
        };
        let report = running::run(global, home, &job, request).await?;
        // What did not even begin was not approved for some later moment that nobody knows.
        if report.steps.is_empty() {
            state.withdraw_approval(&run, report.run_id).await?;
        }
        running::tell(global, state, guard, &report, &self.reports).await
    }
}
