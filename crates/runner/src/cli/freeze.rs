//! `runner freeze`: nothing is changed any more, by any job or provider on the state, until it is ended.

use jiff::Timestamp;
use onboarding_provider::Freeze as InForce;
use serde_json::json;

use super::{Failure, Global, load, print, print_json};
use crate::{engine::RunId, report::Output, state::State};

/// Stop every write of every job and provider on the state, and let them go on again.
///
/// Running jobs start no further step, and what already goes on in AWS is followed to its end. Requests of stacks are still
/// answered: a Create or Update fails with the reason, a Delete succeeds and changes nothing at Spot.
#[derive(Debug, clap::Subcommand)]
pub enum Freeze {
    /// Begin a freeze.
    On {
        /// Why; everybody who is stopped by it is told.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who. Without it, the user of this machine.
        #[arg(long = "as", value_name = "NAME")]
        by: Option<String>,
    },
    /// End it.
    Off {
        /// Who. Without it, the user of this machine.
        #[arg(long = "as", value_name = "NAME")]
        by: Option<String>,
    },
    /// Tell whether one is in force.
    Status,
}

impl Freeze {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let state = State::open(&config.runner.state.url).await?;
        let database = state.database();
        let failed = |error: sqlx::Error| {
            Failure::Failed(format!("the state could not be read or written: {error}"))
        };
        let was_ended = match self {
            Self::On { reason, by } => {
                let wanted = InForce {
                    since: Timestamp::now(),
                    by: named(by),
                    reason,
                };
                let id = RunId::new().to_string();
                if !database.begin_freeze(&id, &wanted).await.map_err(failed)? {
                    let first = database.freeze().await.map_err(failed)?;
                    let first = first.map_or_else(String::new, |first| format!(": {first}"));
                    return Err(Failure::Refused(format!(
                        "a freeze is in force already, so yours was not noted{first}"
                    )));
                }
                false
            }
            Self::Off { by } => database
                .end_freeze(Timestamp::now(), &named(by))
                .await
                .map_err(failed)?,
            Self::Status => false,
        };
        let in_force = database.freeze().await.map_err(failed)?;
        state.close().await;
        match global.output {
            Output::Json => {
                print_json(&json!({ "frozen": in_force.is_some(), "freeze": in_force }))?
            }
            Output::Table => {
                print(&match (&in_force, was_ended) {
                    (Some(freeze), _) => format!("{freeze}\n"),
                    (None, true) => "The freeze has ended.\n".to_owned(),
                    (None, false) => "Nothing is frozen.\n".to_owned(),
                });
                0
            }
        };
        Ok(0)
    }
}

/// Who somebody is, as far as this machine knows.
pub(super) fn named(by: Option<String>) -> String {
    let user = || {
        std::env::var("USER")
            .or_else(|_| std::env::var("LOGNAME"))
            .ok()
    };
    by.or_else(user).unwrap_or_else(|| "somebody".to_owned())
}
