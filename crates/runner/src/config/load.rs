//! Reading the configuration directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    checks,
    drift_audit::DriftAuditParams,
    enroll::EnrollParams,
    error::{ConfigError, ConfigErrors, Problem},
    external::{ExternalJob, ExternalParams},
    job::{JobFile, JobKind, JobParams, StacksetSyncParams, WrittenJob},
    nearest::nearest,
    orphan_cleanup::OrphanCleanupParams,
    overrides::{self, Overrides},
    plugins::NoPlugin,
    policy_rollout::PolicyRolloutParams,
    runner::RunnerConfig,
    schema,
    source::{Document, Source, locate, span_of},
};

/// Reads configuration.
#[derive(Debug)]
pub struct Config;

/// The configuration as it was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The directory that it was read from; policy files are looked up from there.
    pub dir: PathBuf,
    /// `runner.toml`.
    pub runner: RunnerConfig,
    /// The jobs that could be read, by name.
    pub jobs: Vec<JobFile>,
    /// The jobs that could not, by name; each is disabled.
    pub broken_jobs: Vec<BrokenJob>,
    pub(super) source: Source,
    overrides: Overrides,
}

/// A job file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job {name:?} is disabled, its file is broken:\n{errors}")]
pub struct BrokenJob {
    /// The job's name.
    pub name: String,
    /// What is wrong.
    pub errors: ConfigErrors,
}

impl Config {
    /// Reads `runner.toml` and `jobs/*.toml` below `dir`, with the `--set` options for `runner.toml` over it.
    /// Those for a job are taken when [`Loaded::job`] is asked for it.
    ///
    /// # Errors
    /// Everything that is wrong with `runner.toml` and the options. A job file that is wrong is not an error: see
    /// [`Loaded::broken_jobs`].
    pub fn load(dir: &Path, sets: &[String]) -> Result<Loaded, ConfigErrors> {
        let overrides = overrides::read(sets, dir)?;
        let path = dir.join("runner.toml");
        let mut source = Source::new(path.display().to_string(), read_runner_file(dir, &path)?);
        for (option, toml) in &overrides.runner {
            source.push(option, toml);
        }
        let document = source.parse()?;
        let runner: RunnerConfig = typed(&source, &document, schema::runner())?;
        let problems = checks::runner(&runner, &document);
        if !problems.is_empty() {
            return Err(source.errors(problems));
        }
        drop(document);
        let mut loaded = Loaded {
            dir: dir.to_owned(),
            runner,
            jobs: Vec::new(),
            broken_jobs: Vec::new(),
            source,
            overrides,
        };
        for name in job_names(&dir.join("jobs"))? {
            match loaded.read_job(&name, &[]) {
                Ok(job) => loaded.jobs.push(job),
                Err(errors) => loaded.broken_jobs.push(BrokenJob { name, errors }),
            }
        }
        Ok(loaded)
    }
}

impl Loaded {
    /// The same settings with other jobs.
    #[must_use]
    pub fn with_jobs(&self, jobs: Vec<JobFile>) -> Self {
        Self {
            jobs,
            ..self.clone()
        }
    }

    /// The kinds that are plugins, with the executables, sorted.
    #[must_use]
    pub fn plugins(&self) -> Vec<(String, PathBuf)> {
        self.runner.plugins.kinds(&self.dir)
    }

    /// The job that rolls out the policies of a profile, when there is one.
    #[must_use]
    pub fn rollout_job(&self, profile: &str) -> Option<&JobFile> {
        let mut jobs = self.jobs.iter();
        jobs.find(|job| matches!(&job.params, JobParams::PolicyRollout(params) if params.profile.as_deref() == Some(profile)))
    }

    /// Whether a profile keeps the version of its policies that is noted as good. While a job file is broken, nobody can say that it
    /// is not a rollout's, and what is kept stays kept.
    pub(super) fn keeps_versions(&self, profile: &str) -> bool {
        self.rollout_job(profile).is_some() || !self.broken_jobs.is_empty()
    }

