//! Looks for due ticks and writes down what becomes of them. Several may look at one state: what one has decided stands.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::{Nudge, definitions::Definitions, readiness::Health};
use crate::{
    config::{JobFile, Schedule},
    engine::Interrupt,
    schedule::{self, Decision, Standing, Timing},
    state::{Looked, State, StateError},
};

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// By how much the clocks of two daemons may differ. A look further ahead than that was made by a clock that has been set back since.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// Jobs whose looks are written down in one go: so few that it is done in time also where the state is far away, and the next look goes on
/// behind them.
const AT_ONCE: usize = 100;

/// See the module documentation.
pub(super) struct Scheduler {
    pub(super) state: State,
    pub(super) definitions: Arc<Definitions>,
    pub(super) health: Arc<Health>,
    /// Told that runs wait.
    pub(super) queued: Nudge,
    /// The schedules that this process knows to be in force, by job; none before it has looked.
    pub(super) in_force: Mutex<Option<BTreeMap<String, String>>>,
}

impl Scheduler {
    /// Looks each second, and when it is nudged, until `interrupt` drains: what is due then is for whoever comes next. Never ends.
    pub(super) async fn run(&self, nudge: &Nudge, interrupt: &Interrupt) {
        // It only wakes us: what is due is a matter of the ticks, which it knows nothing of.
        let wakes = wake_each_second(Arc::clone(nudge)).await;
        if let Err(error) = &wakes {
            tracing::warn!(%error, "the scheduler looks every {} seconds only", LOOK.as_secs());
        }
        loop {
            match self.state.in_time(self.look(Timestamp::now())).await {
                Ok(()) => self.health.looked(),
                Err(error) => {
                    tracing::error!(%error, "what is due could not be looked at; it is tried again")
                }
            }
            tokio::select! {
                () = interrupt.draining() => return std::future::pending().await,
                () = nudge.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, now: Timestamp) -> Result<(), StateError> {
        let config = self.definitions.current();
        let standings = self.state.standings().await?;
        let scheduled: BTreeMap<&str, (&JobFile, &Schedule)> = config
            .jobs
            .iter()
            .filter(|job| job.enabled)
            .filter_map(|job| Some((job.name.as_str(), (job, job.schedule.as_ref()?))))
            .collect();
        let mut looks = self.come_into_force(&scheduled, &standings, now);
        let gone = self.out_of_force(&scheduled, &standings);
        if !gone.is_empty() {
            self.state.forget_schedules(&gone).await?;
        }
        let begun: Vec<String> = looks.iter().map(|look| look.job.clone()).collect();
        for (name, (job, schedule)) in &scheduled {
            let standing = standings.get(*name).cloned().unwrap_or_default();
            let timing = Timing {
                job: name,
                schedule,
                overlap: job.overlap,
            };
            let decisions = schedule::look(timing, &standing, now);
            if !decisions.is_empty() && !begun.iter().any(|job| job == name) {
                looks.push(Looked {
                    job: (*name).to_owned(),
                    kind: job.kind().to_owned(),
                    schedule: schedule.to_string(),
                    before: standing.looked_until,
                    until: now,
                    decisions,
                });
            }
        }
        for some in looks.chunks(AT_ONCE) {
            self.state.note_looks(some, now).await?;
            self.tell(some);
        }
        let in_force = scheduled.iter();
        let in_force =
            in_force.map(|(name, (_, schedule))| ((*name).to_owned(), schedule.to_string()));
        *self.in_force.lock() = Some(in_force.collect());
        Ok(())
    }

    /// Says what was decided, and that it is there.
    fn tell(&self, looks: &[Looked]) {
        for look in looks {
            for decision in &look.decisions {
                tell(&look.job, decision);
            }
        }
        if looks.iter().any(|look| !look.decisions.is_empty()) {
            self.queued.notify_one();
        }
    }

    /// Schedules that were not in force, in this process and when somebody looked last: their ticks begin now. Only what this
    /// process has not known yet is compared, so that two that were given different schedules do not undo each other's looks.
    /// So do those of which somebody has looked at a time that has not come yet: they would not be due until it comes. A tick that
    /// had its run then does not get another one.
    fn come_into_force(
        &self,
        scheduled: &BTreeMap<&str, (&JobFile, &Schedule)>,
        standings: &BTreeMap<String, Standing>,
        now: Timestamp,
    ) -> Vec<Looked> {
        let in_force = self.in_force.lock();
        let known = |name: &str| in_force.as_ref().and_then(|known| known.get(name));
        let new = scheduled.iter().filter_map(|(name, (job, schedule))| {
            let text = schedule.to_string();
            let standing = standings.get(*name);
            let looked_at = standing.and_then(|standing| standing.schedule.as_ref());
            let is_known = known(name) == Some(&text) || looked_at == Some(&text);
            let before = standing.and_then(|standing| standing.looked_until);
            let ahead = before.filter(|before| *before > now + CLOCKS_DIFFER);
            if let Some(ahead) = ahead {
                tracing::error!(
                    job.name = name,
                    %ahead,
                    "the clock was set back, or another daemon's clock is ahead: the job is due by this one's clock again"
                );
            }
            (!is_known || before.is_none() || ahead.is_some()).then(|| Looked {
                job: (*name).to_owned(),
                kind: job.kind().to_owned(),
                schedule: text,
                before,
                until: now,
                decisions: Vec::new(),
            })
        });
        new.collect()
    }

    /// Schedules that are not in force any more: what would have been due meanwhile is not missed. Where several daemons look, another one
    /// may have a job that this one lacks. So after its first look, this one takes out what it had in force itself.
    fn out_of_force<'a>(
        &self,
        scheduled: &BTreeMap<&str, (&JobFile, &Schedule)>,
        standings: &'a BTreeMap<String, Standing>,
    ) -> Vec<&'a str> {
        let known = standings.iter();
        let known = known.filter(|(_, standing)| standing.schedule.is_some());
        let names = known.map(|(name, _)| name.as_str());
        let in_force = self.in_force.lock();
        let may_be_anothers = |name: &str| {
            let had = in_force.as_ref().map(|had| had.contains_key(name));
            self.state.is_shared() && had == Some(false)
        };
        names
            .filter(|name| !scheduled.contains_key(name) && !self.definitions.is_broken(name))
            .filter(|name| !may_be_anothers(name))
            .collect()
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

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::{config::Config, state::UnbegunEnd};

    const RUNNER: &str = "[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n\
                          [profiles.targets]\nous = [\"root\"]\n";

    /// A configuration with one job, and a state.
    struct World {
        directory: tempfile::TempDir,
        state: State,
    }

    impl World {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", directory.path().join("state.db").display());
            Self::on(directory, &url).await
        }

        /// None where PostgreSQL is not installed, which is said.
        async fn on_server() -> Option<Self> {
            let database = tokio::task::spawn_blocking(e2e::postgres::database);
            let url = database.await.unwrap().unwrap()?;
            Some(Self::on(tempfile::tempdir().unwrap(), &url).await)
        }

        async fn on(directory: tempfile::TempDir, url: &str) -> Self {
            std::fs::create_dir(directory.path().join("jobs")).unwrap();
            std::fs::write(directory.path().join("runner.toml"), RUNNER).unwrap();
            let state = State::open(url).await.unwrap();
            Self { directory, state }
        }

        /// Since when its job is in force.
        async fn in_force_since(&self) -> Option<Timestamp> {
            let figures = self.state.figures().await.unwrap();
            let since = figures.jobs["sync"].in_force_since?;
            Some(Timestamp::from_millisecond(since).unwrap())
        }

        fn job(&self, text: &str) {
            let text = format!("kind = \"stackset-sync\"\n{text}");
            std::fs::write(self.directory.path().join("jobs/sync.toml"), text).unwrap();
        }

        /// A daemon that starts now.
        fn starts(&self) -> Scheduler {
            let config = Config::load(self.directory.path(), &[]).unwrap();
            Scheduler {
                state: self.state.clone(),
                definitions: Arc::new(Definitions::new(&Arc::new(config), Vec::new())),
                health: Arc::default(),
                queued: Nudge::default(),
                in_force: Mutex::default(),
            }
        }

        /// How many runs wait.
        async fn queued(&self) -> usize {
            let runs = self.state.list_runs(None, 1_000).await.unwrap();
            runs.iter().filter(|run| run.state == "queued").count()
        }

        /// The states of the runs that there are, the oldest first.
        async fn runs(&self) -> Vec<String> {
            let mut runs = self.state.list_runs(None, 100).await.unwrap();
            runs.sort_by(|a, b| a.id.cmp(&b.id));
            runs.into_iter().map(|run| run.state).collect()
        }
    }

