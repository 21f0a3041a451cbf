//! Whether the state's file is as SQLite left it. A copy that was cut off, or a file that somebody emptied, must not be taken for a state
//! that knows nothing: the runner would take its own links for somebody else's.

use std::path::{Path, PathBuf};

use sqlx::{Any, AnyConnection, Executor};

use super::{Place, State, StateError, locks};

/// A file of up to this size is looked through whenever it is opened, which takes a few hundredths of a second. A larger one
/// only when a daemon begins, which takes seconds for each gigabyte.
const SMALL: u64 = 16 << 20;

/// Refuses a file without a byte that was there before, where processes have left their locks beside it. Whoever makes a state fills
/// it at once.
pub(super) fn not_emptied(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::lock(path, source);
    if size(path)? > 0 || !locks::are_beside(path).map_err(failed)? {
        return Ok(());
    }
    Err(damaged(path, "it is empty, and runs have used it"))
}

/// Looks through a file, if it is small.
pub(super) async fn look_through(
    path: &Path,
    connection: &mut AnyConnection,
) -> Result<(), StateError> {
    if (1..=SMALL).contains(&size(path)?) {
        quick_check(path, connection).await?;
    }
    Ok(())
}

impl State {
    /// Looks through the whole file, if that was too large for it when it was opened. A database looks after itself.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub async fn check_intact(&self) -> Result<(), StateError> {
        match &self.place {
            Place::File(path) if size(path)? > SMALL => quick_check(path, self.pool()).await,
            Place::File(_) | Place::Server(_) => Ok(()),
        }
    }
}

async fn quick_check(
    path: &Path,
    connection: impl Executor<'_, Database = Any>,
) -> Result<(), StateError> {
    let found = sqlx::query_scalar("PRAGMA quick_check(1)");
    let found: Result<String, sqlx::Error> = found.fetch_one(connection).await;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(damaged(path, &found)),
        Err(error) => Err(damaged(path, &error.to_string())),
    }
}

fn size(path: &Path) -> Result<u64, StateError> {
    let failed = |source| StateError::Create {
        path: path.to_owned(),
        source,
    };
    Ok(std::fs::metadata(path).map_err(failed)?.len())
}

fn damaged(path: &Path, why: &str) -> StateError {
    StateError::Damaged {
        path: PathBuf::from(path),
        why: why.to_owned(),
    }
}
