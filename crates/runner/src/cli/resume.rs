//! `runner runs resume`: goes on with the work of a run that did not come to its end.

use super::{Failure, Global, exec::Exec, load, running::Reports};
use crate::state::{RunRow, State};

/// Go on with the work of a run that died, was cancelled, or failed: run its job again with what was asked for then.
///
/// Nothing is repeated blindly: the new run observes and plans anew, and takes up what the journal says was begun. A daemon does so by
/// itself with its own runs that died.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The run's id, or the beginning of it.
    id: String,
    /// Do not ask before Spot accounts are deleted, where there is no terminal to ask on.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    reports: Reports,
}

impl Resume {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let state = State::open(&load(global)?.runner.state.url).await?;
        let run = state.show_run(&self.id).await;
        state.close().await;
        let run = run?.run;
        if let Some(why) = cannot_be_resumed(&run) {
            return Err(Failure::Refused(why));
        }
        Exec::again(run.job, run.asked, self.yes, self.reports)
            .run(global)
            .await
    }
}

/// Why there is nothing to go on with. Of one that still goes on, the new run says so.
fn cannot_be_resumed(run: &RunRow) -> Option<String> {
    let RunRow { id, job, .. } = run;
    let begin = format!("`runner exec {job}` begins another one");
    match run.state.as_str() {
        _ if run.dry_run => Some(format!(
            "run {id} was a dry run, which changes nothing; {begin}"
        )),
        "queued" => Some(format!("run {id} still waits for a daemon to take it up")),
        "waiting" => Some(format!(
            "run {id} waits for an approval; `runner runs approve {id}` continues it"
        )),
        "done" | "skipped" => Some(format!("run {id} left nothing to go on with; {begin}")),
        _ => None,
    }
}