    fn noon() -> Timestamp {
        "2027-01-01T12:00:01Z".parse().unwrap()
    }

    const HOURLY: &str = "schedule = { cron = \"0 0 * * * *\", catch_up = \"1h\" }";

    #[tokio::test]
    async fn what_was_due_while_no_daemon_ran_is_missed_and_the_last_of_it_caught_up() {
        let world = World::new().await;
        world.job(HOURLY);
        world.starts().look(noon()).await.unwrap();
        assert_eq!(world.runs().await, Vec::<String>::new());
        let later = world.starts();
        later.look(noon() + 3.hours()).await.unwrap();
        assert_eq!(world.runs().await, ["skipped", "queued"]);
        later.look(noon() + 3.hours() + 1.second()).await.unwrap();
        assert_eq!(world.runs().await.len(), 2);
    }

    #[tokio::test]
    async fn a_schedule_that_was_not_in_force_has_missed_nothing() {
        let world = World::new().await;
        world.job(HOURLY);
        world.starts().look(noon()).await.unwrap();
        // Disabled for a while.
        world.job(&format!("enabled = false\n{HOURLY}"));
        world.starts().look(noon() + 1.minute()).await.unwrap();
        world.job(HOURLY);
        world.starts().look(noon() + 5.hours()).await.unwrap();
        assert_eq!(world.runs().await, Vec::<String>::new());
        // Taken away for a while.
        std::fs::remove_file(world.directory.path().join("jobs/sync.toml")).unwrap();
        world.starts().look(noon() + 6.hours()).await.unwrap();
        world.job(HOURLY);
        world.starts().look(noon() + 9.hours()).await.unwrap();
        assert_eq!(world.runs().await, Vec::<String>::new());
        // Changed while no daemon ran.
        world.job("schedule = { cron = \"0 30 * * * *\", catch_up = \"1h\" }");
        let changed = world.starts();
        changed.look(noon() + 12.hours()).await.unwrap();
        assert_eq!(world.runs().await, Vec::<String>::new());
        changed
            .look(noon() + 12.hours() + 31.minutes())
            .await
            .unwrap();
        assert_eq!(world.runs().await, ["queued"]);
    }

