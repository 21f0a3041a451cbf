//! How a job is run, beside what the job itself says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use onboarding_core::notify::Route;

use super::{
    consent::{Asked, Consent},
    context::{Clock, system_clock},
    interrupt::Interrupt,
    journal::Claim,
    progress::{NoProgress, ProgressSink},
    retry::RetryPolicy,
};

/// How a job is run. Fill in the name and take the rest from [`RunOptions::new`].
#[derive(Clone)]
pub struct RunOptions {
    /// The job's name.
    pub job: String,
    /// What woke it: `operator`, `schedule`, `event`.
    pub trigger: String,
    /// The scheduled moment that it is for, in Unix milliseconds.
    pub tick: Option<i64>,
    /// The run, when it waited in the journal until now.
    pub claim: Option<Claim>,
    /// The spans that asked for it (W3C traceparent).
    pub asked_in: Vec<String>,
    /// Whether a signal only puts the job off: it is asked for once more, for whoever comes next.
    pub is_put_off_by_signals: bool,
    /// Only observe and plan.
    pub dry_run: bool,
    /// Whether that is so by the job's definition, and not because somebody only wants to see: people are told of it, and what it finds
    /// is what the job finds.
    pub only_looks: bool,
    /// What was asked for beside the job's definition.
    pub asked: Asked,
    /// Whether the steps may be applied.
    pub consent: Consent,
    /// Steps of one order that are applied side by side; at least 1. Of a kind whose memos are kept: calls of `apply`.
    pub concurrency: usize,
    /// How failed attempts are repeated.
    pub retry: RetryPolicy,
    /// The same for steps of one action, where that is another.
    pub retry_of: BTreeMap<String, RetryPolicy>,
    /// How long one observation, or one call of `apply`, may take.
    pub timeout: Duration,
    /// How long a step may go on being requeued.
    pub operation_timeout: Duration,
    /// For how long its end is tried to be written while the state cannot be.
    pub end_patience: Duration,
    /// Who shows progress.
    pub progress: Arc<dyn ProgressSink>,
    /// Who is told of it.
    pub routes: Arc<[Route]>,
    /// Who may interrupt.
    pub interrupt: Interrupt,
    /// What time it is.
    pub clock: Clock,
}

impl RunOptions {
    /// Steps of one order that are applied side by side, unless it is said otherwise.
    pub const CONCURRENCY: usize = 8;

    /// The defaults, for the job of this name.
    pub fn new(job: impl Into<String>) -> Self {
        Self {
            job: job.into(),
            trigger: "operator".to_owned(),
            tick: None,
            claim: None,
            asked_in: Vec::new(),
            is_put_off_by_signals: false,
            dry_run: false,
            only_looks: false,
            asked: Asked::default(),
            consent: Consent::NotNeeded,
            concurrency: Self::CONCURRENCY,
            retry: RetryPolicy::default(),
            retry_of: BTreeMap::new(),
            timeout: Duration::from_secs(60 * 60),
            operation_timeout: Duration::from_secs(24 * 60 * 60),
            end_patience: Duration::from_secs(10),
            progress: Arc::new(NoProgress),
            routes: Arc::default(),
            interrupt: Interrupt::default(),
            clock: system_clock(),
        }
    }
}
