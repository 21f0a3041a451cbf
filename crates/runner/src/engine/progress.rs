//! Progress: how far the steps are, summed over all of them, for whoever shows it.

use std::{collections::BTreeMap, sync::Arc};

use onboarding_core::plan::Step;
use parking_lot::Mutex;

use super::job::Phase;

/// How far the work is, in accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Accounts that are worked on.
    pub total: usize,
    /// Of those, done.
    pub done: usize,
    /// Of those, failed.
    pub failed: usize,
    /// Of those, not finished yet.
    pub waiting: usize,
    /// The operation that is going on, for people.
    pub operation: Option<String>,
}

/// Somebody who shows progress. Called often; must return at once.
pub trait ProgressSink: Send + Sync {
    /// A phase begins.
    fn phase(&self, _phase: Phase) {}

    /// The sum over all steps changed.
    fn progress(&self, progress: &Progress);

    /// Something that a person at the terminal should read now.
    fn notice(&self, _text: &str) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn progress(&self, _progress: &Progress) {}
}

/// Keeps each step's progress and shows the sum.
pub(super) struct ProgressBoard {
    sink: Arc<dyn ProgressSink>,
    steps: Mutex<BTreeMap<String, Progress>>,
}

impl ProgressBoard {
    pub(super) fn new(sink: Arc<dyn ProgressSink>) -> Self {
        Self {
            sink,
            steps: Mutex::default(),
        }
    }

    pub(super) fn sink(&self) -> &dyn ProgressSink {
        &*self.sink
    }

    /// All accounts of the steps are waiting.
    pub(super) fn planned(&self, steps: &[Step]) {
        let planned = steps.iter().map(|step| {
            let total = step.accounts.len();
            let progress = Progress {
                total,
                waiting: total,
                ..Progress::default()
            };
            (step.id.clone(), progress)
        });
        *self.steps.lock() = planned.collect();
        self.show();
    }

    /// A step tells how far it is.
    pub(super) fn update(&self, step: &str, progress: Progress) {
        self.steps.lock().insert(step.to_owned(), progress);
        self.show();
    }

    /// A step ended. What it told last stands, except that nothing waits on it any more.
    pub(super) fn ended(&self, step: &str, failed: bool) {
        if let Some(progress) = self.steps.lock().get_mut(step) {
            let rest = std::mem::take(&mut progress.waiting);
            if failed {
                progress.failed += rest;
            } else {
                progress.done += rest;
            }
            progress.operation = None;
        }
        self.show();
    }

    fn show(&self) {
        let mut sum = Progress::default();
        for progress in self.steps.lock().values() {
            sum.total += progress.total;
            sum.done += progress.done;
            sum.failed += progress.failed;
            sum.waiting += progress.waiting;
            if progress.operation.is_some() {
                sum.operation.clone_from(&progress.operation);
            }
        }
        self.sink.progress(&sum);
    }
}
