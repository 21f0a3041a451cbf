//! `cargo xtask dist`: the static release binary, `target/dist/runner`, checked before anyone ships it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::cargo;
use crate::{paths, process};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const SIZE_LIMIT_BYTES: u64 = 30 * 1024 * 1024;

/// Builds, copies and checks the binary.
pub(crate) fn run() -> Result<()> {
    // With --target the flags apply to the program alone; without it build scripts and proc macros would get them too,
    // and a proc macro cannot be static.
    process::run(
        cargo()
            .args([
                "build",
                "--locked",
                "--workspace",
                "--bin",
                "runner",
                "--release",
                "--target",
                TARGET,
            ])
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let built = paths::build_directory().join(TARGET).join("release/runner");
    let dist = paths::root().join("target/dist");
    let runner = dist.join("runner");
    fs::create_dir_all(&dist)?;
    fs::copy(&built, &runner).with_context(|| format!("could not copy {}", built.display()))?;

    let size = fs::metadata(&runner)?.len();
    ensure!(
        size < SIZE_LIMIT_BYTES,
        "{} has {size} bytes, more than {SIZE_LIMIT_BYTES}",
        runner.display()
    );
    // ldd exits with 1 for a program that is not dynamic, so its words count, not its exit code.
    let ldd = Command::new("ldd")
        .arg(&runner)
        .output()
        .context("could not start ldd")?;
    let words = String::from_utf8_lossy(&ldd.stdout) + String::from_utf8_lossy(&ldd.stderr);
    ensure!(
        words.contains("statically linked") || words.contains("not a dynamic executable"),
        "{} is not static; ldd says:\n{words}",
        runner.display()
    );
    println!(
        "{}",
        process::capture(Command::new(&runner).arg("--version"))?.trim()
    );
    println!(
        "{}: {:.1} MiB, static",
        runner.display(),
        size as f64 / 1_048_576.0
    );
    Ok(())
}
