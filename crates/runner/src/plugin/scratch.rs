//! A directory for one process of a plugin, gone with it; and what runners left behind that were killed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

const PREFIX: &str = "runner-plugin-";

/// Who holds the lock of this file in a directory uses the directory.
const LOCK: &str = ".runner.lock";

/// A directory that is younger may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one among the temporary files, and removes there what nobody uses any more.
    pub(super) fn new() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        Self::within(&parent)
    }

    fn within(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create_new(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(directory = %self.path.display(), %error, "what a plugin left behind could not be removed");
        }
    }
}

/// Removes directories of runners that were killed, so that they could not do it themselves.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        let path = entry.path();
        let Some(_lock) = is_ours.then(|| left(&path)).flatten() else {
            continue;
        };
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(
                directory = %path.display(),
                "what a plugin of a runner left behind that was killed is removed"
            ),
            Err(error) => tracing::warn!(
                directory = %path.display(), %error,
                "what a plugin of a runner left behind that was killed could not be removed"
            ),
        }
    }
}

/// The lock of a directory that is ours and that nobody uses any more.
fn left(path: &Path) -> Option<File> {
    let found = fs::symlink_metadata(path).ok()?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    let is_old = found.modified().ok()?.elapsed().ok()? >= YOUNG;
    if !is_own || !is_old {
        return None;
    }
    let lock = File::open(path.join(LOCK)).ok()?;
    lock.try_lock().ok()?;
    Some(lock)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_a_killed_runner_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let age = |path: &Path| {
            let long_ago = SystemTime::now() - 2 * YOUNG;
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        };
        let used = Scratch::within(parent.path()).unwrap();
        fs::write(used.path().join("work"), "").unwrap();
        age(used.path());
        // As after a SIGKILL: the directory is there, and nobody has its lock.
        let left = parent.path().join("runner-plugin-left");
        let young = parent.path().join("runner-plugin-young");
        for path in [&left, &young] {
            fs::create_dir_all(path.join("below")).unwrap();
            File::create(path.join(LOCK)).unwrap();
        }
        age(&left);
        // Of a version that held no lock, and of others.
        let unlocked = parent.path().join("runner-plugin-unlocked");
        let other = parent.path().join("something-else");
        for path in [&unlocked, &other] {
            fs::create_dir(path).unwrap();
            age(path);
        }
        sweep(parent.path());
        assert!(!left.exists());
        for path in [used.path(), &young, &unlocked, &other] {
            assert!(path.exists(), "{}", path.display());
        }
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
