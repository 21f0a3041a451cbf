//! `cargo xtask gen`: the files that are generated from the code and committed, so that a reader of the repository has
//! them. `--check` compares instead of writing.
//!
//! `runner gen DIR` writes the reference pages to `DIR/docs/reference/` and the JSON Schemas to `DIR/schemas/`;
//! `docs/fidelity.md` is made here, from `tests/operations.toml`.

mod fidelity;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::build::{self, Profile};
use crate::{paths, process};

/// Folders whose whole content is generated: a file there that the generator does not write is stale.
const FOLDERS: [&str; 2] = ["docs/reference", "schemas"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with what is committed, write nothing, and fail when they differ.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Path below the root of the checkout → content.
type Files = BTreeMap<PathBuf, String>;

/// Generates and then writes or compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = paths::root();
    let wanted = generate(&root)?;
    let mut present = Files::new();
    for folder in FOLDERS {
        read(&root, &root.join(folder), &mut present)?;
    }
    let stale: Vec<_> = present
        .keys()
        .filter(|path| !wanted.contains_key(*path))
        .collect();
    let changed: Vec<_> = wanted
        .iter()
        .filter(|(path, content)| {
            fs::read_to_string(root.join(path)).ok().as_ref() != Some(*content)
        })
        .collect();

    if options.check {
        let differing: Vec<_> = stale
            .into_iter()
            .chain(changed.into_iter().map(|(path, _)| path))
            .collect();
        ensure!(
            differing.is_empty(),
            "generated files are out of date, run `cargo xtask gen`: {differing:?}"
        );
        return Ok(());
    }
    for path in stale {
        eprintln!("removed {}", path.display());
        fs::remove_file(root.join(path))?;
    }
    for (path, content) in changed {
        eprintln!("wrote {}", path.display());
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

fn generate(root: &Path) -> Result<Files> {
    let runner = build::runner(Profile::Dev)?;
    let directory = tempfile::tempdir()?;
    process::run(Command::new(runner).arg("gen").arg(directory.path()))?;
    let mut files = Files::new();
    read(directory.path(), directory.path(), &mut files)?;
    if let Some(path) = files
        .keys()
        .find(|path| !FOLDERS.iter().any(|folder| path.starts_with(folder)))
    {
        bail!(
            "`runner gen` wrote {}, which is in none of {FOLDERS:?}",
            path.display()
        );
    }
    for folder in FOLDERS {
        ensure!(
            files.keys().any(|path| path.starts_with(folder)),
            "`runner gen` wrote nothing to {folder}"
        );
    }
    files.insert(
        "docs/fidelity.md".into(),
        fidelity::page(&root.join("tests/operations.toml"))?,
    );
    Ok(files)
}

/// Reads every file below `folder` into `files`, by its path below `base`; a missing folder has no files.
fn read(base: &Path, folder: &Path, files: &mut Files) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(base, &path, files)?;
        } else {
            let content = fs::read_to_string(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            files.insert(path.strip_prefix(base)?.to_path_buf(), content);
        }
    }
    Ok(())
}
