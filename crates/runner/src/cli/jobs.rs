//! `runner jobs`: the job definitions.

use jiff::Timestamp;

use super::{Failure, Global, freeze::named, load, print, print_json, warn};
use crate::{
    config::{self, ConfigErrors, JobKind, JobParams, Loaded},
    engine::Interrupt,
    plugin::{Description, Plugin},
    report::{Output, table},
    schedule::{delay, local, next_tick},
    state::State,
};

/// List, check and describe job definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Jobs {
    /// List the jobs: kind, schedule, and whether they are in order.
    List,
    /// Print when jobs are due next, in their time zones.
    Next {
        /// The job; without it, every job that has a schedule.
        job: Option<String>,
        /// How many ticks of each job.
        #[arg(long, short = 'n', default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
    /// Take the schedule of a job out of force, until `resume`. It can still be run by hand.
    Pause {
        /// The job.
        job: String,
        /// Why; it is told with every tick that is skipped.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Who. Without it, the user of this machine.
        #[arg(long = "as", value_name = "NAME")]
        by: Option<String>,
    },
    /// Put the schedule of a job into force again.
    Resume {
        /// The job.
        job: String,
    },
    /// Check runner.toml and every job file, and ask plugins what they are. Needs no credentials.
    Validate,
    /// Print the JSON Schema of a job file of one kind, or of runner.toml.
    Schema {
        /// The kind of job, built in or a plugin; without it, runner.toml.
        kind: Option<String>,
    },
}

impl Jobs {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        match self {
            Self::List => list(global),
            Self::Next { job, count } => next(global, job.as_deref(), count),
            Self::Pause { job, reason, by } => pause(global, &job, reason.as_deref(), by).await,
            Self::Resume { job } => resume(global, &job).await,
            Self::Validate => validate(global).await,
            Self::Schema { kind } => schema(global, kind.as_deref()).await,
        }
    }
}

fn list(global: &Global) -> Result<u8, Failure> {
    let config = load(global)?;
    if global.output == Output::Json {
        let jobs: Vec<serde_json::Value> = config
            .jobs
            .iter()
            .map(|job| {
                let mut listed = serde_json::json!({
                    "name": job.name,
                    "kind": job.kind(),
                    "schedule": job.schedule.as_ref().map(ToString::to_string),
                    "enabled": job.enabled,
                });
                if let JobParams::External(external) = &job.params {
                    listed["plugin"] = external.program.display().to_string().into();
                }
                listed
            })
            .chain(config.broken_jobs.iter().map(|broken| {
                serde_json::json!({ "name": broken.name, "error": broken.errors.to_string() })
            }))
            .collect();
        return print_json(&jobs);
    }
    let mut rows = table::table(&["job", "kind", "schedule", "state"]);
    for job in &config.jobs {
        let schedule = job
            .schedule
            .as_ref()
            .map_or_else(|| "by hand".to_owned(), ToString::to_string);
        let state = if job.enabled { "enabled" } else { "disabled" };
        rows.add_row(vec![
            job.name.clone(),
            job.kind().to_owned(),
            schedule,
            state.to_owned(),
        ]);
    }
    for broken in &config.broken_jobs {
        rows.add_row(vec![
            broken.name.as_str(),
            "-",
            "-",
            "broken: see `runner jobs validate`",
        ]);
    }
    print(&table::render(&rows));
    Ok(0)
}

/// When a job is due.
#[derive(Debug, serde::Serialize)]
struct Due {
    job: String,
    /// The scheduled moment.
    tick: Timestamp,
    /// The same, as the clock shows it in the schedule's time zone.
    local: String,
    /// When the run starts: the tick and the job's jitter.
    starts_at: Timestamp,
}

fn next(global: &Global, wanted: Option<&str>, count: u16) -> Result<u8, Failure> {
    let config = load(global)?;
    let named = match wanted {
        None => None,
        Some(name) => Some(
            config
                .job(name)
                .map_err(|errors| Failure::Config(errors.to_string()))?,
        ),
    };
    let jobs = match &named {
        None => config.jobs.iter().filter(|job| job.enabled).collect(),
        Some(job) => vec![job],
    };
    let now = Timestamp::now();
    let mut due: Vec<Due> = jobs
        .into_iter()
        .filter_map(|job| Some((job, job.schedule.as_ref()?)))
        .flat_map(|(job, schedule)| {
            let next = |last: &Timestamp| next_tick(schedule, *last);
            let ticks = std::iter::successors(next(&now), next).take(count.into());
            ticks.map(|tick| Due {
                job: job.name.clone(),
                tick,
                local: local(schedule, tick)
                    .strftime("%Y-%m-%d %H:%M:%S %Z")
                    .to_string(),
                starts_at: tick + delay(schedule, &job.name, tick),
            })
        })
        .collect();
    due.sort_by(|a, b| (a.tick, &a.job).cmp(&(b.tick, &b.job)));
    if global.output == Output::Json {
        return print_json(&due);
    }
    if let Some(job) = named.filter(|job| job.schedule.is_none() || !job.enabled) {
        let why = if job.enabled {
            "has no schedule"
        } else {
            "is disabled: its schedule is not in force"
        };
        warn(&format!("job {} {why}", job.name));
    }
    let mut rows = table::table(&["due", "job", "starts"]);
    for due in due {
        let starts_at = due.starts_at.strftime("%H:%M:%SZ").to_string();
        rows.add_row(vec![due.local, due.job, starts_at]);
    }
    print(&table::render(&rows));
    Ok(0)
}

