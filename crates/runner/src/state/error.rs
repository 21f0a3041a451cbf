//! Errors of the state.

use std::path::{Path, PathBuf};

use onboarding_core::ids::SpotAccountId;
use onboarding_provider::sql::{DatabaseError, PostgresUrlError};

use crate::engine::{ErrorClass, JobError, JournalError};

/// Why the state could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The URL is not one that we can open.
    #[error(
        "{0:?} is not a state that the runner can open; use sqlite://PATH or postgres://USER@HOST/DATABASE in [state] url"
    )]
    Url(String),
    /// The URL of a database is wrong.
    #[error("[state] url {url:?} cannot be used")]
    Address {
        /// The URL, without password and parameters.
        url: String,
        /// Why.
        #[source]
        source: PostgresUrlError,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The file cannot be made.
    #[error(
        "the state file {path} cannot be made or written; check the directory and its permissions"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error(
        "the state file {path} cannot be opened; if it is damaged, move it away: the next run observes anew"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The file is not as SQLite left it.
    #[error(
        "the state file {path} is damaged: {why}; put the last copy of it in its place, or move it away with its -wal and \
         -shm files: then runs begin with a new one, and take links that this one knew for somebody else's"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the state {place} was written by a newer version (migration {version}); use that version"
    )]
    Newer {
        /// The file or database.
        place: String,
        /// The migration that this version does not know.
        version: i64,
    },
    /// The tables cannot be brought up to date.
    #[error("the tables of the state {place} cannot be brought up to date")]
    Migrate {
        /// The file or database.
        place: String,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A lock file beside the state cannot be used.
    #[error("the lock beside the state file {path} cannot be used; check the directory")]
    Lock {
        /// The state file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another daemon has the state file.
    #[error(
        "another daemon runs on the state file {path}; end it first, or give both a database, which several may share"
    )]
    OtherDaemon {
        /// The state file.
        path: PathBuf,
    },
    /// A query failed.
    #[error("{action} in the state failed; check its disk, or its database")]
    Query {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A value in the state is not what this program writes.
    #[error("the state has a value for {what} that cannot be read; was the file changed by hand?")]
    Value {
        /// What it is for.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// As many Spot accounts were deleted in 24 hours as may be.
    #[error(
        "Spot account {spot_account} is not deleted: {most_a_day} in 24 hours are the limit (params.max_per_day, \
         params.max_percent), and so many were, or may have been; run again later"
    )]
    DayUsedUp {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The limit.
        most_a_day: usize,
    },
    /// It was deleted before, by what the state has.
    #[error(
        "Spot account {spot_account} is not deleted: the state says that it was deleted before, and yet it is there; look at it \
         in Spot, and delete it there"
    )]
    DeletedBefore {
        /// The Spot account.
        spot_account: SpotAccountId,
    },
    /// There is no deletion that could be undone.
    #[error("the state has no deletion of Spot account {spot_account}; was it changed by hand?")]
    NoSuchDeletion {
        /// The Spot account.
        spot_account: SpotAccountId,
    },
    /// There is no plan of such a run, or there are several.
    #[error(
        "{found} runs with a plan that somebody can approve have an id that begins with {id:?}; `runner runs list` shows the ids"
    )]
    NoSuchPlan {
        /// The id, or its beginning.
        id: String,
        /// How many match.
        found: usize,
    },
    /// There is no such run, or several begin like this.
    #[error("{found} runs have an id that begins with {id:?}; `runner runs list` shows the ids")]
    NoSuchRun {
        /// The id, or its beginning.
        id: String,
        /// How many runs match.
        found: usize,
    },
}

impl StateError {
    pub(super) fn lock(path: &Path, source: std::io::Error) -> Self {
        Self::Lock {
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err` on a query.
    pub(super) fn query(action: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Query { action, source }
    }

    /// For `map_err` on a value that is read.
    pub(super) fn value<E>(what: &'static str) -> impl Fn(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Value {
            what,
            source: source.into(),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Url(_)
            | Self::Address { .. }
            | Self::NoSuchRun { .. }
            | Self::NoSuchPlan { .. } => ErrorClass::Invalid,
            Self::Database(_)
            | Self::Create { .. }
            | Self::Open { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Migrate { .. }
            | Self::OtherDaemon { .. }
            | Self::Lock { .. } => ErrorClass::Prerequisite,
            Self::Query { .. } => ErrorClass::Transient,
            Self::Value { .. }
            | Self::DayUsedUp { .. }
            | Self::DeletedBefore { .. }
            | Self::NoSuchDeletion { .. } => ErrorClass::Failed,
        }
    }
}

impl From<StateError> for JobError {
    fn from(error: StateError) -> Self {
        let wrapped = Self::new(error.class(), error.to_string());
        match error {
            StateError::Create { source, .. } | StateError::Lock { source, .. } => {
                wrapped.with_source(source)
            }
            StateError::Open { source, .. } | StateError::Query { source, .. } => {
                wrapped.with_source(source)
            }
            StateError::Migrate { source, .. } => wrapped.with_source(source),
            StateError::Value { source, .. } => wrapped.with_source(source),
            StateError::Address { source, .. } => wrapped.with_source(source),
            StateError::Database(DatabaseError::Connect { source, .. }) => {
                wrapped.with_source(source)
            }
            StateError::Url(_)
            | StateError::Database(_)
            | StateError::Damaged { .. }
            | StateError::Newer { .. }
            | StateError::DayUsedUp { .. }
            | StateError::DeletedBefore { .. }
            | StateError::NoSuchDeletion { .. }
            | StateError::OtherDaemon { .. }
            | StateError::NoSuchRun { .. }
            | StateError::NoSuchPlan { .. } => wrapped,
        }
    }
}

/// For `map_err` on a write of the journal.
pub(super) fn write<E>(what: &'static str) -> impl Fn(E) -> JournalError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| JournalError::Write {
        what,
        source: source.into(),
    }
}
