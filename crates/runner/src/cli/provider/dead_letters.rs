//! `runner provider dead-letters`: what nobody answered, and a last chance for what can still be answered.

use std::sync::Arc;

use super::{Work, serve};
use crate::{
    cli::{Failure, Global, print, print_json, telemetry},
    config::Loaded,
    home::Home,
    provider::dead_letters::{self, DeadLetter},
    report::{Output, table},
};

/// List the requests that ended in the dead-letter queue, or serve those that can still be answered.
#[derive(Debug, clap::Args)]
pub(super) struct DeadLetters {
    /// Serve those that CloudFormation still waits for. Those that it has given up on are deleted, what is no request stays.
    #[arg(long)]
    redrive: bool,
    /// Another queue than the one behind the provider's queue, such as the dead-letter queue of the topic's subscription.
    #[arg(long, value_name = "URL")]
    queue_url: Option<String>,
    /// List at most this many.
    #[arg(long, default_value_t = 100, conflicts_with = "redrive")]
    limit: usize,
}

impl DeadLetters {
    /// Whether it answers anything.
    pub(super) fn serves(&self) -> bool {
        self.redrive
    }

    pub(super) async fn run(self, global: &Global, config: Loaded) -> Result<u8, Failure> {
        if self.redrive {
            return serve(global, config, Work::DeadLetters(self.queue_url)).await;
        }
        let guard = telemetry(global, &config)?;
        let home = Home::connect(Arc::new(config)).await?;
        let url = match self.queue_url {
            Some(url) => url,
            None => dead_letters::find(&home).await?,
        };
        let letters = dead_letters::list(&home, &url, self.limit).await?;
        guard.shutdown().await;
        match global.output {
            Output::Json => print_json(&letters),
            Output::Table => {
                print(&shown(&letters));
                Ok(0)
            }
        }
    }
}

fn shown(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut rows = table::table(&["sent", "account", "request", "resource", "answerable until"]);
    for letter in letters {
        let sent = letter.sent_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        rows.add_row(match &letter.request {
            Some(request) => vec![
                sent,
                request.account.clone(),
                request.request_type.clone(),
                request.resource_type.clone(),
                match request.answerable {
                    true => request.deadline.strftime("%H:%M:%S UTC").to_string(),
                    false => "too late".to_owned(),
                },
            ],
            None => vec![
                sent,
                String::new(),
                "none".to_owned(),
                letter.problem.clone().unwrap_or_default(),
                String::new(),
            ],
        });
    }
    table::render(&rows)
}
