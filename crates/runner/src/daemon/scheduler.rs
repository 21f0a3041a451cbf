//! Looks for due ticks and writes down what becomes of them. Several may look at one state: what one has decided stands.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::{Nudge, definitions::Definitions, health::Health};
use crate::{
    schedule::{self, Decision, Timing},
    state::{Looked, State, StateError},
};

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// See the module documentation.
pub(super) struct Scheduler {
    pub(super) state: State,
    pub(super) definitions: Arc<Definitions>,
    pub(super) health: Arc<Health>,
    /// Told that runs wait.
    pub(super) queued: Nudge,
}

impl Scheduler {
    /// Looks each second, and when it is nudged. Never ends.
    pub(super) async fn run(&self, nudge: &Nudge) {
        // It only wakes us: what is due is a matter of the ticks, which it knows nothing of.
        let wakes = wake_each_second(Arc::clone(nudge)).await;
        if let Err(error) = &wakes {
            tracing::warn!(%error, "the scheduler looks every {} seconds only", LOOK.as_secs());
        }
        loop {
            match self.look(Timestamp::now()).await {
                Ok(()) => self.health.looked(),
                Err(error) => {
                    tracing::error!(%error, "what is due could not be looked at; it is tried again")
                }
            }
            tokio::select! {
                () = nudge.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, now: Timestamp) -> Result<(), StateError> {
        let config = self.definitions.current();
        let standings = self.state.standings().await?;
        let scheduled = config.jobs.iter().filter(|job| job.enabled);
        let looks: Vec<Looked<'_>> = scheduled
            .filter_map(|job| Some((job, job.schedule.as_ref()?)))
            .filter_map(|(job, schedule)| {
                let standing = standings.get(&job.name).cloned().unwrap_or_default();
                let timing = Timing {
                    job: &job.name,
                    schedule,
                    overlap: job.overlap,
                };
                let decisions = schedule::look(timing, &standing, now);
                let is_new = standing.looked_until.is_none();
                (is_new || !decisions.is_empty()).then(|| Looked {
                    job: &job.name,
                    kind: job.kind().name(),
                    before: standing.looked_until,
                    until: now,
                    decisions,
                })
            })
            .collect();
        if looks.is_empty() {
            return Ok(());
        }
        self.state.note_looks(&looks, now).await?;
        for look in &looks {
            for decision in &look.decisions {
                tell(look.job, decision);
            }
        }
        self.queued.notify_one();
        Ok(())
    }
}

fn tell(job: &str, decision: &Decision) {
    match decision {
        Decision::Queue { tick, due_at } => {
            tracing::info!(job.name = job, %tick, %due_at, "a run is due");
        }
        Decision::Skip { tick, why } => {
            tracing::warn!(job.name = job, %tick, %why, "a tick is skipped");
        }
        Decision::Replace { run } => {
            tracing::info!(
                job.name = job,
                run.id = run,
                "a run makes room for a later one"
            );
        }
    }
}

/// Nudges each second, for as long as the answer lives.
async fn wake_each_second(nudge: Nudge) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new("* * * * * *", move |_, _| nudge.notify_one())?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
