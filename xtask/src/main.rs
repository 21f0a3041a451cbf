//! Development tasks, run as `cargo xtask <task>`. This file only dispatches; each task is a module of its own.

mod bench;
mod build;
mod ci;
mod demo;
mod dist;
mod fuzz;
mod generate;
mod http;
mod lint;
mod live_check;
mod paths;
mod postgres;
mod process;
mod sandbox;
mod soak;
mod test;
mod tools;
mod venv;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Development tasks of this workspace"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Enroll a simulated organization of 60 accounts with the real binary, and watch a new account join it.
    Demo,
    /// Build, set up and run every test.
    Test(test::Options),
    /// Formatting, clippy with warnings denied, licenses, bans and sources of dependencies.
    Lint,
    /// Measure the programs; prints JSON.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Write the generated reference pages, JSON Schemas and docs/fidelity.md.
    Gen(generate::Options),
    /// Build the static release binaries, `runner` and `bootstrap`, and check them.
    Dist,
    /// Fuzz what reads events, from the committed seeds.
    Fuzz(fuzz::Options),
    /// Faults that go on: daemons killed at random moments, databases that go away.
    Soak(soak::Options),
    /// Prove in a real AWS Organization, with two accounts, what no simulator can: docs/live-check.md.
    LiveCheck(live_check::Options),
    /// Everything that has to pass before a change lands: lint, gen --check, bench smoke, test.
    Ci,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test(options) => test::run(&options),
        Task::Lint => lint::run(),
        Task::Bench(bench) => bench::run(&bench),
        Task::Gen(options) => generate::run(&options),
        Task::Dist => dist::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::LiveCheck(options) => live_check::run(&options),
        Task::Ci => ci::run(),
    }
}
