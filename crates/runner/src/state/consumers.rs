//! Whether a provider is serving: each `runner provider` holds a shared lock on a file beside the state. The operating
//! system ends it with the process, however that dies, so a dead one is never taken for a live one.

use std::fs::{File, TryLockError};

use super::{State, StateError, lock_file};

/// Held by a provider for as long as it serves.
#[derive(Debug)]
pub struct Serving {
    _lock: File,
}

impl State {
    /// Says that this process serves the provider's queue, until the answer is dropped.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn serve(&self) -> Result<Serving, StateError> {
        let lock = self.consumers()?;
        lock.lock_shared()
            .map_err(|source| self.consumers_error(source))?;
        Ok(Serving { _lock: lock })
    }

    /// Whether a process serves the provider's queue now.
    ///
    /// # Errors
    /// The lock file cannot be made or looked at.
    pub fn is_served(&self) -> Result<bool, StateError> {
        match self.consumers()?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(self.consumers_error(source)),
        }
    }

    fn consumers(&self) -> Result<File, StateError> {
        lock_file(&self.path, "serving").map_err(|source| self.consumers_error(source))
    }

    fn consumers_error(&self, source: std::io::Error) -> StateError {
        StateError::Lock {
            path: self.path.clone(),
            source,
        }
    }
}