    /// Jobs that a target of notifications is for and that there are none of, each as a sentence.
    #[must_use]
    pub fn unknown_notified_jobs(&self) -> Vec<String> {
        let jobs = self.jobs.iter().map(|job| &job.name);
        let known: Vec<&String> = jobs
            .chain(self.broken_jobs.iter().map(|job| &job.name))
            .collect();
        let mut unknown = Vec::new();
        for target in &self.runner.notify {
            for job in target.jobs.iter().filter(|job| !known.contains(job)) {
                let near = nearest(job, known.iter().map(|name| name.as_str()));
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                unknown.push(format!(
                    "the target {:?} of notifications is for job {job:?}, and there is none{hint}",
                    target.name
                ));
            }
        }
        unknown
    }

    /// What is wrong with the broken jobs, for people; none when all are in order.
    #[must_use]
    pub fn broken_jobs_text(&self) -> Option<String> {
        let texts: Vec<String> = self.broken_jobs.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// The job of this name, with the `--set` options for it.
    ///
    /// # Errors
    /// There is no such job, its file is broken, or an option does not fit it.
    pub fn job(&self, name: &str) -> Result<JobFile, ConfigErrors> {
        let names = || {
            let broken = self.broken_jobs.iter().map(|job| job.name.as_str());
            self.jobs.iter().map(|job| job.name.as_str()).chain(broken)
        };
        if !names().any(|known| known == name) {
            let dir = self.dir.join("jobs");
            let help = match nearest(name, names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!(
                "there is no job {name:?}: no file {}",
                dir.join(format!("{name}.toml")).display()
            );
            return Err(ConfigError::without_place(message, &help).into());
        }
        self.read_job(name, &self.overrides.job)
    }

    fn read_job(
        &self,
        name: &str,
        overrides: &[(String, String)],
    ) -> Result<JobFile, ConfigErrors> {
        let path = self.dir.join("jobs").join(format!("{name}.toml"));
        let mut source = Source::new(path.display().to_string(), read_file(&path)?);
        for (option, toml) in overrides {
            source.push(option, toml);
        }
        let document = source.parse()?;
        let kind = self.kind(&source, &document)?;
        let built_in = match kind {
            Kind::BuiltIn(kind) => Some(kind),
            Kind::Plugin(..) => None,
        };
        overrides::check_params(built_in, overrides, &path)?;
        let kind = match kind {
            Kind::BuiltIn(kind) => kind,
            Kind::Plugin(kind, program) => {
                let written: WrittenJob<ExternalParams> =
                    typed(&source, &document, schema::external())?;
                let job = written.named(name, |params| {
                    JobParams::External(Box::new(ExternalJob {
                        kind,
                        program,
                        params,
                        source: source.clone(),
                    }))
                });
                return self.checked(job, &source, &document);
            }
        };
        let job = match kind {
            JobKind::StacksetSync => {
                let written: WrittenJob<StacksetSyncParams> =
                    typed(&source, &document, schema::job(kind))?;
                written.named(name, JobParams::StacksetSync)
            }
            JobKind::DriftAudit => {
                let written: WrittenJob<DriftAuditParams> =
                    typed(&source, &document, schema::job(kind))?;
                written.named(name, JobParams::DriftAudit)
            }
            JobKind::Enroll => {
                let written: WrittenJob<EnrollParams> =
                    typed(&source, &document, schema::job(kind))?;
                written.named(name, JobParams::Enroll)
            }
            JobKind::OrphanCleanup => {
                let written: WrittenJob<OrphanCleanupParams> =
                    typed(&source, &document, schema::job(kind))?;
                written.named(name, JobParams::OrphanCleanup)
            }
            JobKind::PolicyRollout => {
                let written: WrittenJob<PolicyRolloutParams> =
                    typed(&source, &document, schema::job(kind))?;
                written.named(name, JobParams::PolicyRollout)
            }
        };
        self.checked(job, &source, &document)
    }

    fn checked(
        &self,
        job: JobFile,
        source: &Source,
        document: &Document<'_>,
    ) -> Result<JobFile, ConfigErrors> {
        let problems = checks::job(&job, &self.runner, document);
        if problems.is_empty() {
            Ok(job)
        } else {
            Err(source.errors(problems))
        }
    }

    /// The kind of a job, read before anything else.
    fn kind(&self, source: &Source, document: &Document<'_>) -> Result<Kind, ConfigErrors> {
        let known = || {
            let plugins = self.plugins().into_iter().map(|(kind, _)| kind);
            let built_in = JobKind::ALL.into_iter().map(|kind| kind.name().to_owned());
            built_in.chain(plugins).collect::<Vec<_>>()
        };
        let (span, message, name) = match document.get_ref().get_key_value("kind") {
            None => (0..0, "the file needs the key `kind`".to_owned(), None),
            Some((key, value)) => {
                let span = span_of(Some(key), value);
                match value.get_ref().as_str() {
                    None => (span, "`kind` must be a string".to_owned(), None),
                    Some(name) => {
                        if let Some(kind) = JobKind::from_name(name) {
                            return Ok(Kind::BuiltIn(kind));
                        }
                        match self.runner.plugins.find(&self.dir, name) {
                            Ok(program) => return Ok(Kind::Plugin(name.to_owned(), program)),
                            Err(why @ NoPlugin::Unusable { help, .. }) => {
                                return Err(source
                                    .error(Problem {
                                        span,
                                        message: format!("the kind {name:?} is a plugin: {why}"),
                                        help: Some(help.to_owned()),
                                    })
                                    .into());
                            }
                            Err(NoPlugin::Missing(why)) => (
                                span,
                                format!("there is no job kind {name:?}: {why}"),
                                Some(name),
                            ),
                        }
                    }
                }
            }
        };
        let known = known();
        let near = name.and_then(|name| nearest(name, known.iter().map(String::as_str)));
        let list: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
        let list = list.join(", ");
        let help = Some(match near {
            Some(near) => format!("did you mean {near:?}? known kinds are {list}"),
            None => format!("known kinds are {list}"),
        });
        Err(source
            .error(Problem {
                span,
                message,
                help,
            })
            .into())
    }
}

/// What a job does.
enum Kind {
    BuiltIn(JobKind),
    /// The name, and the executable.
    Plugin(String, PathBuf),
}

/// Checks a document against its schema, then reads it as its type.
fn typed<T: DeserializeOwned>(
    source: &Source,
    document: &Document<'_>,
    schema: &Value,
) -> Result<T, ConfigErrors> {
    let problems = schema::check(schema, document);
    if !problems.is_empty() {
        return Err(source.errors(problems));
    }
    // The schema is made from the type, so that this fails only for what a schema cannot say.
    T::deserialize(toml::de::Deserializer::from(document.clone())).map_err(|error| {
        let span = error.span().unwrap_or_else(|| locate(document, &[]));
        source
            .error(Problem {
                span,
                message: error.message().to_owned(),
                help: None,
            })
            .into()
    })
}

fn read_runner_file(dir: &Path, path: &Path) -> Result<String, ConfigError> {
    if !dir.is_dir() {
        return Err(ConfigError::without_place(
            format!("there is no configuration directory {}", dir.display()),
            "name it with --config; the directory config/ of the repository is a start",
        ));
    }
    read_file(path)
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "make it; docs/configuration.md says what belongs into it",
            io::ErrorKind::PermissionDenied => "let the user that runs the runner read it",
            _ => "it must be a text file in UTF-8",
        };
        ConfigError::without_place(format!("could not read {}: {error}", path.display()), help)
    })
}

/// The names of the job files, sorted. Without the directory there are no jobs.
fn job_names(dir: &Path) -> Result<Vec<String>, ConfigError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(ConfigError::without_place(
                format!("could not list {}: {error}", dir.display()),
                "it must be a directory that the user that runs the runner can read",
            ));
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_job = path
                .extension()
                .is_some_and(|extension| extension == "toml");
            is_job
                .then(|| path.file_stem()?.to_str().map(str::to_owned))
                .flatten()
        })
        .collect();
    names.sort();
    Ok(names)
}
