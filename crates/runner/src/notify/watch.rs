//! What no run tells of itself: that the file of a job is wrong, that runs died again and again, that one could not even begin.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use onboarding_core::notify::{Event, Notice, Notification, Route, route};

use crate::{
    config::JobFile,
    engine::RunId,
    home::Home,
    state::{State, StateError},
};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// How long ago a run may have died for somebody to be told by a daemon that has just begun.
const RECENT: Duration = Duration::from_secs(3600);

/// Tells what it sees, each thing once for as long as it lasts. `wrong` gives what is wrong with definitions, by job; what is wrong with
/// `runner.toml` is of the job without a name. Never ends.
pub(crate) async fn keep_watching(home: Home, wrong: impl Fn() -> BTreeMap<String, String>) {
    let routes = home.config.runner.routes();
    if routes.is_empty() {
        return std::future::pending().await;
    }
    let mut watch = Watch {
        state: home.state.clone(),
        routes,
        wrong: Seen::default(),
        dying: Seen::default(),
    };
    loop {
        if let Err(error) = watch.look_in_time(wrong()).await {
            tracing::error!(%error, "what needs somebody could not be looked for, or not be told; it is tried again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Watch {
    state: State,
    routes: Arc<[Route]>,
    wrong: Seen,
    dying: Seen,
}

impl Watch {
    /// Looks once, or tells that the state did not answer in time.
    async fn look_in_time(&mut self, wrong: BTreeMap<String, String>) -> Result<(), StateError> {
        let state = self.state.clone();
        state.in_time(self.look(wrong)).await
    }

    /// Looks once. What could not be written down is new at the next look.
    async fn look(&mut self, wrong: BTreeMap<String, String>) -> Result<(), StateError> {
        for (job, errors) in self.wrong.untold(wrong) {
            self.tell(&is_wrong(&job, &errors)).await?;
            self.wrong.told(job, errors);
        }
        let since = Timestamp::now() - RECENT;
        let dying = self.state.dying_jobs(since.as_millisecond()).await?;
        for (job, run) in self.dying.untold(dying) {
            self.tell(&is_dying(&job, &run)).await?;
            self.dying.told(job, run);
        }
        Ok(())
    }

    async fn tell(&self, notice: &Notice) -> Result<(), StateError> {
        let notifications = route(&self.routes, std::slice::from_ref(notice));
        self.state.notify(&notifications, notice.at).await
    }
}

/// What was told, by job.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    /// What nobody was told of what there is. What is over is forgotten.
    fn untold(&mut self, now: BTreeMap<String, String>) -> Vec<(String, String)> {
        self.0.retain(|job, _| now.contains_key(job));
        let is_new = |(job, what): &(String, String)| self.0.get(job) != Some(what);
        now.into_iter().filter(is_new).collect()
    }

    fn told(&mut self, job: String, what: String) {
        self.0.insert(job, what);
    }
}

/// What is told of a run that was due and could not begin.
pub(crate) fn could_not_begin(
    routes: &[Route],
    job: &JobFile,
    run: RunId,
    why: &str,
) -> Vec<Notification> {
    let now = Timestamp::now().as_millisecond();
    let what = format!("It could not begin: {why}");
    let notice = Notice {
        kind: Some(job.kind().to_owned()),
        run: Some(run.to_string()),
        status: Some("failed".to_owned()),
        command: format!("runner runs show {run}"),
        ..Notice::new(Event::RunFailed, &job.name, now, what, why)
    };
    route(routes, &[notice])
}

fn is_wrong(job: &str, errors: &str) -> Notice {
    let now = Timestamp::now().as_millisecond();
    Notice {
        command: "runner jobs validate".to_owned(),
        ..Notice::new(Event::DefinitionBroken, job, now, errors.to_owned(), errors)
    }
}

fn is_dying(job: &str, run: &str) -> Notice {
    let now = Timestamp::now().as_millisecond();
    let what = "Three of them have ended with their process, one after the other; its next tick tries again. Look at the log, and at \
                the memory that the process may use.";
    Notice {
        run: Some(run.to_owned()),
        command: format!("runner runs show {run}"),
        ..Notice::new(Event::RunsDied, job, now, what.to_owned(), "")
    }
}

#[cfg(test)]
mod tests {
    use onboarding_core::plan::Severity;

    use super::*;

    fn broken(jobs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let jobs = jobs.iter();
        jobs.map(|(job, what)| ((*job).to_owned(), (*what).to_owned()))
            .collect()
    }

    #[test]
    fn what_was_told_is_new_again_when_it_was_over_or_is_another() {
        let mut seen = Seen::default();
        let one = broken(&[("a", "x")]);
        assert_eq!(seen.untold(one.clone()).len(), 1);
        // Not told yet.
        assert_eq!(seen.untold(one.clone()).len(), 1);
        seen.told("a".to_owned(), "x".to_owned());
        assert_eq!(seen.untold(one.clone()), []);
        assert_eq!(seen.untold(broken(&[("a", "y")])).len(), 1);
        assert_eq!(seen.untold(BTreeMap::new()), []);
        assert_eq!(seen.untold(one).len(), 1);
    }

    /// One that tells everything.
    fn watch(state: &State) -> Watch {
        let all = Route {
            target: "all".to_owned(),
            events: Event::ALL.into(),
            jobs: std::collections::BTreeSet::new(),
            severity: Severity::Warning,
            quiet: 1,
            give_up_after: 1_000,
        };
        Watch {
            state: state.clone(),
            routes: Arc::new([all]),
            wrong: Seen::default(),
            dying: Seen::default(),
        }
    }

    #[tokio::test]
    async fn who_watches_goes_on_when_the_state_does_not_answer() {
        let Some(silent) = State::silent("notifications").await else {
            return;
        };
        let mut watch = watch(&silent.state);
        let looked = watch.look_in_time(broken(&[("sync", "line 3")]));
        silent.comes_back(looked).await.unwrap_err();
    }

    #[tokio::test]
    async fn what_could_not_be_written_down_is_told_later() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        let mut watch = watch(&state);
        let wrong = broken(&[("sync", "line 3"), ("", "line 4")]);
        state.refuse_notifications().await;
        watch.look(wrong.clone()).await.unwrap_err();
        assert_eq!(state.notifications(9).await.unwrap(), []);
        state.allow_notifications().await;
        watch.look(wrong.clone()).await.unwrap();
        watch.look(wrong).await.unwrap();
        let told = state.notifications(9).await.unwrap();
        let told: Vec<(&str, i64)> = told.iter().map(|row| (&*row.job, row.count)).collect();
        assert_eq!(told.len(), 2);
        assert!(
            told.contains(&("sync", 1)) && told.contains(&("", 1)),
            "{told:?}"
        );
    }
}
