//! The job definitions: read again when asked to and when their files have changed. A file that is wrong keeps the last good
//! version of its job, and is said aloud for as long as it is wrong. So does one that its plugin does not take.

mod plugins;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use super::needs_a_restart;
use crate::config::{Config, JobFile, Loaded};

/// How often files are looked at. Mounted ConfigMaps are changed by swapping links, which notifications miss.
const LOOK: Duration = Duration::from_secs(5);

/// How long after a plugin did not take a file it is asked again: it may have been the plugin that could not say so.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// See the module documentation.
pub(super) struct Definitions {
    directory: PathBuf,
    /// The `--set` options, which stand above the files.
    sets: Vec<String>,
    known: RwLock<Known>,
    /// Held by who reads them.
    reading: tokio::sync::Mutex<()>,
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
    /// When plugins are asked again, which did not take what they were asked about last.
    ask_again: Option<Instant>,
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
                ask_again: None,
            }),
            reading: tokio::sync::Mutex::default(),
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

    /// The same, and those whose file is wrong and that have no good version: they are kept back, and not unknown.
    pub(super) fn all_names(&self) -> BTreeSet<String> {
        let mut names = self.names();
        names.extend(self.known.read().broken.keys().cloned());
        names
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
                () = reload() => {
                    let _one = self.reading.lock().await;
                    self.read().await;
                }
                () = tokio::time::sleep(LOOK) => self.read_what_has_changed().await,
            }
        }
    }

    /// Reads them again when a file has changed.
    pub(super) async fn read_what_has_changed(&self) {
        let _one = self.reading.lock().await;
        let is_another = {
            let known = self.known.read();
            !known.missing.is_empty()
                || known.files.as_ref() != Some(&files(&known.config))
                || known.ask_again.is_some_and(|at| at <= Instant::now())
        };
        if is_another {
            self.read().await;
        }
    }

    /// Only one reads at a time.
    async fn read(&self) {
        let in_force = self.current();
        let files = files(&in_force);
        let read = Config::load(&self.directory, &self.sets);
        let not_taken = match &read {
            Ok(read) => plugins::wrong(read, &in_force.jobs).await,
            Err(_) => BTreeMap::new(),
        };
        let mut known = self.known.write();
        known.files = Some(files);
        known.ask_again = (!not_taken.is_empty()).then(|| Instant::now() + ASK_AGAIN);
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
        known.broken.extend(not_taken);
        let jobs = read.jobs.iter();
        let mut jobs: BTreeMap<String, JobFile> = jobs
            .filter(|job| !known.broken.contains_key(&job.name))
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

    /// A configuration without jobs, which may have plugins.
    fn configured() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in ["jobs", "plugins"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let runner = "[aws]\nregion = \"us-east-1\"\n[plugins]\npath = [\"plugins\"]\n[[profiles]]\nname = \"default\"\n\
                      [profiles.targets]\nous = [\"root\"]\n";
        std::fs::write(directory.path().join("runner.toml"), runner).unwrap();
        directory
    }

    fn definitions(directory: &tempfile::TempDir) -> Definitions {
        let config = Config::load(directory.path(), &[]).unwrap();
        Definitions::new(&Arc::new(config), Vec::new())
    }

    #[tokio::test]
    async fn what_changed_between_reading_and_beginning_is_read() {
        let directory = configured();
        let definitions = definitions(&directory);
        let late = directory.path().join("jobs/late.toml");
        std::fs::write(late, "kind = \"stackset-sink\"\n").unwrap();
        definitions.read_what_has_changed().await;
        assert!(definitions.is_broken("late"));
    }

    #[test]
    fn a_job_whose_file_is_wrong_from_the_start_is_kept_back_and_not_unknown() {
        let directory = configured();
        let wrong = directory.path().join("jobs/wrong.toml");
        std::fs::write(wrong, "kind = \"stackset-sink\"\n").unwrap();
        let definitions = definitions(&directory);
        assert!(definitions.names().is_empty());
        assert_eq!(definitions.all_names(), ["wrong".to_owned()].into());
    }

    #[tokio::test]
    async fn a_file_that_its_plugin_does_not_take_leaves_the_last_good_version_in_force() {
        let directory = configured();
        let rogue = e2e::components::checkout().join("tests/plugins/runner-job-rogue");
        let program = directory.path().join("plugins/runner-job-rogue-fine");
        std::os::unix::fs::symlink(rogue, program).unwrap();
        let write = |job: &str, settings: &str| {
            let text = format!("kind = \"rogue-fine\"\n[params.settings]\n{settings}\n");
            std::fs::write(directory.path().join(format!("jobs/{job}.toml")), text).unwrap();
        };
        let good = |log: &str| format!("directory = \"made\"\nlog = {log:?}");
        let definitions = definitions(&directory);
        let log = |job: &str| match definitions.job(job)?.params {
            crate::config::JobParams::External(job) => Some(job.params.settings["log"].clone()),
            other => panic!("{other:?}"),
        };
        write("files", &good("one"));
        definitions.read_what_has_changed().await;
        assert_eq!(log("files").unwrap(), "one");
        write("files", "dirctory = \"made\"\nlog = \"two\"");
        write("new", "directory = 7");
        definitions.read_what_has_changed().await;
        assert_eq!(log("files").unwrap(), "one");
        assert_eq!(log("new"), None);
        let broken = definitions.broken();
        assert!(broken["files"].contains("dirctory"), "{broken:?}");
        assert!(broken.contains_key("new"), "{broken:?}");
        for job in ["files", "new"] {
            write(job, &good("three"));
        }
        definitions.read_what_has_changed().await;
        assert_eq!(log("files").unwrap(), "three");
        assert_eq!(log("new").unwrap(), "three");
        assert!(definitions.broken().is_empty());
    }
}
