//! `cargo xtask ci`: everything that has to pass before a change lands.

use anyhow::Result;

use crate::{bench, generate, lint, test};

/// Runs it all. The tests come last, so that cargo-nextest's summary is the last thing printed.
pub(crate) fn run() -> Result<()> {
    lint::run()?;
    generate::run(&generate::Options { check: true })?;
    for bench in bench::Bench::smoke() {
        bench::run(&bench)?;
    }
    test::run(&test::Options::default())
}
