//! The job kinds, in one explicit list. A new kind is one module here, one kind of job file in the configuration, one
//! arm in [`execute`], and one page of documentation; tests hold them together.

mod basis;
pub mod stackset_sync;

pub use basis::basis;

use std::sync::Arc;

use crate::{
    config::{JobFile, JobParams, ProviderKind},
    engine::{
        self, Consent, Interrupt, JobError, ProgressSink, RetryPolicy, RunOptions, RunReport,
    },
    home::Home,
};

/// How an operator runs a job.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Only plan.
    pub dry_run: bool,
    /// Try failed accounts again now, whatever their clock says.
    pub retry_failed: bool,
    /// Whether the steps may be applied.
    pub consent: Consent,
}

/// Runs a job once.
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
    let options = RunOptions {
        dry_run: request.dry_run,
        consent: request.consent,
        timeout: job.timeout.get(),
        operation_timeout: job.operation_timeout.get(),
        retry: RetryPolicy {
            attempts: job.retry.attempts,
            initial: job.retry.initial.get(),
            max: job.retry.max.get(),
        },
        progress,
        interrupt,
        concurrency: concurrency(&home),
        ..RunOptions::new(&job.name)
    };
    let journal = Arc::new(home.state.clone());
    match &job.params {
        JobParams::StacksetSync(params) => {
            let job = stackset_sync::StackSetSync::new(home, params, request.retry_failed)?;
            Ok(engine::execute(&job, journal, options).await)
        }
    }
}

/// How many steps run side by side. Where each account is a step, as many as accounts of an operation elsewhere.
fn concurrency(home: &Home) -> usize {
    let enrollment = &home.config.runner.enrollment;
    if enrollment.provider != ProviderKind::Direct {
        return RunOptions::CONCURRENCY;
    }
    let accounts = usize::try_from(enrollment.direct_ceiling).unwrap_or(usize::MAX);
    usize::try_from(home.max_concurrent(accounts, accounts)).unwrap_or(RunOptions::CONCURRENCY)
}
