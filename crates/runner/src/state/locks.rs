//! Locks that end with the process that holds them, however that dies: one process at a time runs a job, and a `runner provider`
//! that serves is known to be alive. Beside a file they are locks of the operating system on files, on PostgreSQL advisory locks with
//! a lease: they end with it when their holder dies, hangs or loses its connection, and at once when they are given back.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

use super::{
    Place, Server, State, StateError,
    advisory::{Advisory, Wait},
    error, lock_file,
};
use crate::engine::{Hold, JournalError};

/// What a provider that serves holds.
const SERVING: &str = "serving";

/// What the daemon of a file holds.
const DAEMON: &str = "daemon";

/// How the name of a job's lock ends.
const JOB: &str = ".lock";

/// How often a daemon tries to be the only one, and the pause in between.
const DAEMON_TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

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
                let taken = Advisory::shared(server, SERVING).await;
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

    /// Says that this process is the daemon of the state's file, until the answer is dropped, and which configuration it has, by
    /// its digest. A database may have several.
    ///
    /// # Errors
    /// There is one already, or the lock cannot be had.
    pub async fn be_the_daemon(&self, configuration: &str) -> Result<TheDaemon, StateError> {
        let Place::File(path) = &self.place else {
            return Ok(TheDaemon { _lock: None });
        };
        let file = lock_file(path, DAEMON).map_err(|source| StateError::lock(path, source))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0)
                        .and_then(|()| (&file).write_all(configuration.as_bytes()))
                        .map_err(|source| StateError::lock(path, source))?;
                    return Ok(TheDaemon {
                        _lock: Some(Lock::File { _file: file }),
                    });
                }
                // Who only looks for a daemon has it for a moment.
                Err(TryLockError::WouldBlock) if tries < DAEMON_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StateError::OtherDaemon { path: path.clone() });
                }
                Err(TryLockError::Error(source)) => return Err(StateError::lock(path, source)),
            }
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

    /// The digest of the configuration that the daemon of the state's file has.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn daemon_configuration(&self) -> Result<String, StateError> {
        let Place::File(path) = &self.place else {
            return Ok(String::new());
        };
        let failed = |source| StateError::lock(path, source);
        let mut text = String::new();
        lock_file(path, DAEMON)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(failed)?;
        Ok(text)
    }

    /// Takes the lock of a job.
    pub(super) async fn lock_job(&self, job: &str) -> Result<Lock, JournalError> {
        self.lock_job_or_wait(job, Wait::AMoment).await
    }

    async fn lock_job_or_wait(&self, job: &str, wait: Wait) -> Result<Lock, JournalError> {
        let running = || JournalError::AlreadyRunning {
            job: job.to_owned(),
        };
        match &self.place {
            Place::File(path) => {
                let failed = error::write("the lock of the job");
                let file = lock_file(path, &format!("{}{JOB}", file_name(job))).map_err(&failed)?;
                match file.try_lock() {
                    Ok(()) => Ok(Lock::File { _file: file }),
                    Err(TryLockError::WouldBlock) => Err(running()),
                    Err(TryLockError::Error(source)) => Err(failed(source)),
                }
            }
            Place::Server(server) => {
                let lock = self.lock_job_on(server, job, wait).await?;
                lock.ok_or_else(running)
            }
        }
    }

    /// The lock of a job; none when somebody runs it, or when it cannot be had, which is told: one job must not stop the others.
    pub(super) async fn lock_job_or_tell(&self, job: &str, wait: Wait) -> Option<Lock> {
        match self.lock_job_or_wait(job, wait).await {
            Ok(lock) => Some(lock),
            Err(JournalError::AlreadyRunning { .. }) => None,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(job.name = job, error, "the job cannot be run");
                None
            }
        }
    }

    async fn lock_job_on(
        &self,
        server: &Server,
        job: &str,
        wait: Wait,
    ) -> Result<Option<Lock>, JournalError> {
        let failed = error::write("the lock of the job");
        let name = job_lock(job);
        let take = |wait| Advisory::exclusive(server, &name, wait);
        if let Some(session) = take(wait).await.map_err(&failed)? {
            return Ok(Some(Lock::Advisory(session)));
        }
        if !Advisory::expel(self.pool(), &name).await.map_err(&failed)? {
            return Ok(None);
        }
        tracing::warn!(
            job.name = job,
            "a process that had the job's lock has not renewed it in time; it is taken from it"
        );
        let session = take(Wait::AMoment).await.map_err(failed)?;
        Ok(session.map(Lock::Advisory))
    }

    /// Whether a process that may be alive runs a job now. Cheaper than to try its lock.
    pub(super) async fn is_run(&self, job: &str) -> Result<bool, JournalError> {
        match &self.place {
            Place::File(_) => match self.lock_job(job).await {
                Ok(_) => Ok(false),
                Err(JournalError::AlreadyRunning { .. }) => Ok(true),
                Err(error) => Err(error),
            },
            Place::Server(_) => Advisory::is_leased(self.pool(), &job_lock(job))
                .await
                .map_err(error::write("the lock of the job")),
        }
    }
}

/// Whether processes that had opened the state's file have left their locks beside it.
pub(super) fn are_beside(state: &Path) -> std::io::Result<bool> {
    let (Some(directory), Some(name)) = (state.parent(), state.file_name()) else {
        return Ok(false);
    };
    let name = format!("{}.", name.to_string_lossy());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?.file_name();
        let suffix = entry.to_str().and_then(|entry| entry.strip_prefix(&name));
        let is_lock = |suffix: &str| {
            [SERVING, DAEMON].contains(&suffix) || suffix.ends_with(JOB) && suffix.len() > JOB.len()
        };
        if suffix.is_some_and(is_lock) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A job's name as part of a file name: whatever could leave the directory is escaped.
fn file_name(job: &str) -> String {
    let mut name = String::with_capacity(job.len());
    for c in job.chars() {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            name.push(c);
        } else {
            name.push_str(&format!("%{:x}%", u32::from(c)));
        }
    }
    name
}

fn job_lock(job: &str) -> String {
    format!("job/{job}")
}
