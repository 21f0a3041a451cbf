//! What is wrong with the configuration, where, and what to do about it.

use std::{fmt, ops::Range, path::PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where; none when it is about a whole file or directory that the message names.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A place in a file or in a `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or the `--set` option as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub excerpt: String,
    /// How many characters of it are meant, from the column on.
    pub length: usize,
}

impl ConfigError {
    /// About something without a place.
    pub(super) fn without_place(message: String, help: &str) -> Self {
        Self {
            place: None,
            message,
            help: Some(help.to_owned()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Place {
            file,
            line,
            column,
            excerpt,
            length,
        }) = &self.place
        else {
            f.write_str(&self.message)?;
            return self
                .help
                .as_ref()
                .map_or(Ok(()), |help| write!(f, "\n  help: {help}"));
        };
        writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
        let gutter = " ".repeat(line.to_string().len());
        // Tabs stay tabs below the excerpt, so that the marks stand where they belong.
        let indent: String = excerpt
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "  {line} | {excerpt}")?;
        write!(f, "  {gutter} | {indent}{}", "^".repeat((*length).max(1)))?;
        self.help
            .as_ref()
            .map_or(Ok(()), |help| write!(f, "\n  {gutter} = help: {help}"))
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong, as far as it could be read; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// A `--set` that is not allowed or not understood: a usage error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It has no `=`, or its key is not a dotted path.
    #[error(
        "--set {text:?} is not key=value with a dotted key, such as --set enrollment.consumers=4"
    )]
    Malformed {
        /// As it was given.
        text: String,
    },
    /// Its first key is in no file.
    #[error("--set {text:?} names the unknown key {key:?}{hint}")]
    UnknownKey {
        /// As it was given.
        text: String,
        /// The first key.
        key: String,
        /// The nearest one, as the end of the sentence.
        hint: String,
    },
    /// It would change a guard rail.
    #[error("--set cannot change {key}: it is a guard rail; edit {file} and have it reviewed")]
    GuardRail {
        /// The guard rail.
        key: String,
        /// The file that it is in.
        file: PathBuf,
    },
}

impl From<SetError> for ConfigErrors {
    fn from(error: SetError) -> Self {
        ConfigError {
            place: None,
            message: error.to_string(),
            help: None,
        }
        .into()
    }
}

/// Something wrong at bytes of a source, before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Which bytes.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) help: Option<String>,
}
