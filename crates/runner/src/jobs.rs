//! The job kinds, in one explicit list. A new kind is one module here, one kind of job file in the configuration, one
//! arm in [`execute`], and one page of documentation; tests hold them together. Kinds that are programs of their own are one
//! of them, [`external`].

pub mod accounts;
mod basis;
mod drift_audit;
mod enroll;
pub mod external;
pub mod orphan_cleanup;
pub mod policy_rollout;
pub mod stackset_sync;
pub mod undo;

pub use basis::basis;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    config::{Approval, JobFile, JobKind, JobParams, ProviderKind, RetryConfig},
    daemon::BY_HAND,
    engine::{
        self, Asked, Claim, Consent, ErrorClass, Interrupt, JobError, PlanDocument, ProgressSink,
        RetryPolicy, RunOptions, RunReport,
    },
    home::Home,
};

/// For how long a daemon tries to write the end of a run down while the state cannot be written: it has nothing else to do with its place.
const END_PATIENCE: Duration = Duration::from_secs(300);

/// How an operator runs a job.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Only plan.
    pub dry_run: bool,
    /// What is asked for. A plan that is given says so itself.
    pub asked: Asked,
    /// The plan that is to be applied, and nothing else.
    pub given: Option<Given>,
    /// The run, when it waited in the state until now.
    pub taken: Option<TakenUp>,
}

/// A run that waited in the state.
#[derive(Debug, Clone)]
pub struct TakenUp {
    /// The claim.
    pub claim: Claim,
    /// What woke it.
    pub woken_by: String,
    /// The spans that asked for it (W3C traceparent).
    pub asked_in: Vec<String>,
}

/// A plan that somebody has looked at.
#[derive(Debug, Clone)]
pub enum Given {
    /// From a file. Nobody has approved it for the state.
    File(Box<PlanDocument>),
    /// Kept in the state, and approved.
    Approved(Box<PlanDocument>),
}

/// Runs a job once. A job that needs an approval applies an approved plan and nothing else: the one that is given, or one that
/// was approved and not applied to its end; without any it only keeps its plan.
///
/// # Errors
/// When the job cannot even be set up: the configuration cannot be mapped. What goes wrong later is in the report.
pub async fn execute(
    home: Home,
    job: &JobFile,
    request: Request,
    progress: Arc<dyn ProgressSink>,
    interrupt: Interrupt,
) -> Result<RunReport, JobError> {
    let consent = consent(&home, job, &request, &interrupt).await?;
    let asked = match &consent {
        Consent::Given { plan, .. } => {
            if request.asked != Asked::default() && request.asked != plan.basis.asked {
                tracing::warn!(
                    "--retry-failed and --fix are not heeded: an approved plan is applied, which was made without them"
                );
            }
            plan.basis.asked
        }
        Consent::NotNeeded | Consent::Needed { .. } => request.asked,
    };
    if asked.fix && !matches!(job.params, JobParams::DriftAudit(_)) {
        return Err(JobError::new(
            ErrorClass::Invalid,
            format!(
                "--fix is for jobs of kind {}; job {} is of kind {}",
                JobKind::DriftAudit,
                job.name,
                job.kind()
            ),
        ));
    }
    // A clean-up that is not to delete anything is a dry run, but for its own notes.
    let only_looks = matches!(&job.params, JobParams::OrphanCleanup(params) if !params.apply);
    let options = RunOptions {
        dry_run: request.dry_run || only_looks,
        only_looks: only_looks && !request.dry_run,
        asked,
        consent,
        timeout: job.timeout.get(),
        operation_timeout: job.operation_timeout.get(),
        retry: policy(&job.retry),
        retry_of: retry_of(&job.retry),
        progress,
        routes: home.config.runner.routes(),
        interrupt,
        concurrency: concurrency(&home, job),
        ..RunOptions::new(&job.name)
    };
    let options = match request.taken {
        None => options,
        Some(taken) => RunOptions {
            claim: Some(taken.claim),
            // Who waits for it is told, and asks again.
            is_put_off_by_signals: taken.woken_by != BY_HAND,
            end_patience: END_PATIENCE,
            trigger: taken.woken_by,
            asked_in: taken.asked_in,
            ..options
        },
    };
    let journal = Arc::new(home.state.clone());
    let interrupt = options.interrupt.clone();
    match &job.params {
        JobParams::StacksetSync(params) => {
            let sync =
                stackset_sync::StackSetSync::new(home, &params.profiles, asked.retry_failed)?;
            let job = sync.of_file(&job.name);
            Ok(engine::execute(&job, journal, options).await)
        }
        JobParams::DriftAudit(params) => {
            let job = accounts::OnAccounts::audit(home, params, asked)?.of_file(&job.name);
            Ok(engine::execute(&job, journal, options).await)
        }
        JobParams::Enroll(params) => {
            let job = accounts::OnAccounts::enroll(home, params, asked)?.of_file(&job.name);
            Ok(engine::execute(&job, journal, options).await)
        }
        JobParams::OrphanCleanup(params) => {
            let keeps_clocks = !request.dry_run;
            let job = orphan_cleanup::OrphanCleanup::new(home, params, keeps_clocks)?;
            Ok(engine::execute(&job, journal, options).await)
        }
        JobParams::PolicyRollout(params) => {
            let job = policy_rollout::PolicyRollout::new(home, &job.name, params)?;
            Ok(engine::execute(&job, journal, options).await)
        }
        JobParams::External(external) => {
            let job = external::External::new(home, external, interrupt)?;
            let report = Box::pin(engine::execute(&job, journal, options)).await;
            job.close().await;
            Ok(report)
        }
    }
}

