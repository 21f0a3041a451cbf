//! The command line: what can be asked for, and nothing of how it is done (each command has its own module).

mod approve;
mod bench_inventory;
mod bench_plan;
mod beside_daemon;
mod bootstrap;
mod confirm;
mod daemon;
mod exec;
mod freeze;
mod generate;
mod home_place;
mod iam_policy;
mod jobs;
mod notify;
mod plan;
mod policy;
mod policy_diff;
mod policy_versions;
mod provider;
mod prune;
mod resume;
mod running;
mod runs;
mod sandbox;
mod status;
mod template;
mod undo;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, Loaded, LogFormat},
    report::Output,
    telemetry,
};

/// Enrolls every account of an AWS Organization in Spot, keeps it so, and tells the truth about each.
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The directory with runner.toml and jobs/*.toml.
    #[arg(long, global = true, value_name = "DIR", default_value = "config")]
    pub config: PathBuf,
    /// The form of what is written to stdout.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// Overrides a setting of runner.toml, as a dotted path and a TOML value. Guard rails cannot be overridden.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Logs more: -v what is done, -vv every call.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress and no warnings, only errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job once: observe, plan, guard, apply, verify.
    Exec(exec::Exec),
    /// Run jobs when they are due and serve the provider's queue, until a signal.
    Daemon(daemon::Daemon),
    /// Show what a job would do, as text to review, and write it down for `apply`. Changes nothing.
    Plan(plan::Plan),
    /// Apply a plan that was written down, as far as it still holds.
    Apply(plan::Apply),
    /// Show the coverage of each organizational unit and where each account stands. Reads only.
    Status(status::Status),
    /// Stop every write of every job and provider, and let them go on again.
    #[command(subcommand)]
    Freeze(freeze::Freeze),
    /// List, check and describe job definitions.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Look at past runs, and approve plans that wait.
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Try the targets of notifications, and see what they were told.
    #[command(subcommand)]
    Notify(notify::Notify),
    /// The CloudFormation template that enrolls an account.
    #[command(subcommand)]
    Template(template::Template),
    /// Deploy what the provider needs into the home account: topic, queues, key, alarms, events, role.
    Bootstrap(bootstrap::Bootstrap),
    /// Print the policy that the runner's identity in AWS needs, and nothing broader.
    IamPolicy(iam_policy::IamPolicy),
    /// IAM policy documents, their versions and rollouts.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Serve the custom resources of the stacks from the provider's queue, until a signal.
    Provider(provider::Provider),
    /// Start a simulated AWS Organization and a simulated Spot on this machine, for rehearsal.
    Sandbox(sandbox::Sandbox),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the generated reference pages and JSON Schemas.
    #[command(hide = true)]
    Gen(generate::Generate),
    /// Read the organization once and print what that took.
    #[command(hide = true)]
    BenchInventory(bench_inventory::BenchInventory),
    /// Plan for an organization that is made up, and print what that took.
    #[command(hide = true)]
    BenchPlan(bench_plan::BenchPlan),
}

/// Runs a command. Returns the exit code.
pub async fn run(cli: Cli) -> u8 {
    let outcome = match cli.command {
        Command::Exec(command) => command.run(&cli.global).await,
        Command::Daemon(command) => Box::pin(command.run(&cli.global)).await,
        Command::Plan(command) => command.run(&cli.global).await,
        Command::Apply(command) => command.run(&cli.global).await,
        Command::Status(command) => command.run(&cli.global).await,
        Command::Freeze(command) => command.run(&cli.global).await,
        Command::Jobs(command) => command.run(&cli.global).await,
        Command::Runs(command) => command.run(&cli.global).await,
        Command::Notify(command) => Box::pin(command.run(&cli.global)).await,
        Command::Template(command) => command.run(&cli.global),
        Command::Bootstrap(command) => command.run(&cli.global).await,
        Command::IamPolicy(command) => command.run(&cli.global).await,
        Command::Policy(command) => command.run(&cli.global).await,
        Command::Provider(command) => Box::pin(command.run(&cli.global)).await,
        Command::Sandbox(command) => command.run().await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "runner",
                &mut script,
            );
            print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        Command::Gen(command) => command.run(),
        Command::BenchInventory(command) => command.run().await,
        Command::BenchPlan(command) => command.run(),
    };
    outcome.unwrap_or_else(|failure| {
        complain(&failure.to_string());
        failure.exit_code()
    })
}

/// Why a command could not do its work. Runs that went wrong are not failures of this kind: they have a report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration or the command line is wrong. Exit code 2.
    #[error("{0}")]
    Config(String),
    /// Credentials or something else that must be there is missing. Exit code 5.
    #[error("{0}")]
    Prerequisite(String),
    /// A guard rail refuses it. Exit code 4.
    #[error("{0}")]
    Refused(String),
    /// It did not work. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// A second signal left it. Exit code 130.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Prerequisite(_) => 5,
            Self::Refused(_) => 4,
            Self::Failed(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }
}

impl From<crate::engine::JobError> for Failure {
    fn from(error: crate::engine::JobError) -> Self {
        use crate::engine::ErrorClass;
        match error.class() {
            ErrorClass::Invalid => Self::Config(error.chain()),
            ErrorClass::Prerequisite | ErrorClass::Denied => Self::Prerequisite(error.chain()),
            _ => Self::Failed(error.chain()),
        }
    }
}

/// Reads the configuration. A broken job file is said aloud and disables that job only; so is a target for a job that is not there.
fn load(global: &Global) -> Result<Loaded, Failure> {
    let config = Config::load(&global.config, &global.set)
        .map_err(|errors| Failure::Config(errors.to_string()))?;
    if let Some(broken) = config.broken_jobs_text() {
        warn(&broken);
    }
    for unknown in config.unknown_notified_jobs() {
        warn(&unknown);
    }
    Ok(config)
}

/// Starts logs, traces and metrics.
fn telemetry(global: &Global, config: &Loaded) -> Result<telemetry::Guard, Failure> {
    start_telemetry(global, config, false)
}

/// As the options say; with `is_scraped`, metrics can be read.
fn start_telemetry(
    global: &Global,
    config: &Loaded,
    is_scraped: bool,
) -> Result<telemetry::Guard, Failure> {
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => telemetry::Verbosity::Quiet,
        (false, 0) => telemetry::Verbosity::Default,
        (false, 1) => telemetry::Verbosity::Verbose,
        (false, _) => telemetry::Verbosity::Calls,
    };
    let json = config.runner.telemetry.log_format == LogFormat::Json;
    telemetry::init(verbosity, json, is_scraped).map_err(|error| Failure::Config(error.to_string()))
}

/// Writes data to stdout. A reader that went away (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    // Nobody is left to tell when stdout is closed.
    drop(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    );
}

/// Writes a document to stdout as JSON.
fn print_json(document: &impl serde::Serialize) -> Result<u8, Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|error| {
        Failure::Failed(format!("the output could not be written as JSON: {error}"))
    })?;
    print(&format!("{text}\n"));
    Ok(0)
}

/// Warns on stderr.
#[expect(
    clippy::print_stderr,
    reason = "the person at the terminal must see it, whatever the log level"
)]
fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// Says on stderr what is wrong.
#[expect(
    clippy::print_stderr,
    reason = "the person at the terminal must see it, whatever the log level"
)]
fn complain(what: &str) {
    eprintln!("error: {what}");
}

impl From<crate::state::StateError> for Failure {
    fn from(error: crate::state::StateError) -> Self {
        crate::engine::JobError::from(error).into()
    }
}
