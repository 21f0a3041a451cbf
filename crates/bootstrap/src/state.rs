//! The durable state, which the runner makes and brings up to date: opened when the first request needs it.

use std::{error::Error as _, sync::Arc, time::Duration};

use onboarding_provider::{
    intents::Intents as _,
    sql::{Database, DatabaseError, PostgresUrl, PostgresUrlError},
};
use tokio::time::Instant;

use crate::{aws::LazyAws, config::StatePlace};

/// Connections of one process: nothing keeps one while it waits.
const CONNECTIONS: u32 = 2;

/// The pause before the state is tried again.
const PAUSE: Duration = Duration::from_secs(3);

/// The state cannot be used. No text has a value that could be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The secret with its URL cannot be read.
    #[error("{origin}, which has the URL of the state, cannot be read: {reason}")]
    Secret { origin: String, reason: String },
    /// The secret has something else.
    #[error("what {origin} has cannot be used as the URL of the state: {source}")]
    Url {
        origin: String,
        source: PostgresUrlError,
    },
    /// The database.
    #[error("{0}{cause}", cause = cause(.0))]
    Database(#[from] DatabaseError),
}

impl StateError {
    /// Whether it may pass by itself.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Secret { .. } | Self::Database(DatabaseError::Connect { .. })
        )
    }
}

fn cause(error: &DatabaseError) -> String {
    let source = error.source();
    source.map_or_else(String::new, |source| format!(": {source}"))
}

/// Opens the state; one that cannot be reached is tried again until a moment.
pub(crate) async fn open(
    place: &StatePlace,
    ca_file: Option<&str>,
    aws: &Arc<LazyAws>,
    until: Instant,
) -> Result<Database, StateError> {
    loop {
        match try_open(place, ca_file, aws).await {
            Err(error) if error.may_pass() && Instant::now() + PAUSE < until => {
                tracing::warn!(%error, "the state is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

async fn try_open(
    place: &StatePlace,
    ca_file: Option<&str>,
    aws: &Arc<LazyAws>,
) -> Result<Database, StateError> {
    let url = read(place, aws).await?;
    let url = match ca_file {
        Some(path) => url.verified_with(path),
        None => url,
    };
    let database = Database::postgres(&url, CONNECTIONS).await?;
    database.check(&url).await?;
    Ok(database)
}

/// What AWS keeps is read at each opening, so that a password can be rotated.
async fn read(place: &StatePlace, aws: &Arc<LazyAws>) -> Result<PostgresUrl, StateError> {
    let (origin, read) = match place {
        StatePlace::Here(url) => return Ok(url.clone()),
        StatePlace::Secret(id) => {
            let read = async { aws.get().await?.secret_value(id).await };
            (format!("the secret {id}"), read.await)
        }
        StatePlace::Parameter(name) => {
            let read = async { aws.get().await?.parameter_value(name).await };
            (format!("the parameter {name}"), read.await)
        }
    };
    let text = match read {
        Ok(text) => text,
        Err(error) => {
            let reason = error.to_string();
            return Err(StateError::Secret { origin, reason });
        }
    };
    text.expose()
        .trim()
        .parse()
        .map_err(|source| StateError::Url { origin, source })
}

/// Whether the state still answers, and is of our version; without one there is nothing to ask.
pub(crate) async fn is_current(database: Option<&Database>) -> bool {
    match database {
        Some(database) => database.is_current().await.unwrap_or(false),
        None => true,
    }
}
