//! Locks that end with the process that holds them, however that dies: one process at a time runs a job, and a `runner provider`
//! that serves is known to be alive. Beside a file they are locks of the operating system on files, on PostgreSQL advisory locks,
//! which also end when their holder hangs for longer than its lease.

use std::fs::{File, TryLockError};

use super::{Place, Server, State, StateError, advisory::Advisory, error, lock_file};
use crate::engine::{Hold, JournalError};

/// What a provider that serves holds.
const SERVING: &str = "serving";

/// What the daemon of a file holds.
const DAEMON: &str = "daemon";

/// A lock; it ends when this is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    File { _file: File },
    Advisory(Advisory),
}

impl Hold for Lock {
    fn is_lost(&self) -> bool {
        match self {
            Self::File { .. } => false,
            Self::Advisory(session) => session.is_lost(),
        }
    }
}

/// Held by a provider for as long as it serves.
#[derive(Debug)]
pub struct Serving {
    _lock: Lock,
}

/// Held by a daemon for as long as it lives.
#[derive(Debug)]
pub struct TheDaemon {
    _lock: Option<Lock>,
}

impl State {
    /// Says that this process serves the provider's queue, until the answer is dropped.
    ///
    /// # Errors
    /// The lock cannot be had.
    pub async fn serve(&self) -> Result<Serving, StateError> {
        let lock = match &self.place {
            Place::File(path) => {
                let failed = |source| StateError::lock(path, source);
                let file = lock_file(path, SERVING).map_err(failed)?;
                file.lock_shared().map_err(failed)?;
                Lock::File { _file: file }
            }
            Place::Server(server) => {
                let taken = Advisory::shared(&server.url, SERVING, server.lease).await;
                Lock::Advisory(taken.map_err(StateError::query("saying that we serve"))?)
            }
        };
        Ok(Serving { _lock: lock })
    }

    /// Whether a process serves the provider's queue now.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub async fn is_served(&self) -> Result<bool, StateError> {
        match &self.place {
            Place::File(path) => {
                let failed = |source| StateError::lock(path, source);
                match lock_file(path, SERVING).map_err(failed)?.try_lock() {
                    Ok(()) => Ok(false),
                    Err(TryLockError::WouldBlock) => Ok(true),
                    Err(TryLockError::Error(source)) => Err(failed(source)),
                }
            }
            Place::Server(_) => Advisory::is_held(self.pool(), SERVING)
                .await
                .map_err(StateError::query("looking for a provider that serves")),
        }
    }

    /// Says that this process is the daemon of the state's file, until the answer is dropped. A database may have several.
    ///
    /// # Errors
    /// There is one already, or the lock cannot be had.
    pub async fn be_the_daemon(&self) -> Result<TheDaemon, StateError> {
        let Place::File(path) = &self.place else {
            return Ok(TheDaemon { _lock: None });
        };
        let file = lock_file(path, DAEMON).map_err(|source| StateError::lock(path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(TheDaemon {
                _lock: Some(Lock::File { _file: file }),
            }),
            Err(TryLockError::WouldBlock) => Err(StateError::OtherDaemon { path: path.clone() }),
            Err(TryLockError::Error(source)) => Err(StateError::lock(path, source)),
        }
    }

    /// Whether a daemon runs on the state's file now, which is to run its jobs then. Of a database's, nobody has to.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn has_daemon(&self) -> Result<bool, StateError> {
        let Place::File(path) = &self.place else {
            return Ok(false);
        };
        let file = lock_file(path, DAEMON).map_err(|source| StateError::lock(path, source))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(StateError::lock(path, source)),
        }
    }

    /// Takes the lock of a job.
    pub(super) async fn lock_job(&self, job: &str) -> Result<Lock, JournalError> {
        let running = || JournalError::AlreadyRunning {
            job: job.to_owned(),
        };
        match &self.place {
            Place::File(path) => {
                let failed = error::write("the lock of the job");
                // Job names become file names: whatever could leave the directory is replaced.
                let name = job.replace(
                    |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_',
                    "_",
                );
                let file = lock_file(path, &format!("{name}.lock")).map_err(&failed)?;
                match file.try_lock() {
                    Ok(()) => Ok(Lock::File { _file: file }),
                    Err(TryLockError::WouldBlock) => Err(running()),
                    Err(TryLockError::Error(source)) => Err(failed(source)),
                }
            }
            Place::Server(server) => self.lock_job_on(server, job).await?.ok_or_else(running),
        }
    }

    async fn lock_job_on(&self, server: &Server, job: &str) -> Result<Option<Lock>, JournalError> {
        let failed = error::write("the lock of the job");
        let name = job_lock(job);
        let take = || Advisory::exclusive(&server.url, &name, server.lease);
        if let Some(session) = take().await.map_err(&failed)? {
            return Ok(Some(Lock::Advisory(session)));
        }
        if !Advisory::expel(self.pool(), &name).await.map_err(&failed)? {
            return Ok(None);
        }
        tracing::warn!(
            job.name = job,
            "a process that had the job's lock has not renewed it in time; it is taken from it"
        );
        let session = take().await.map_err(failed)?;
        Ok(session.map(Lock::Advisory))
    }

    /// Whether a process that is alive runs a job now. Cheaper than to try its lock.
    pub(super) async fn is_run(&self, job: &str) -> Result<bool, JournalError> {
        match &self.place {
            Place::File(_) => match self.lock_job(job).await {
                Ok(_) => Ok(false),
                Err(JournalError::AlreadyRunning { .. }) => Ok(true),
                Err(error) => Err(error),
            },
            Place::Server(_) => Advisory::is_held(self.pool(), &job_lock(job))
                .await
                .map_err(error::write("the lock of the job")),
        }
    }
}

fn job_lock(job: &str) -> String {
    format!("job/{job}")
}