    #[tokio::test]
    async fn a_clock_that_was_years_ahead_for_a_while_stops_no_schedule_and_repeats_no_tick() {
        let world = World::new().await;
        world.job(HOURLY);
        let daemon = world.starts();
        daemon.look(noon()).await.unwrap();
        let ahead: Timestamp = "2037-01-01T12:00:01Z".parse().unwrap();
        daemon.look(ahead).await.unwrap();
        assert_eq!(world.runs().await, ["skipped", "queued"]);
        // What was asked for then waits no longer than it would have, and what was missed then is still to come.
        daemon.look(noon() + 1.minute()).await.unwrap();
        assert_eq!(world.runs().await, ["queued"]);
        let known = daemon.definitions.names();
        let taken = world
            .state
            .take_up(noon() + 2.minutes(), "test", &known, || false)
            .await
            .unwrap()
            .unwrap();
        let ended = world.state.end_unbegun(
            taken.run,
            UnbegunEnd {
                state: "done",
                ..UnbegunEnd::default()
            },
            noon(),
        );
        ended.await.unwrap();
        daemon.look(noon() + 61.minutes()).await.unwrap();
        assert_eq!(world.runs().await, ["done", "queued"]);
        // Set back to before a tick that has its run: it gets no second one.
        daemon.look(noon() + 30.minutes()).await.unwrap();
        daemon.look(noon() + 61.minutes()).await.unwrap();
        assert_eq!(world.runs().await, ["done", "queued"]);
    }

