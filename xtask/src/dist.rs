//! `cargo xtask dist`: the static release binaries, `runner` and `bootstrap` under `target/dist`, checked before anyone
//! ships them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::cargo;
use crate::{paths, process};

/// Static; its relocations are packed, which takes more than a megabyte off and needs glibc 2.36 to link with; functions of the same
/// code are there once, which the toolchain's linker does.
const FLAGS: &str =
    "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs,--icf=all";
const TARGET: &str = "x86_64-unknown-linux-gnu";
const BINARIES: [&str; 2] = ["runner", "bootstrap"];
const SIZE_LIMIT_BYTES: u64 = 30 * 1024 * 1024;

/// Builds, copies and checks the binaries.
pub(crate) fn run() -> Result<()> {
    // With --target the flags apply to the programs alone; without it build scripts and proc macros would get them too,
    // and a proc macro cannot be static.
    let mut build = cargo();
    build.args(["build", "--locked", "--workspace", "--release"]);
    for binary in BINARIES {
        build.args(["--bin", binary]);
    }
    process::run(build.args(["--target", TARGET]).env("RUSTFLAGS", FLAGS))?;
    let dist = paths::root().join("target/dist");
    fs::create_dir_all(&dist)?;
    for name in BINARIES {
        let built = paths::build_directory()
            .join(TARGET)
            .join("release")
            .join(name);
        let binary = dist.join(name);
        fs::copy(&built, &binary).with_context(|| format!("could not copy {}", built.display()))?;
        let size = checked(&binary)?;
        println!(
            "{}: {:.1} MiB, static",
            binary.display(),
            size as f64 / 1_048_576.0
        );
    }
    let version = process::capture(Command::new(dist.join("runner")).arg("--version"))?;
    println!("{}", version.trim());
    starts(&dist.join("bootstrap"))
}

/// The size of a binary that is small enough and static.
fn checked(binary: &Path) -> Result<u64> {
    let size = fs::metadata(binary)?.len();
    ensure!(
        size < SIZE_LIMIT_BYTES,
        "{} has {size} bytes, more than {SIZE_LIMIT_BYTES}",
        binary.display()
    );
    // ldd exits with 1 for a program that is not dynamic, so its words count, not its exit code.
    let ldd = Command::new("ldd")
        .arg(binary)
        .output()
        .context("could not start ldd")?;
    let words = String::from_utf8_lossy(&ldd.stdout) + String::from_utf8_lossy(&ldd.stderr);
    ensure!(
        words.contains("statically linked") || words.contains("not a dynamic executable"),
        "{} is not static; ldd says:\n{words}",
        binary.display()
    );
    Ok(size)
}

/// Without a configuration the function says what to set.
fn starts(bootstrap: &Path) -> Result<()> {
    let output = Command::new(bootstrap)
        .env_clear()
        .output()
        .with_context(|| format!("could not start {}", bootstrap.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && words.contains("SPOTINST_TOKEN"),
        "{} ended with {}: {words}",
        bootstrap.display(),
        output.status
    );
    Ok(())
}
