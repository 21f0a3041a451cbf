//! `cargo xtask fuzz`: the fuzz targets, each for some seconds, from the seeds that are committed.
//!
//! What libFuzzer finds interesting is kept under `target/fuzz`; an input that makes a target panic ends the run, and its
//! path is printed. Without a sanitizer, which a stable toolchain does not have and our code, without unsafe, not need.

use std::fs;

use anyhow::Result;

use crate::{paths, process, tools};

const TARGETS: [&str; 1] = ["event"];
/// The longest input: beyond it, only the length is refused.
const LONGEST: &str = "-max_len=65536";

/// For how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(default_value_t = 60)]
    seconds: u64,
}

/// Runs every target.
pub(crate) fn run(options: &Options) -> Result<()> {
    let fuzz = paths::root().join("target/fuzz");
    for target in TARGETS {
        let found = fuzz.join("corpus").join(target);
        fs::create_dir_all(&found)?;
        let mut command = tools::fuzz()?;
        command
            .args(["run", "--sanitizer", "none", "--target-dir"])
            .arg(fuzz.join("build"))
            .arg(target)
            .arg(found)
            .arg(paths::root().join("fuzz/seeds").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(LONGEST);
        process::run(&mut command)?;
    }
    Ok(())
}
