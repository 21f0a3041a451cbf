//! `runner runs undo`: what a clean-up deleted is made again.

use std::sync::Arc;

use onboarding_core::orphan_cleanup;

use super::{
    Failure, Global, confirm, load, print, print_json,
    running::{self, Reports},
    telemetry,
};
use crate::{
    engine::{self, Interrupt, RunOptions, RunReport, exit_code},
    home::Home,
    jobs::undo::Undo as UndoJob,
    report::{Output, json, plan, progress::TerminalProgress},
};

/// Make the Spot accounts again that a run of orphan-cleanup deleted.
///
/// Spot cannot bring a deleted account back: another one is made with the same name, for the same AWS account, and seen by the
/// same user groups. Its id and external ID are others. It is linked where the old role lets it in; else it says what has to be
/// deployed again.
#[derive(Debug, clap::Args)]
pub struct Undo {
    /// The run's id, or the beginning of it.
    id: String,
    /// Only show what would be made; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask, where there is no terminal to ask on.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    reports: Reports,
}

impl Undo {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let home = Home::connect(Arc::new(config)).await?;
        let state = home.state.clone();
        let run = state.show_run(&self.id).await?.run;
        if run.kind != orphan_cleanup::KIND {
            return Err(Failure::Config(format!(
                "run {} is of the kind {}; only what {} deleted can be undone",
                run.id,
                run.kind,
                orphan_cleanup::KIND
            )));
        }
        let planned = execute(global, &home, &run.id, true).await?;
        let steps = planned.plan_before.iter().flat_map(|plan| &plan.steps);
        let count = steps.count();
        if self.dry_run || count == 0 || planned.error.is_some() {
            state.close().await;
            guard.shutdown().await;
            match (global.output, &planned.plan_before) {
                (Output::Table, Some(planned)) => print(&plan::text(planned, None)),
                _ => drop(print_json(&json::document(&planned))?),
            }
            return Ok(exit_code(&planned));
        }
        let text = planned.plan_before.as_ref();
        let text = text.map(|planned| plan::text(planned, None));
        let doing = format!("make {count} Spot accounts");
        confirm::confirm(&text.unwrap_or_default(), &doing, count, self.yes)?;
        let report = execute(global, &home, &run.id, false).await?;
        running::tell(global, state, guard, &report, &self.reports).await
    }
}

async fn execute(
    global: &Global,
    home: &Home,
    run: &str,
    dry_run: bool,
) -> Result<RunReport, Failure> {
    let interrupt = Interrupt::on_signals()
        .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
    let progress = Arc::new(TerminalProgress::new(global.quiet));
    let options = RunOptions {
        dry_run,
        progress: progress.clone(),
        interrupt,
        ..RunOptions::new(orphan_cleanup::undo::KIND)
    };
    let job = UndoJob::new(home.clone(), run.to_owned());
    let report = Box::pin(engine::execute(&job, Arc::new(home.state.clone()), options)).await;
    progress.finish();
    Ok(report)
}