/// Whether the steps of a run may be applied.
async fn consent(
    home: &Home,
    job: &JobFile,
    request: &Request,
    interrupt: &Interrupt,
) -> Result<Consent, JobError> {
    if request.dry_run {
        return Ok(Consent::NotNeeded);
    }
    let needs_approval = job.approval == Approval::Required;
    let given = match &request.given {
        Some(Given::File(_)) if needs_approval => {
            return Err(JobError::new(
                ErrorClass::Invalid,
                format!(
                    "job {} needs an approval, which a plan in a file does not have",
                    job.name
                ),
            ));
        }
        Some(Given::File(plan)) => Some((plan.as_ref().clone(), false)),
        Some(Given::Approved(plan)) => Some((plan.as_ref().clone(), true)),
        None if needs_approval => {
            let state = &home.state;
            let approved = state.approved_plan(&job.name, Timestamp::now());
            let approved = state.in_time_or_end(interrupt, approved).await?;
            approved.map(|plan| (plan, true))
        }
        None => return Ok(Consent::NotNeeded),
    };
    Ok(match given {
        Some((plan, is_kept)) => Consent::Given {
            basis: basis(home, job, plan.basis.asked)?,
            plan: Arc::new(plan),
            is_kept,
        },
        None => Consent::Needed {
            basis: basis(home, job, request.asked)?,
            lifetime: job.plan_lifetime.get(),
        },
    })
}

fn policy(retry: &RetryConfig) -> RetryPolicy {
    RetryPolicy {
        attempts: retry.attempts,
        initial: retry.initial.get(),
        max: retry.max.get(),
    }
}

fn retry_of(retry: &RetryConfig) -> BTreeMap<String, RetryPolicy> {
    let steps = retry.steps.iter();
    steps
        .map(|(action, step)| (action.clone(), policy(&retry.of(step))))
        .collect()
}

/// How many steps run side by side. Where each account is a step, as many as accounts of an operation elsewhere at most.
fn concurrency(home: &Home, job: &JobFile) -> usize {
    let enrollment = &home.config.runner.enrollment;
    let most = (enrollment.provider == ProviderKind::Direct).then(|| {
        let accounts = usize::try_from(enrollment.direct_ceiling).unwrap_or(usize::MAX);
        home.max_concurrent(accounts, accounts)
    });
    let steps = at_once(job.concurrency, most);
    steps.map_or(RunOptions::CONCURRENCY, |steps| {
        usize::try_from(steps).unwrap_or(RunOptions::CONCURRENCY)
    })
}

/// What a job says, up to what is possible; none when nothing limits it.
fn at_once(said: Option<u32>, most: Option<u32>) -> Option<u32> {
    match (said, most) {
        (Some(said), Some(most)) => Some(said.min(most)),
        (said, most) => said.or(most),
    }
}

#[cfg(test)]
mod tests {
    use super::at_once;

    #[test]
    fn a_job_says_how_many_steps_go_side_by_side_up_to_what_is_possible() {
        for (said, most, expected) in [
            (None, None, None),
            (Some(2), None, Some(2)),
            (None, Some(20), Some(20)),
            (Some(2), Some(20), Some(2)),
            (Some(64), Some(20), Some(20)),
        ] {
            assert_eq!(at_once(said, most), expected);
        }
    }
}
