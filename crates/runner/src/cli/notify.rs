//! `runner notify`: whether targets are reached, and what they were told.

use std::sync::Arc;

use jiff::Timestamp;
use onboarding_core::notify::{Event, Notice};
use serde_json::json;

use super::{Failure, Global, load, print, print_json, runs::moment, telemetry};
use crate::{
    config::{Loaded, NotifyConfig, nearest},
    engine::RunId,
    home,
    notify::{ATTEMPT, Message, Sender},
    report::{Output, table},
    state::{NotificationRow, State},
};

/// Try the targets of notifications, and see what they were told.
#[derive(Debug, clap::Subcommand)]
pub enum Notify {
    /// Send a test to a target, or to all, at once and once. Exit code 1 when one is not reached.
    Test {
        /// The target's name in runner.toml. Without it, all.
        target: Option<String>,
    },
    /// List what targets were told and what waits, the newest first. Needs no credentials.
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

impl Notify {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        match self {
            Self::Test { target } => test(global, config, target.as_deref()).await,
            Self::List { limit } => {
                let state = State::open(&config.runner.state.url).await?;
                let rows = state.notifications(limit).await?;
                state.close().await;
                match global.output {
                    Output::Json => print_json(&rows),
                    Output::Table => {
                        print(&list(&rows));
                        Ok(0)
                    }
                }
            }
        }
    }
}

async fn test(global: &Global, config: Loaded, target: Option<&str>) -> Result<u8, Failure> {
    let targets = chosen(&config, target)?;
    let guard = telemetry(global, &config)?;
    let sender = Arc::new(Sender::new(home::connect_aws(&config).await?));
    let mut results = Vec::new();
    for target in targets {
        let sent = sender.send(target, &message(target), ATTEMPT).await;
        results.push((&target.name, sent.err().map(|error| error.to_string())));
    }
    guard.shutdown().await;
    let is_reached = results.iter().all(|(_, error)| error.is_none());
    match global.output {
        Output::Json => {
            let rows = results.iter();
            let rows = rows.map(|(name, error)| json!({ "target": name, "error": error }));
            print_json(&rows.collect::<Vec<_>>())?;
        }
        Output::Table => {
            for (name, error) in &results {
                print(&match error {
                    None => format!("{name}: sent\n"),
                    Some(error) => format!("{name}: not sent: {error}\n"),
                });
            }
        }
    }
    Ok(u8::from(!is_reached))
}

fn chosen<'a>(config: &'a Loaded, target: Option<&str>) -> Result<Vec<&'a NotifyConfig>, Failure> {
    let all = &config.runner.notify;
    let Some(wanted) = target else {
        if all.is_empty() {
            let why =
                "nobody is told anything: runner.toml has no [[notify]] (docs/notifications.md)";
            return Err(Failure::Config(why.to_owned()));
        }
        return Ok(all.iter().collect());
    };
    match all.iter().find(|target| target.name == wanted) {
        Some(target) => Ok(vec![target]),
        None => {
            let near = nearest(wanted, all.iter().map(|target| &*target.name));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            Err(Failure::Config(format!(
                "runner.toml has no target of notifications {wanted:?}{hint}"
            )))
        }
    }
}

fn message(target: &NotifyConfig) -> Message {
    let now = Timestamp::now().as_millisecond();
    let what = format!("A test of the target {}: it is reached.", target.name);
    Message {
        id: RunId::new().to_string(),
        notice: Notice::new(Event::Test, "", now, what, ""),
        count: 1,
    }
}

fn list(rows: &[NotificationRow]) -> String {
    let mut shown = table::table(&[
        "written", "target", "event", "job", "count", "state", "tried", "error",
    ]);
    for row in rows {
        let state = match row.due_at {
            Some(at) => format!("{} until {}", row.state, moment(at)),
            None => row.state.clone(),
        };
        shown.add_row(vec![
            moment(row.created_at),
            row.target.clone(),
            row.event.clone(),
            row.job.clone(),
            row.count.to_string(),
            state,
            row.attempts.to_string(),
            row.error.clone().unwrap_or_default(),
        ]);
    }
    table::render(&shown)
}
