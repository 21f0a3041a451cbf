//! `runner policy diff`: what a policy, or a version of all policies of a profile, grants more or less than another one, in words.

mod versions;

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use onboarding_core::policy::{
    PolicyError,
    compare::{Change, Comparison, Grants, Place, StatementComparison, Verdict, compare},
};
use serde::Serialize;
use serde_json::json;

use self::versions::Found;
use super::{Failure, Global, print, print_json};
use crate::{config::nearest, report::Output};

/// A policy document as it was found.
pub(super) struct Document {
    path: PathBuf,
    pub(super) text: String,
}

pub(super) async fn diff(
    global: &Global,
    before: &str,
    after: &str,
    profile: Option<&str>,
) -> Result<u8, Failure> {
    let is_policy =
        |name: &str| profile.is_none() && Document::path(&global.config, name).is_some();
    if !is_policy(before) && !is_policy(after) {
        match versions::pair(global, before, after, profile).await? {
            Found::Both(before, after) => return versions::diff(global, &before, &after),
            Found::Not(Some(why)) => return Err(why),
            // Policies that are not there either.
            Found::Not(None) => {}
        }
    } else if let Some(version) = [before, after].into_iter().find(|name| !is_policy(name))
        && versions::is_known(global, version).await
    {
        return Err(Failure::Config(format!(
            "{version} is a version of all policies of a profile, and the other one is a single policy; compare two versions (`files` is \
             what the files say), or two policies"
        )));
    }
    let before = Document::find(&global.config, before)?;
    let after = Document::find(&global.config, after)?;
    let comparison = compare(&before.grants()?, &after.grants()?);
    if global.output == Output::Json {
        let names = [&before, &after].map(|one| one.path.display().to_string());
        print_json(&Report::new(names, &comparison))?;
    } else {
        print(&words(&comparison));
    }
    Ok(if comparison.verdict.is_real() { 3 } else { 0 })
}

impl Document {
    /// Where a file, or the policy with that name, is.
    fn path(config: &Path, name: &str) -> Option<PathBuf> {
        let policies = config.join("policies");
        let candidates = [
            PathBuf::from(name),
            policies.join(name),
            policies.join(format!("{name}.json")),
        ];
        candidates
            .into_iter()
            .find(|path| path.exists() && !path.is_dir())
    }

    /// Reads a file, or the policy with that name.
    pub(super) fn find(config: &Path, name: &str) -> Result<Self, Failure> {
        let path = Self::path(config, name);
        let path = path.ok_or_else(|| unknown(name, &config.join("policies")))?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => {
                let advice = match error.kind() {
                    io::ErrorKind::InvalidData => "policies are JSON in UTF-8",
                    _ => "check the file and its permissions",
                };
                Err(Failure::Config(format!(
                    "could not read the policy {}: {error}; {advice}",
                    path.display()
                )))
            }
        }
    }

    pub(super) fn grants(&self) -> Result<Grants, Failure> {
        Grants::parse(&self.text).map_err(|error| {
            let path = self.path.display();
            Failure::Config(match error {
                PolicyError::Json {
                    line,
                    column,
                    source,
                } => {
                    format!("{path}:{line}:{column}: the policy is not well-formed JSON: {source}")
                }
                other => format!("{path}: {other}"),
            })
        })
    }
}

/// That there is no such policy, and which there are.
fn unknown(name: &str, policies: &Path) -> Failure {
    let mut names: Vec<String> = fs::read_dir(policies)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    let there = match (
        nearest(name, names.iter().map(String::as_str)),
        names.as_slice(),
    ) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, []) => format!("{} has no policies either", policies.display()),
        (None, names) => format!("{} has {}", policies.display(), names.join(", ")),
    };
    Failure::Config(format!("there is no file and no policy {name}; {there}"))
}

/// The document on stdout.
#[derive(Serialize)]
struct Report<'a> {
    before: String,
    after: String,
    verdict: Verdict,
    undecided: bool,
    summary: serde_json::Value,
    statements: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    before: Option<&'a Place>,
    after: Option<&'a Place>,
    verdict: Verdict,
    changes: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    text: String,
    widens: bool,
    #[serde(flatten)]
    change: &'a Change,
}

impl<'a> Report<'a> {
    fn new([before, after]: [String; 2], comparison: &'a Comparison) -> Self {
        let count = |verdict| count(comparison, verdict);
        Self {
            before,
            after,
            verdict: comparison.verdict,
            undecided: comparison.undecided,
            summary: json!({
                "statements": comparison.statements.len(),
                "widened": count(Verdict::Widened),
                "narrowed": count(Verdict::Narrowed),
                "changed": count(Verdict::Changed),
                "cosmetic": count(Verdict::Cosmetic),
                "equal": count(Verdict::Equal),
            }),
            statements: comparison.statements.iter().map(Row::new).collect(),
        }
    }
}

impl<'a> Row<'a> {
    fn new(statement: &'a StatementComparison) -> Self {
        let line = |change: &'a Change| Line {
            text: change.to_string(),
            widens: change.widens(),
            change,
        };
        Self {
            before: statement.before.as_ref(),
            after: statement.after.as_ref(),
            verdict: statement.verdict,
            changes: statement.changes.iter().map(line).collect(),
        }
    }
}

fn count(comparison: &Comparison, verdict: Verdict) -> usize {
    let statements = comparison.statements.iter();
    statements
        .filter(|statement| statement.verdict == verdict)
        .count()
}

/// The comparison for people: each statement that is not equal, with its lines, and the verdict last.
fn words(comparison: &Comparison) -> String {
    let mut text = String::new();
    for statement in &comparison.statements {
        if statement.verdict == Verdict::Equal {
            continue;
        }
        let _ = writeln!(text, "{:<8}  {}", statement.verdict, name(statement));
        for change in &statement.changes {
            let _ = writeln!(text, "  {change}");
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if comparison.undecided {
        text.push_str(
            "undecided: the wildcards or conditions are too intricate to compare; both sides are shown\n",
        );
    }
    let count = |verdict| count(comparison, verdict);
    let _ = writeln!(
        text,
        "{}: {} statements = {} widened + {} narrowed + {} changed + {} cosmetic + {} equal",
        comparison.verdict,
        comparison.statements.len(),
        count(Verdict::Widened),
        count(Verdict::Narrowed),
        count(Verdict::Changed),
        count(Verdict::Cosmetic),
        count(Verdict::Equal),
    );
    text
}

/// A statement's Sid and place, such as `OceanEks (statement 3)`, and where it was when that differs.
fn name(statement: &StatementComparison) -> String {
    let called = |place: &Place| match &place.sid {
        Some(sid) => format!("{} (statement {})", sid.escape_debug(), place.position),
        None => format!("statement {}", place.position),
    };
    match (&statement.before, &statement.after) {
        (Some(before), Some(after)) if before == after => called(after),
        (Some(before), Some(after)) => format!("{}, was {}", called(after), called(before)),
        (None, Some(after)) => format!("{}, new", called(after)),
        (Some(before), None) => format!("{}, gone", called(before)),
        (None, None) => String::new(),
    }
}
