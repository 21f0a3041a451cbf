//! `runner runs`: past runs, from the state. But for approving and undoing, it needs no credentials and changes nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onboarding_core::{events::Woken, status::Reason};

use super::{
    Failure, Global, approve::Approve, freeze::named, load, print, print_json, prune::Prune,
    resume::Resume, undo::Undo,
};
use crate::{
    report::{Output, plan, table},
    state::{AccountAtEnd, Cancelled, PlanRow, RunDetail, RunRow, State},
};

/// Look at past runs.
#[derive(Debug, clap::Subcommand)]
pub enum Runs {
    /// List runs, the newest first.
    List {
        /// Only runs of this job.
        #[arg(long)]
        job: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Approve the plan of a run that waits, and apply exactly that, as far as it still holds.
    Approve(Approve),
    /// Make the Spot accounts again that a run of orphan-cleanup deleted.
    Undo(Undo),
    /// Forget runs that ended long ago, as the daemon does once a day.
    Prune(Prune),
    /// Ask a run to end: one that waits is taken away, one that goes on ends as after a signal.
    Cancel {
        /// The run's id, or the beginning of it.
        id: String,
        /// Who. Without it, the user of this machine.
        #[arg(long = "as", value_name = "NAME")]
        by: Option<String>,
    },
    Resume(Resume),
    /// Show one run: its steps and attempts, and the accounts that they worked on.
    Show {
        /// The run's id, or the beginning of it.
        id: String,
    },
}

impl Runs {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let open = async || {
            let config = load(global)?;
            Ok::<_, Failure>(State::open(&config.runner.state.url).await?)
        };
        match self {
            Self::Approve(command) => command.run(global).await,
            Self::Undo(command) => command.run(global).await,
            Self::Prune(command) => command.run(global).await,
            Self::Resume(command) => Box::pin(command.run(global)).await,
            Self::List { job, limit } => {
                let runs = open().await?.list_runs(job.as_deref(), limit).await?;
                match global.output {
                    Output::Json => print_json(&runs),
                    Output::Table => {
                        print(&list(&runs));
                        Ok(0)
                    }
                }
            }
            Self::Cancel { id, by } => cancel(&open().await?, &id, &named(by)).await,
            Self::Show { id } => {
                let run = open().await?.show_run(&id).await?;
                match global.output {
                    Output::Json => print_json(&run),
                    Output::Table => {
                        print(&show(&run));
                        Ok(0)
                    }
                }
            }
        }
    }
}

async fn cancel(state: &State, id: &str, by: &str) -> Result<u8, Failure> {
    let run = state.show_run(id).await?.run.id;
    let cancelled = state.cancel_run(&run, by, Timestamp::now()).await?;
    state.close().await;
    let said = match cancelled {
        Some(Cancelled::Waiting) => "will not be run",
        Some(Cancelled::Running) => "is asked to end; `runner runs show` tells when it has",
        None => return Err(Failure::Refused(format!("run {run} has ended already"))),
    };
    print(&format!("run {run} {said}\n"));
    Ok(0)
}

fn list(runs: &[RunRow]) -> String {
    let mut rows = table::table(&[
        "run", "job", "started", "took", "state", "exit", "ok", "failed", "skipped",
    ]);
    for run in runs {
        let count = |pick: fn(&onboarding_core::plan::Summary) -> usize| {
            run.summary
                .as_ref()
                .map_or_else(|| "-".to_owned(), |summary| pick(summary).to_string())
        };
        rows.add_row(vec![
            run.id.clone(),
            run.job.clone(),
            moment(run.started_at),
            run.ended_at
                .map_or_else(|| "-".to_owned(), |end| took(run.started_at, end)),
            if run.dry_run {
                format!("{} (dry run)", run.state)
            } else {
                run.state.clone()
            },
            run.exit_code
                .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            count(|summary| summary.ok),
            count(|summary| summary.failed),
            count(|summary| summary.skipped),
        ]);
    }
    table::render(&rows)
}

