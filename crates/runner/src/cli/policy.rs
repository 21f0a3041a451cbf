//! `runner policy`: IAM policy documents, compared by what they grant; their versions and rollouts are in a module of their own.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use onboarding_core::policy::{
    PolicyError,
    compare::{Change, Comparison, Grants, Place, StatementComparison, Verdict, compare},
};
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, policy_versions, print, print_json};
use crate::{config::nearest, report::Output};

/// IAM policy documents.
#[derive(Debug, clap::Subcommand)]
pub enum Policy {
    /// Say what a policy grants more or less than another one. Needs no credentials.
    ///
    /// Wildcards, conditions and denials are read as IAM reads them; order, letter case, duplicates and Sids make no
    /// difference. Exit code 0 when both grant the same, 3 when they do not.
    Diff {
        /// The earlier policy: a JSON file, or the name of one in policies/ of the configuration directory.
        #[arg(value_name = "A")]
        before: String,
        /// The later policy.
        #[arg(value_name = "B")]
        after: String,
    },
    /// List the versions of a profile's policies that were deployed or rolled out, and which is good. Needs no credentials.
    Versions {
        /// The profile.
        profile: String,
    },
    /// Show the rollouts of a profile's policies: their phase, their waves, and why one was halted. Needs no credentials.
    Rollouts {
        /// The profile.
        profile: String,
    },
    /// Show which version of the policies each account has.
    Ledger {
        /// Only accounts of this profile.
        profile: Option<String>,
    },
    /// Turn the rollout of a profile back: the next run of its job plans the way back to the last good version.
    ///
    /// Nothing is changed in AWS by this command itself: `runner plan` shows the way back, and `runner exec` goes it.
    Rollback(policy_versions::Decision),
    /// Let a halted rollout of a profile go on: what failed is tried again, and the gates are asked again. Without one, let a
    /// version that was rolled back be tried again.
    Resume(policy_versions::Decision),
    /// Compare two policies again and again and print what that took, for `cargo xtask bench policy`.
    #[command(hide = true)]
    Bench {
        /// The earlier policy.
        before: String,
        /// The later policy.
        after: String,
        /// How often.
        #[arg(long, default_value_t = 1_000)]
        rounds: usize,
    },
}

impl Policy {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        match self {
            Self::Versions { profile } => policy_versions::versions(global, &profile).await,
            Self::Rollouts { profile } => policy_versions::rollouts(global, &profile).await,
            Self::Ledger { profile } => policy_versions::ledger(global, profile.as_deref()).await,
            Self::Rollback(decision) => decision.roll_back(global).await,
            Self::Resume(decision) => decision.resume(global).await,
            Self::Diff { before, after } => diff(global, &before, &after),
            Self::Bench {
                before,
                after,
                rounds,
            } => bench(global, &before, &after, rounds),
        }
    }
}

/// A policy document as it was found.
struct Document {
    path: PathBuf,
    text: String,
}

fn diff(global: &Global, before: &str, after: &str) -> Result<u8, Failure> {
    let before = Document::find(&global.config, before)?;
    let after = Document::find(&global.config, after)?;
    let comparison = compare(&before.grants()?, &after.grants()?);
    if global.output == Output::Json {
        print_json(&Report::new(&before, &after, &comparison))?;
    } else {
        print(&words(&comparison));
    }
    Ok(if comparison.verdict.is_real() { 3 } else { 0 })
}

impl Document {
    /// Reads a file, or the policy with that name.
    fn find(config: &Path, name: &str) -> Result<Self, Failure> {
        let policies = config.join("policies");
        let given = PathBuf::from(name);
        let candidates = [
            given.clone(),
            policies.join(name),
            policies.join(format!("{name}.json")),
        ];
        let path = candidates
            .into_iter()
            .find(|path| path.exists() && !path.is_dir())
            .ok_or_else(|| unknown(name, &policies))?;
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

    fn grants(&self) -> Result<Grants, Failure> {
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
    fn new(before: &Document, after: &Document, comparison: &'a Comparison) -> Self {
        let count = |verdict| count(comparison, verdict);
        Self {
            before: before.path.display().to_string(),
            after: after.path.display().to_string(),
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

/// What comparing took.
#[derive(Serialize)]
struct Figures {
    verdict: Verdict,
    /// White space not counted, as IAM counts.
    characters: [usize; 2],
    rounds: usize,
    median_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// Reads and compares both policies, `rounds` times.
fn bench(global: &Global, before: &str, after: &str, rounds: usize) -> Result<u8, Failure> {
    let before = Document::find(&global.config, before)?;
    let after = Document::find(&global.config, after)?;
    let size = |document: &Document| {
        let characters = document.text.chars();
        characters.filter(|c| !c.is_whitespace()).count()
    };
    let mut verdict = Verdict::Equal;
    let mut took = Vec::new();
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        verdict = compare(&before.grants()?, &after.grants()?).verdict;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| micros(took[(took.len() - 1) * share / 100]);
    print_json(&Figures {
        verdict,
        characters: [size(&before), size(&after)],
        rounds: took.len(),
        median_us: at(50),
        p99_us: at(99),
        max_us: at(100),
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
