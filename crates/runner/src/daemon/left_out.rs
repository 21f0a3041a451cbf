//! Whether a run that was taken up begins: its job may have been paused or disabled while it waited.

use std::time::Duration;

use super::BY_HAND;
use crate::{
    config::JobFile,
    engine::Interrupt,
    schedule::Skipped,
    state::{State, StateError, Taken},
};

/// The pause before the state is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a run that nobody asked for by hand is left out, as the ticks of its job are by now: it may have waited since before. While the
/// state does not tell, it is asked again, for as long as the run is ours to begin.
pub(super) async fn left_out(
    state: &State,
    job: &JobFile,
    taken: &Taken,
    interrupt: &Interrupt,
) -> Result<Option<String>, StateError> {
    if taken.woken_by == BY_HAND {
        return Ok(None);
    }
    if !job.enabled {
        return Ok(Some(
            "disabled: the job's file says enabled = false".to_owned(),
        ));
    }
    loop {
        let paused = paused(state, &job.name);
        match state.in_time_or_end(interrupt, paused).await {
            Ok(by) => return Ok(by.map(|by| Skipped::Paused(by).to_string())),
            Err(error) if taken.hold.is_lost() || interrupt.is_draining() => return Err(error),
            Err(error) => {
                tracing::error!(job.name = job.name, %error, "whether the job is paused could not be looked at; it is tried again");
            }
        }
        tokio::select! {
            () = interrupt.draining() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn paused(state: &State, job: &str) -> Result<Option<String>, StateError> {
    let mut standings = state.standings().await?;
    Ok(standings.remove(job).and_then(|standing| standing.paused))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        engine::{Asked, RunId, RunKey},
        state::EVENT,
    };

    fn taken(woken_by: &str) -> Taken {
        Taken {
            run: RunKey {
                id: RunId::new(),
                fence: 1,
            },
            job: "sync".to_owned(),
            woken_by: woken_by.to_owned(),
            tick: None,
            asked: Asked::default(),
            asked_in: Vec::new(),
            hold: Arc::new(()),
        }
    }

    fn job(text: &str) -> JobFile {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("jobs")).unwrap();
        let runner = "[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n[profiles.targets]\nous = [\"root\"]\n";
        std::fs::write(directory.path().join("runner.toml"), runner).unwrap();
        let text = format!("kind = \"stackset-sync\"\n{text}");
        std::fs::write(directory.path().join("jobs/sync.toml"), text).unwrap();
        let config = crate::config::Config::load(directory.path(), &[]).unwrap();
        config.jobs[0].clone()
    }

    #[tokio::test]
    async fn a_run_that_nobody_asked_for_by_hand_is_left_out_while_its_job_is_paused_or_disabled() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        let why = async |job: &JobFile, woken_by: &str| {
            let (taken, interrupt) = (taken(woken_by), Interrupt::default());
            let why = left_out(&state, job, &taken, &interrupt).await;
            why.unwrap()
        };
        let (enabled, disabled) = (job(""), job("enabled = false\n"));
        for woken_by in ["schedule", "resume", EVENT] {
            assert_eq!(why(&enabled, woken_by).await, None);
            let said = why(&disabled, woken_by).await.unwrap();
            assert!(said.contains("enabled = false"), "{said}");
        }
        let paused = state.pause_job("sync", "ana", Some("migration"), Timestamp::now());
        paused.await.unwrap();
        for woken_by in ["schedule", "resume", EVENT] {
            let said = why(&enabled, woken_by).await.unwrap();
            assert_eq!(said, "paused by ana: migration");
        }
        for job in [&enabled, &disabled] {
            assert_eq!(why(job, BY_HAND).await, None);
        }
    }

    #[tokio::test]
    async fn whether_a_run_begins_is_not_waited_for_when_the_process_is_to_end() {
        let Some(silent) = State::silent("schedules").await else {
            return;
        };
        let state = silent.state.clone().with_lease(Duration::from_secs(600));
        let interrupt = Interrupt::with_moments_of(Duration::from_millis(100));
        let (job, taken) = (job(""), taken("schedule"));
        let asked = left_out(&state, &job, &taken, &interrupt);
        let signals = async {
            tokio::task::yield_now().await;
            interrupt.signal();
        };
        let both = async { tokio::join!(asked, signals) };
        // Sooner than the server gives up by itself.
        let both = tokio::time::timeout(Duration::from_secs(5), both);
        let (asked, ()) = both.await.expect("it hangs");
        asked.unwrap_err();
    }

    #[tokio::test]
    async fn a_run_does_not_begin_while_nobody_knows_whether_its_job_is_paused() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        state.close().await;
        let interrupt = Interrupt::default();
        let (job, taken) = (job(""), taken("schedule"));
        let asked = left_out(&state, &job, &taken, &interrupt);
        let ends = async {
            tokio::task::yield_now().await;
            interrupt.signal();
        };
        let (asked, ()) = tokio::join!(asked, ends);
        asked.unwrap_err();
    }
}