fn show(detail: &RunDetail) -> String {
    let run = &detail.run;
    let mut text = format!(
        "run {} of {} ({}), woken by {}, {}\nstarted {}",
        run.id,
        run.job,
        run.kind,
        run.woken_by,
        run.state,
        moment(run.started_at)
    );
    if let Some(end) = run.ended_at {
        text.push_str(&format!(", took {}", took(run.started_at, end)));
    }
    if let Some(code) = run.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if let Some(events) = &run.events {
        text.push_str(&format!("\nevents: {}", woken(events)));
    }
    if let Some(trace) = &run.trace_id {
        text.push_str(&format!("\ntrace {trace}"));
    }
    if let Some(error) = &run.error {
        text.push_str(&format!("\nerror: {error}"));
    }
    text.push_str("\n\n");
    let mut rows = table::table(&["step", "attempt", "after", "took", "outcome", "note"]);
    for step in &detail.steps {
        let since = |at: i64| took(run.started_at, at);
        if step.attempts.is_empty() {
            rows.add_row(vec![
                step.id.clone(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                step.state.clone(),
                step.note.clone().unwrap_or_default(),
            ]);
        }
        for attempt in &step.attempts {
            let outcome = match &attempt.error_class {
                Some(class) => format!("failed ({class})"),
                None => step.state.clone(),
            };
            rows.add_row(vec![
                step.id.clone(),
                attempt.attempt.to_string(),
                since(attempt.started_at),
                attempt
                    .ended_at
                    .map_or_else(|| "-".to_owned(), |end| took(attempt.started_at, end)),
                outcome,
                attempt
                    .message
                    .clone()
                    .or_else(|| step.note.clone())
                    .unwrap_or_default(),
            ]);
        }
    }
    text.push_str(&table::render(&rows));
    text.push_str(&put_back(detail));
    if !detail.accounts.is_empty() {
        let mut rows = table::table(&["account", "state", "reason", "detail"]);
        for account in &detail.accounts {
            rows.add_row(vec![
                account.account.clone(),
                account.standing.clone(),
                account.reason.clone(),
                account.detail.clone().unwrap_or_default(),
            ]);
        }
        text.push('\n');
        text.push_str(&table::render(&rows));
        text.push_str(&fixes(&detail.accounts));
    }
    text.push('\n');
    text.push_str(&table::refusals(&detail.refusals));
    if let Some(plan) = &detail.plan {
        text.push_str(&kept(plan));
    }
    text
}

/// What mends the accounts that are not as they should be, by reason.
fn fixes(accounts: &[AccountAtEnd]) -> String {
    let wrong = accounts.iter().filter(|account| account.standing != "ok");
    let reasons: BTreeSet<Reason> = wrong
        .filter_map(|account| Reason::of_code(&account.reason))
        .collect();
    let fixes = reasons.into_iter();
    fixes
        .filter_map(|reason| Some(format!("{reason}: fix: {}\n", reason.fix()?)))
        .collect()
}

/// What woke a run, with the first few accounts.
fn woken(events: &Woken) -> String {
    let accounts: Vec<String> = events.accounts.iter().map(ToString::to_string).collect();
    match accounts.is_empty() {
        true => events.to_string(),
        false => format!("{events} (accounts {})", accounts.join(", ")),
    }
}

/// How a person puts back what the steps took out of accounts.
fn put_back(detail: &RunDetail) -> String {
    let mut text = String::new();
    for step in detail.steps.iter().filter(|step| !step.put_back.is_empty()) {
        let accounts: Vec<String> = step.accounts.iter().map(ToString::to_string).collect();
        let took = match step.state.as_str() {
            "changed" => "took",
            _ => "may have taken",
        };
        text.push_str(&format!(
            "\nto put back what {} {took} away, in account {}:\n",
            step.id,
            accounts.join(", ")
        ));
        for command in &step.put_back {
            text.push_str(&format!("  {command}\n"));
        }
    }
    text
}

/// The plan that a run kept for an approval.
fn kept(kept: &PlanRow) -> String {
    let is_over = kept.expires_at <= jiff::Timestamp::now().as_millisecond();
    let state = match kept.state.as_str() {
        "waiting" | "approved" if is_over => "expired",
        state => state,
    };
    let mut text = format!(
        "its plan, which can be approved until {}: {state}",
        moment(kept.expires_at)
    );
    if let Some(approval) = &kept.approval {
        text.push_str(&format!(
            "\napproved by {} at {}",
            approval.by,
            moment(approval.at)
        ));
        if let Some(comment) = &approval.comment {
            text.push_str(&format!(": {comment}"));
        }
    }
    if let Some(run) = &kept.applied_by {
        text.push_str(&format!("\nby run {run}"));
    }
    format!("{text}\n\n{}", plan::kept(&kept.steps))
}

/// A moment in Unix milliseconds, as UTC.
pub(super) fn moment(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(
        |_| at.to_string(),
        |moment| moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// The time between two moments in Unix milliseconds.
fn took(from: i64, to: i64) -> String {
    let millis = u64::try_from(to.saturating_sub(from)).unwrap_or_default();
    let duration = std::time::Duration::from_millis(millis);
    if millis < 60_000 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        humantime::format_duration(std::time::Duration::from_secs(duration.as_secs())).to_string()
    }
}
