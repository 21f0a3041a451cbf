//! Locks that several processes share: what Spot lets be changed only as a whole is read, changed and written by one of them
//! at a time. A lock is held for a short while only and prolonged as long as the work goes on, so one whose holder was killed
//! is free soon.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use super::SpotClient;

/// How long a lock is held unless it is prolonged.
const LEASE: Duration = Duration::from_secs(30);

/// How often a lock that somebody else holds is asked for, at most.
const POLL: Duration = Duration::from_millis(500);

/// How long the store is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Locks by name, where several processes can take them.
#[async_trait]
pub trait SharedLocks: Send + Sync {
    /// Takes a lock for so long from now, by one clock for all processes; who holds it prolongs it. None when it is the
    /// holder's now, otherwise for how much longer somebody else has it, at the longest.
    ///
    /// # Errors
    /// Whatever the store says.
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Duration>, Box<dyn Error + Send + Sync>>;

    /// Gives a lock back; nothing happens when it is not held.
    ///
    /// # Errors
    /// Whatever the store says.
    async fn give_back(&self, name: &str, holder: &str)
    -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// The locks, and as whom this client takes them.
pub(crate) struct Locks {
    locks: Arc<dyn SharedLocks>,
    holder: String,
}

impl SpotClient {
    /// From now on, changes that could overwrite those of other processes are made under these locks. What was named first
    /// stays.
    pub fn share_locks(&self, locks: Arc<dyn SharedLocks>) {
        let holder = format!("{:032x}", rand::random::<u128>());
        let _ = self.inner.locks.set(Locks { locks, holder });
    }

    /// Does something while no other process holds the lock. None when that cannot be: there are no shared locks, or their
    /// store failed or gave the lock to somebody else meanwhile. Then the work was not done, or was stopped at any point.
    /// Callers of one client do not lock each other out, and one that is dropped leaves the lock to the next of them.
    pub(crate) async fn locked<T>(
        &self,
        name: &str,
        work: impl Future<Output = T> + Send,
    ) -> Option<T> {
        let Locks { locks, holder } = self.inner.locks.get()?;
        let locks = locks.as_ref();
        while let Some(left) = take(locks, name, holder).await? {
            let pause = left.clamp(POLL / 10, POLL);
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        }
        let done = tokio::select! {
            done = work => Some(done),
            () = lost(locks, name, holder) => {
                tracing::warn!(lock = name, "the lock in the state was lost");
                None
            }
        };
        match timeout(PATIENCE, locks.give_back(name, holder)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(lock = name, error, "the lock is held for longer"),
            Err(_) => tracing::warn!(lock = name, "the lock is held for longer"),
        }
        done
    }
}

/// Takes a lock, or tells for how much longer somebody else has it; none when the store fails.
async fn take(locks: &dyn SharedLocks, name: &str, holder: &str) -> Option<Option<Duration>> {
    match timeout(PATIENCE, locks.take(name, holder, LEASE)).await {
        Ok(Ok(left)) => Some(left),
        Ok(Err(error)) => {
            tracing::warn!(lock = name, error, "the shared lock cannot be used");
            None
        }
        Err(_) => {
            tracing::warn!(lock = name, "the shared lock did not answer in time");
            None
        }
    }
}

/// Prolongs a lock for as long as it is held.
async fn lost(locks: &dyn SharedLocks, name: &str, holder: &str) {
    let mut until = Instant::now() + LEASE;
    loop {
        sleep(LEASE / 3).await;
        let asked = Instant::now();
        match take(locks, name, holder).await {
            Some(None) => until = asked + LEASE,
            Some(Some(_)) => return,
            // Nobody else was given it before its time is over.
            None if Instant::now() < until => {}
            None => return,
        }
    }
}
