//! The job definitions: read again when asked to and when their files have changed. A file that is wrong keeps the last good
//! version of its job, and is said aloud for as long as it is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;

use super::needs_a_restart;
use crate::config::{Config, JobFile, Loaded};

/// How often files are looked at. Mounted ConfigMaps are changed by swapping links, which notifications miss.
const LOOK: Duration = Duration::from_secs(5);

/// See the module documentation.
pub(super) struct Definitions {
    directory: PathBuf,
    /// The `--set` options, which stand above the files.
    sets: Vec<String>,
    known: RwLock<Known>,
}

struct Known {
    /// What the daemon works with: the settings of its start, and the last good version of each job.
    config: Arc<Loaded>,
    /// Jobs whose file is wrong now, and what is wrong.
    broken: BTreeMap<String, String>,
    /// Why nothing could be read when it was tried last.
    unreadable: Option<String>,
    /// What was read last: a difference is read again. Nothing at first: a file may have changed since it was read for the start.
    files: Option<Files>,
    /// Jobs whose files were missing for the first time when they were read last. They are in force until they are missing again:
    /// directories are mounted and changed piece by piece.
    missing: BTreeSet<String>,
}

/// What definitions depend on.
#[derive(PartialEq)]
struct Files {
    contents: Vec<(PathBuf, Vec<u8>)>,
    /// A job whose plugin is missing is wrong until the plugin is there.
    plugins: Vec<(String, PathBuf)>,
}

impl Definitions {
    pub(super) fn new(config: &Arc<Loaded>, sets: Vec<String>) -> Self {
        Self {
            directory: config.dir.clone(),
            sets,
            known: RwLock::new(Known {
                config: Arc::clone(config),
                broken: broken(config),
                unreadable: None,
                files: None,
                missing: BTreeSet::new(),
            }),
        }
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.known.read().config)
    }

    /// The jobs whose file is wrong now, and what is wrong.
    pub(super) fn broken(&self) -> BTreeMap<String, String> {
        self.known.read().broken.clone()
    }

    /// What is wrong now: with the files of jobs, by job, and with the configuration as a whole, of the job without a name.
    pub(super) fn wrong(&self) -> BTreeMap<String, String> {
        let known = self.known.read();
        let whole = known.unreadable.iter();
        let whole = whole.map(|errors| (String::new(), errors.clone()));
        known.broken.clone().into_iter().chain(whole).collect()
    }

    /// The names of the jobs that are in force now.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let known = self.known.read();
        known
            .config
            .jobs
            .iter()
            .map(|job| job.name.clone())
            .collect()
    }

    /// A job that is in force now.
    pub(super) fn job(&self, name: &str) -> Option<JobFile> {
        let config = self.current();
        config.jobs.iter().find(|job| job.name == name).cloned()
    }

    /// Whether the file of a job is wrong now.
    pub(super) fn is_broken(&self, name: &str) -> bool {
        self.known.read().broken.contains_key(name)
    }

    /// Whether the configuration as a whole is wrong now, so that what was read before is in force.
    pub(super) fn is_unreadable(&self) -> bool {
        self.known.read().unreadable.is_some()
    }

    /// Reads them again when a file has changed or `reload` ends. Never ends.
    pub(super) async fn keep<R: Future<Output = ()>>(&self, mut reload: impl FnMut() -> R) {
        loop {
            tokio::select! {
                () = reload() => self.read(),
                () = tokio::time::sleep(LOOK) => self.read_what_has_changed(),
            }
        }
    }

    /// Reads them again when a file has changed.
    pub(super) fn read_what_has_changed(&self) {
        let is_another = {
            let known = self.known.read();
            !known.missing.is_empty() || known.files.as_ref() != Some(&files(&known.config))
        };
        if is_another {
            self.read();
        }
    }

    fn read(&self) {
        let files = files(&self.current());
        let mut known = self.known.write();
        known.files = Some(files);
        let read = Config::load(&self.directory, &self.sets);
        known.unreadable = read.as_ref().err().map(ToString::to_string);
        let read = match read {
            Ok(read) => read,
            Err(errors) => {
                tracing::error!(%errors, "the configuration is wrong; what was read before stays in force");
                return;
            }
        };
        if needs_a_restart(&known.config, &read) {
            tracing::warn!("runner.toml has changed: restart the daemon to have it in force");
        }
        known.broken = broken(&read);
        let mut jobs: BTreeMap<String, JobFile> = read
            .jobs
            .iter()
            .map(|job| (job.name.clone(), job.clone()))
            .collect();
        for (name, errors) in &known.broken {
            let last_good = known.config.jobs.iter().find(|job| job.name == *name);
            let kept =
                last_good.map_or("it is not run", |_| "its last good version stays in force");
            tracing::error!(
                job.name = name,
                errors,
                "the definition of a job is wrong; {kept}"
            );
            jobs.extend(last_good.map(|job| (name.clone(), job.clone())));
        }
        let gone = known
            .config
            .jobs
            .iter()
            .filter(|job| !jobs.contains_key(&job.name));
        let gone: BTreeSet<String> = gone.map(|job| job.name.clone()).collect();
        let missing: BTreeSet<String> = gone.difference(&known.missing).cloned().collect();
        for name in &missing {
            tracing::warn!(
                job.name = name,
                "the file of a job is missing; if it stays away, so does the job"
            );
            let last = known.config.jobs.iter().find(|job| job.name == *name);
            jobs.extend(last.map(|job| (name.clone(), job.clone())));
        }
        known.missing = missing;
        let jobs: Vec<JobFile> = jobs.into_values().collect();
        if jobs != known.config.jobs {
            tracing::info!(jobs = jobs.len(), "other definitions of jobs are in force");
        }
        known.config = Arc::new(known.config.with_jobs(jobs));
    }
}

fn broken(config: &Loaded) -> BTreeMap<String, String> {
    let broken = config.broken_jobs.iter();
    broken
        .map(|job| (job.name.clone(), job.errors.to_string()))
        .collect()
}

/// The files that definitions are read from, with their contents, and the plugins that there are.
fn files(config: &Loaded) -> Files {
    let directory = &config.dir;
    let jobs = std::fs::read_dir(directory.join("jobs"))
        .into_iter()
        .flatten();
    let mut paths: Vec<PathBuf> = jobs
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.push(directory.join("runner.toml"));
    paths.sort();
    let contents = paths.into_iter().map(|path| {
        let content = std::fs::read(&path).unwrap_or_default();
        (path, content)
    });
    Files {
        contents: contents.collect(),
        plugins: config.plugins(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_between_reading_and_beginning_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let jobs = directory.path().join("jobs");
        std::fs::create_dir(&jobs).unwrap();
        let runner = "[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n[profiles.targets]\nous = [\"root\"]\n";
        std::fs::write(directory.path().join("runner.toml"), runner).unwrap();
        let config = Config::load(directory.path(), &[]).unwrap();
        std::fs::write(jobs.join("late.toml"), "kind = \"stackset-sink\"\n").unwrap();
        let definitions = Definitions::new(&Arc::new(config), Vec::new());
        definitions.read_what_has_changed();
        assert!(definitions.is_broken("late"));
    }
}