/// The state, for a job that there is: in a file that is in order, or not.
async fn state_for(global: &Global, job: &str) -> Result<State, Failure> {
    let config = load(global)?;
    if !config.broken_jobs.iter().any(|broken| broken.name == job) {
        config
            .job(job)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
    }
    Ok(State::open(&config.runner.state.url).await?)
}

async fn pause(
    global: &Global,
    job: &str,
    reason: Option<&str>,
    by: Option<String>,
) -> Result<u8, Failure> {
    let state = state_for(global, job).await?;
    let by = named(by);
    state.pause_job(job, &by, reason, Timestamp::now()).await?;
    state.close().await;
    print(&format!(
        "job {job} is paused by {by}: its ticks are skipped, and what waits does not begin, until `runner jobs resume {job}`\n"
    ));
    Ok(0)
}

async fn resume(global: &Global, job: &str) -> Result<u8, Failure> {
    let state = state_for(global, job).await?;
    let was_paused = state.resume_job(job, Timestamp::now()).await?;
    state.close().await;
    print(&match was_paused {
        true => format!("job {job} runs by its schedule again\n"),
        false => format!("job {job} was not paused\n"),
    });
    Ok(0)
}

async fn validate(global: &Global) -> Result<u8, Failure> {
    let config = load(global)?;
    if let Some(errors) = config.broken_jobs_text() {
        return Err(Failure::Config(errors));
    }
    // Rendering the templates finds what reading cannot: policy files that are missing or too large.
    config
        .check()
        .map_err(|errors| Failure::Config(errors.to_string()))?;
    ask_plugins(&config).await?;
    print(&format!(
        "{}: {} profiles and {} jobs are in order\n",
        global.config.display(),
        config.runner.profiles.len(),
        config.jobs.len()
    ));
    Ok(0)
}

/// Asks the plugin of each job whether the job's file is what it needs.
async fn ask_plugins(config: &Loaded) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for job in &config.jobs {
        let JobParams::External(external) = &job.params else {
            continue;
        };
        let checked = describe(&Plugin::of(external, &config.runner.plugins)).await;
        let checked = checked.and_then(|description| {
            let told = |errors: ConfigErrors| Failure::Config(errors.to_string());
            external.check(&description.asking).map_err(told)
        });
        if let Err(failure) = checked {
            wrong.push(format!("the job {:?}: {failure}", job.name));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Config(wrong.join("\n\n"))),
    }
}

/// Asks a plugin what it is. A signal ends the plugin, too.
async fn describe(plugin: &Plugin) -> Result<Description, Failure> {
    let interrupt = Interrupt::on_signals()
        .map_err(|error| Failure::Failed(format!("signals cannot be listened to: {error}")))?;
    let described = plugin.describe(&interrupt).await;
    described.map_err(|error| Failure::Config(error.to_string()))
}

async fn schema(global: &Global, kind: Option<&str>) -> Result<u8, Failure> {
    let Some(name) = kind else {
        return print_json(config::schema::runner());
    };
    if let Some(kind) = JobKind::from_name(name) {
        return print_json(config::schema::job(kind));
    }
    let config = load(global)?;
    let plugins = config.plugins();
    match plugins.iter().find(|(kind, _)| kind == name) {
        Some((kind, program)) => {
            let plugin = Plugin::new(kind, program.clone(), &config.runner.plugins);
            let description = describe(&plugin).await?;
            let summary = Some(description.summary.as_str());
            let schema = config::schema::external_job(kind, summary, &description.asking);
            print_json(&schema)
        }
        None => {
            let built_in = JobKind::ALL.iter().map(|kind| kind.name());
            let known: Vec<&str> = built_in
                .chain(plugins.iter().map(|(kind, _)| kind.as_str()))
                .collect();
            Err(Failure::Config(format!(
                "there is no job kind {name:?}, built in or as a plugin; there are: {}",
                known.join(", ")
            )))
        }
    }
}
