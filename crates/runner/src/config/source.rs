//! The text of one file and of the `--set` options that change it, as one run of bytes, so that one number says where
//! something stands.

use std::ops::Range;

use super::error::{ConfigError, ConfigErrors, Place, Problem};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// A file's text, and the `--set` options behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// How the file is called in messages.
    file: String,
    text: String,
    overrides: Vec<Override>,
}

/// A `--set` option that has been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Override {
    /// As it was given.
    option: String,
    /// As TOML, after as much white space as there is text before it, so that its spans tell it from the rest.
    padded: String,
    /// How much white space that is.
    start: usize,
}

/// A parsed document.
pub(super) type Document<'s> = Spanned<DeTable<'s>>;

impl Source {
    /// The text of a file.
    pub(super) fn new(file: String, text: String) -> Self {
        Self {
            file,
            text,
            overrides: Vec::new(),
        }
    }

    /// Puts a `--set` option behind it; `toml` is the same as TOML.
    pub(super) fn push(&mut self, option: &str, toml: &str) {
        let start = self
            .overrides
            .last()
            .map_or(self.text.len(), |last| last.padded.len())
            + 1;
        self.overrides.push(Override {
            option: option.to_owned(),
            padded: format!("{}{toml}", "\n".repeat(start)),
            start,
        });
    }

    /// Parses all of it: the file, changed by the options in their order.
    pub(super) fn parse(&self) -> Result<Document<'_>, ConfigErrors> {
        let mut document = self.parse_one(&self.text)?;
        for change in &self.overrides {
            merge(
                document.get_mut(),
                self.parse_one(&change.padded)?.into_inner(),
            );
        }
        Ok(document)
    }

    fn parse_one<'s>(&self, text: &'s str) -> Result<Document<'s>, ConfigErrors> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(document);
        }
        let problems = errors.iter().map(|error| Problem {
            span: error.span().unwrap_or_default(),
            message: format!(
                "not valid TOML: {}",
                error.message().trim_end().replace('\n', "; ")
            ),
            help: None,
        });
        Err(ConfigErrors(
            problems.map(|problem| self.error(problem)).collect(),
        ))
    }

    /// Gives a problem its place.
    pub(super) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError {
            place: Some(self.place(problem.span)),
            message: problem.message,
            help: problem.help,
        }
    }

    /// Gives problems their places, in the order of the text.
    pub(super) fn errors(&self, mut problems: Vec<Problem>) -> ConfigErrors {
        problems.sort_by_key(|problem| problem.span.start);
        ConfigErrors(
            problems
                .into_iter()
                .map(|problem| self.error(problem))
                .collect(),
        )
    }

    fn place(&self, span: Range<usize>) -> Place {
        let change = self
            .overrides
            .iter()
            .rev()
            .find(|change| change.start <= span.start);
        let (file, text, skipped) = match change {
            Some(change) => (
                format!("--set {}", without_secret(&change.option)),
                &change.padded,
                change.start,
            ),
            None => (self.file.clone(), &self.text, 0),
        };
        let mut at = span.start.min(text.len());
        // A file that ends too early is wrong at its last line, not at the empty one behind it.
        if at == text.len() {
            at = text.trim_end().len().max(skipped);
        }
        let before = text.get(skipped..at).unwrap_or_default();
        let line_start = before
            .rfind('\n')
            .map_or(skipped, |newline| skipped + newline + 1);
        let excerpt = text
            .get(line_start..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let end = span.end.min(line_start + excerpt.len());
        Place {
            file,
            line: before.matches('\n').count() + 1,
            column: text.get(line_start..at).unwrap_or_default().chars().count() + 1,
            excerpt: without_secret(excerpt.trim_end()),
            length: text.get(at..end).unwrap_or_default().chars().count(),
        }
    }
}

/// Keys whose values may be secrets.
const SECRETS: [&str; 4] = ["token", "secret", "slack", "webhook"];

/// A line without the text that is given as a secret, which somebody may have pasted where only its source belongs.
fn without_secret(line: &str) -> String {
    let names = SECRETS.iter().flat_map(|name| line.match_indices(name));
    let given = names.filter_map(|(at, name)| {
        let value = line
            .get(at + name.len()..)?
            .trim_start()
            .strip_prefix('=')?
            .trim_start();
        (!value.is_empty() && !value.starts_with('{')).then_some(line.len() - value.len())
    });
    match given.min() {
        Some(start) => format!("{}[redacted]", line.get(..start).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// Puts the entries of `change` into `table`, over those of the same path.
fn merge<'s>(table: &mut DeTable<'s>, change: DeTable<'s>) {
    for (key, value) in change {
        let name = key.get_ref().to_string();
        match (
            table.get_mut(name.as_str()).map(Spanned::get_mut),
            value.get_ref(),
        ) {
            (Some(DeValue::Table(below)), DeValue::Table(_)) => {
                if let DeValue::Table(value) = value.into_inner() {
                    merge(below, value);
                }
            }
            _ => {
                table.remove(name.as_str());
                table.insert(key, value);
            }
        }
    }
}

/// Where the value at this path is written; of the deepest part of the path that is written at all.
pub(super) fn locate(document: &Document<'_>, path: &[&str]) -> Range<usize> {
    let Some((first, rest)) = path.split_first() else {
        return 0..0;
    };
    let Some((key, mut value)) = document.get_ref().get_key_value(*first) else {
        return 0..0;
    };
    let mut span = span_of(Some(key), value);
    for step in rest {
        let next = match value.get_ref() {
            DeValue::Table(table) => table
                .get_key_value(*step)
                .map(|(key, value)| (Some(key), value)),
            DeValue::Array(items) => step
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index))
                .map(|value| (None, value)),
            _ => None,
        };
        let Some((key, below)) = next else { break };
        value = below;
        span = span_of(key, value);
    }
    span
}

/// The bytes that a reader looks for: the value, or the name of a section or list.
pub(super) fn span_of(
    key: Option<&Spanned<DeString<'_>>>,
    value: &Spanned<DeValue<'_>>,
) -> Range<usize> {
    match (key, value.get_ref()) {
        (Some(key), DeValue::Table(_) | DeValue::Array(_)) => key.span(),
        _ => value.span(),
    }
}
