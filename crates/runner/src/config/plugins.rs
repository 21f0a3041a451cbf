//! `[plugins]`: where executables that are job kinds of their own are looked for, and what bounds them.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    text::Text,
};

/// What the name of a plugin begins with; its kind follows.
const PREFIX: &str = "runner-job-";

/// Plugins: executables that are job kinds of their own (`docs/plugins.md`). `--set` cannot change any of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Directories with executables `runner-job-<kind>`, the first that has one counts. A relative path is looked up from the configuration
    /// directory. Without any, there are no kinds but the built-in ones; `PATH` is never searched.
    pub path: Vec<PathBuf>,
    /// How long starting a plugin and its description of itself may take.
    pub start_timeout: Text<HumanDuration>,
    /// How long a plugin may take to plan, and for one step.
    pub call_timeout: Text<HumanDuration>,
    /// How long a plugin that is told to cancel, or whose work is over, may take to end before it is killed.
    pub cancel_grace: Text<HumanDuration>,
    /// Most steps that a plugin may plan, and most findings that it may tell with them.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_steps: u32,
    /// Most bytes of one line that a plugin writes.
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_line_bytes: u32,
    /// Most bytes that a plugin writes for one request.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_answer_bytes: u32,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            start_timeout: duration::seconds(10),
            call_timeout: duration::seconds(10 * 60),
            cancel_grace: duration::seconds(10),
            max_steps: 10_000,
            max_line_bytes: 1 << 20,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// Why a kind has no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlugin {
    /// No directory has it.
    #[error("{0}")]
    Missing(String),
    /// One has something of its name that is not run.
    #[error("{program} {why}", program = .program.display())]
    Unusable {
        program: PathBuf,
        why: &'static str,
        help: &'static str,
    },
}

impl PluginsConfig {
    fn directories<'a>(&'a self, config: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        let in_config = |directory: &PathBuf| {
            let directory = config.join(directory);
            // A path without a slash would be searched for by the operating system.
            std::path::absolute(&directory).unwrap_or(directory)
        };
        self.path.iter().map(in_config)
    }

    /// The plugin that is this kind, for the configuration in a directory.
    pub(super) fn find(&self, config: &Path, kind: &str) -> Result<PathBuf, NoPlugin> {
        if !onboarding_core::external::is_code(kind) {
            return Err(NoPlugin::Missing(
                "a kind is named in lower-case letters, digits and hyphens".to_owned(),
            ));
        }
        let name = format!("{PREFIX}{kind}");
        for directory in self.directories(config) {
            let program = directory.join(&name);
            match fs::metadata(&program) {
                Ok(found) => return usable(program, &directory, &found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    return Err(NoPlugin::Unusable {
                        program,
                        why: "cannot be looked at",
                        help: "let the user that runs the runner read its directory",
                    });
                }
            }
        }
        let looked: Vec<String> = self
            .directories(config)
            .map(|directory| directory.display().to_string())
            .collect();
        Err(NoPlugin::Missing(match looked.as_slice() {
            [] => format!(
                "no executable {name} was looked for, since plugins.path in runner.toml names no directory"
            ),
            _ => format!("there is no executable {name} in {}", looked.join(", ")),
        }))
    }

    /// The kinds that plugins are there for, with the plugins, sorted.
    pub(crate) fn kinds(&self, config: &Path) -> Vec<(String, PathBuf)> {
        let mut kinds: Vec<(String, PathBuf)> = Vec::new();
        for directory in self.directories(config) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let Some(kind) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                    continue;
                };
                let is_known = kinds.iter().any(|(known, _)| known == kind);
                if let Ok(program) = self.find(config, kind)
                    && !is_known
                {
                    kinds.push((kind.to_owned(), program));
                }
            }
        }
        kinds.sort();
        kinds
    }
}

/// Whether a file is one to run: what everybody may write, anybody may have written.
fn usable(program: PathBuf, directory: &Path, found: &fs::Metadata) -> Result<PathBuf, NoPlugin> {
    const ANYBODY_WRITES: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let unusable = |program, why, help| Err(NoPlugin::Unusable { program, why, help });
    if !found.is_file() {
        return unusable(program, "is not a file", "put the executable there");
    }
    let mode = found.permissions().mode();
    if mode & 0o111 == 0 {
        return unusable(program, "is not executable", "chmod +x makes it so");
    }
    let of_directory = fs::metadata(directory).map_or(0, |found| found.permissions().mode());
    let is_open = of_directory & ANYBODY_WRITES != 0 && of_directory & STICKY == 0;
    if mode & ANYBODY_WRITES != 0 || is_open {
        return unusable(
            program,
            "can be replaced by everybody, as its rights or those of its directory are",
            "chmod o-w the file and its directory",
        );
    }
    Ok(program)
}