    #[tokio::test]
    async fn a_thousand_jobs_of_the_same_second_have_one_run_each() {
        let world = World::new().await;
        for number in 0..1000 {
            let path = world
                .directory
                .path()
                .join(format!("jobs/sync-{number}.toml"));
            std::fs::write(path, format!("kind = \"stackset-sync\"\n{HOURLY}\n")).unwrap();
        }
        let daemon = world.starts();
        daemon.look(noon()).await.unwrap();
        for _ in 0..2 {
            daemon.look(noon() + 60.minutes()).await.unwrap();
        }
        let mut jobs = std::collections::BTreeSet::new();
        while let Some(taken) = world
            .state
            .take_up(
                noon() + 61.minutes(),
                "test",
                &daemon.definitions.names(),
                || false,
            )
            .await
            .unwrap()
        {
            assert!(jobs.insert(taken.job), "once");
        }
        assert_eq!(jobs.len(), 1000);
    }

    #[tokio::test]
    async fn what_could_be_written_of_a_look_stands_and_the_next_one_goes_on_behind_it() {
        let world = World::new().await;
        for number in 0..250 {
            let path = world.directory.path();
            let path = path.join(format!("jobs/sync-{number:03}.toml"));
            std::fs::write(path, format!("kind = \"stackset-sync\"\n{HOURLY}\n")).unwrap();
        }
        let daemon = world.starts();
        daemon.look(noon()).await.unwrap();
        // Nothing can be written of the last of them.
        world.state.refuse_runs_of("sync-249").await;
        let later = noon() + 60.minutes();
        daemon.look(later).await.unwrap_err();
        assert_eq!(world.queued().await, 200);
        world.state.allow_runs().await;
        daemon.look(later).await.unwrap();
        assert_eq!(world.queued().await, 250);
    }

    #[tokio::test]
    async fn a_replica_that_lacks_a_job_leaves_its_schedule_to_those_that_have_it() {
        let Some(world) = World::on_server().await else {
            return;
        };
        world.job(HOURLY);
        let has = world.starts();
        has.look(noon()).await.unwrap();
        std::fs::remove_file(world.directory.path().join("jobs/sync.toml")).unwrap();
        let lacks = world.starts();
        for minute in 1..=181 {
            lacks.look(noon() + minute.minutes()).await.unwrap();
            has.look(noon() + minute.minutes()).await.unwrap();
        }
        assert_eq!(world.runs().await, ["queued", "skipped", "skipped"]);
        assert_eq!(world.in_force_since().await, Some(noon()));
        // One that starts again with the job finds it in force, and catches up.
        world.job(HOURLY);
        lacks.look(noon() + 182.minutes()).await.unwrap();
        world.starts().look(noon() + 241.minutes()).await.unwrap();
        assert_eq!(world.runs().await.len(), 4);
        assert_eq!(world.in_force_since().await, Some(noon()));
        // Who had it in force itself takes it out, and so does one that starts without it.
        for known in [
            Some(BTreeMap::from([("sync".to_owned(), HOURLY.to_owned())])),
            None,
        ] {
            let standings = world.state.standings().await.unwrap();
            assert!(standings["sync"].schedule.is_some());
            std::fs::remove_file(world.directory.path().join("jobs/sync.toml")).unwrap();
            let lost = Scheduler {
                in_force: Mutex::new(known),
                ..world.starts()
            };
            lost.look(noon() + 242.minutes()).await.unwrap();
            let standings = world.state.standings().await.unwrap();
            assert_eq!(standings["sync"].schedule, None);
            world.job(HOURLY);
            world.starts().look(noon() + 243.minutes()).await.unwrap();
        }
        let since = Some(noon() + 243.minutes());
        assert_eq!(world.in_force_since().await, since);
    }

    #[tokio::test]
    async fn two_daemons_with_different_schedules_both_look() {
        let world = World::new().await;
        world.job(HOURLY);
        let old = world.starts();
        old.look(noon()).await.unwrap();
        world.job("schedule = { cron = \"0 30 * * * *\" }");
        let new = world.starts();
        for minute in 1..=61 {
            new.look(noon() + minute.minutes()).await.unwrap();
            old.look(noon() + minute.minutes()).await.unwrap();
        }
        // Half past by the new one's, and the hour by the old one's, while the first still waits.
        assert_eq!(world.runs().await, ["queued", "skipped"]);
    }
}
