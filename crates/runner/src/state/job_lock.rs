//! One process at a time runs a job: an advisory lock on a file beside the state. The operating system ends it with the
//! process, however that dies, so no lease has to run out before the next run.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::engine::JournalError;

/// Takes the lock of a job; it is held until the file is dropped.
pub(super) fn acquire(state: &Path, job: &str) -> Result<File, JournalError> {
    // Job names become file names: whatever could leave the directory is replaced.
    let name = job.replace(
        |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_',
        "_",
    );
    let file = super::lock_file(state, &format!("{name}.lock"))
        .map_err(super::error::write("the lock of the job"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::AlreadyRunning {
            job: job.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(super::error::write("the lock of the job")(error)),
    }
}
