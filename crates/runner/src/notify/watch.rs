//! What no run tells of itself: that the file of a job is wrong, that runs died again and again, that one could not even begin.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use onboarding_core::notify::{Event, Notice, route};

use crate::{config::JobFile, engine::RunId, home::Home};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// How long ago a run may have died for somebody to be told by a daemon that has just begun.
const RECENT: Duration = Duration::from_secs(3600);

/// Tells what it sees, each thing once for as long as it lasts. `broken` gives the jobs whose file is wrong, with what is wrong. Never
/// ends.
pub(crate) async fn keep_watching(home: Home, broken: impl Fn() -> BTreeMap<String, String>) {
    if home.config.runner.notify.is_empty() {
        return std::future::pending().await;
    }
    let mut told_broken = BTreeMap::new();
    let mut told_dead: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let now = broken();
        for (job, errors) in &now {
            if told_broken.get(job) != Some(errors) {
                tell(&home, &is_broken(job, errors)).await;
            }
        }
        told_broken = now;
        let since = Timestamp::now() - RECENT;
        match home.state.dying_jobs(since.as_millisecond()).await {
            Ok(dying) => {
                for (job, run) in &dying {
                    if told_dead.get(job) != Some(run) {
                        tell(&home, &is_dying(job, run)).await;
                    }
                }
                told_dead = dying;
            }
            Err(error) => {
                tracing::error!(%error, "runs that died could not be looked for; it is tried again");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells that a run that was due could not begin.
pub(crate) async fn could_not_begin(home: &Home, job: &JobFile, run: RunId, why: &str) {
    let now = Timestamp::now().as_millisecond();
    let what = format!("It could not begin: {why}");
    let notice = Notice {
        kind: Some(job.kind().to_owned()),
        run: Some(run.to_string()),
        status: Some("failed".to_owned()),
        command: format!("runner runs show {run}"),
        ..Notice::new(Event::RunFailed, &job.name, now, what, why)
    };
    tell(home, &notice).await;
}

fn is_broken(job: &str, errors: &str) -> Notice {
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

async fn tell(home: &Home, notice: &Notice) {
    let notifications = route(&home.config.runner.routes(), std::slice::from_ref(notice));
    let told = home.state.notify(&notifications, notice.at).await;
    if let Err(error) = told {
        tracing::error!(%error, event = %notice.event, job.name = notice.job, "nobody could be told");
    }
}
