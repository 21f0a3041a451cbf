//! `runner runs prune`: forgets runs that ended long ago.

use jiff::Timestamp;
use serde_json::json;

use super::{Failure, Global, load, print, print_json, telemetry};
use crate::{config::HumanDuration, engine::JobError, notify, report::Output, state::State};

/// Forget runs that ended long ago, as the daemon does once a day.
///
/// The last run of each job stays, and what `runs undo`, an approval or putting a policy back needs (docs/state.md).
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Runs that ended longer ago than this, a day at least. Without it, as state.keep_runs says.
    #[arg(long, value_name = "DURATION")]
    older_than: Option<HumanDuration>,
    /// Only count; forget nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Gives back what is free in the file. What was forgotten is forgotten, whatever becomes of that.
async fn smaller(state: &State) {
    let made = match state.write_anew().await {
        Ok(true) => Ok(()),
        Ok(false) => state.compact().await,
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        let error = JobError::from(error).chain();
        tracing::warn!(error, "the state's file does not get smaller");
    }
}

impl Prune {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let kept = self.older_than.unwrap_or(*config.runner.state.keep_runs);
        let unusable = |why: &str| Failure::Config(format!("--older-than {kept} is {why}"));
        if kept.get().as_secs() < 86_400 {
            return Err(unusable("less than a day; give a day at least, \"1d\""));
        }
        let now = Timestamp::now();
        let before = now.checked_sub(kept.get());
        let before = before.map_err(|_| unusable("longer than there is time"))?;
        let (before, now) = (before.as_millisecond(), now.as_millisecond());
        let quarantine_after = config.runner.retry_failed.quarantine_after;
        let guard = telemetry(global, &config)?;
        let state = State::open(&config.runner.state.url).await?;
        let pruned = match self.dry_run {
            true => state.prunable(before, quarantine_after, now).await?,
            false => {
                notify::give_up(&state, None).await?;
                let pruned = state.prune(before, quarantine_after, now).await?;
                smaller(&state).await;
                pruned
            }
        };
        state.close().await;
        guard.shutdown().await;
        match global.output {
            Output::Json => print_json(&json!({ "dry_run": self.dry_run, "forgotten": pruned })),
            Output::Table => {
                let would = if self.dry_run { "would be" } else { "are" };
                print(&format!(
                    "{} runs, {} notifications, {} links and {} retry clocks {would} forgotten.\n",
                    pruned.runs, pruned.notifications, pruned.links, pruned.clocks
                ));
                Ok(0)
            }
        }
    }
}
