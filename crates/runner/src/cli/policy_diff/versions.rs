//! Comparing versions of a profile's policies: those that the state has noted, the one that accounts have, and what the files say.

use onboarding_core::{
    policy::compare::{Comparison, Grants, Verdict, compare},
    template::{PolicyPurpose, PolicyVersion},
};
use serde::Serialize;

use super::{Report, words};
use crate::{
    cli::{Failure, Global, load, print, print_json},
    config::Loaded,
    report::Output,
    state::{State, VersionRow},
};

/// The version that accounts have, as an argument.
const DEPLOYED: &str = "deployed";

/// What the files say, as an argument.
const FILES: &str = "files";

/// The fewest digits of a digest that name a version.
const DIGITS: usize = 6;

/// A version under the name that it was asked for by.
pub(super) struct Version {
    asked: String,
    version: PolicyVersion,
}

/// Two versions of one profile.
pub(super) enum Found {
    Both(Version, Version),
    /// Not both are versions, and why, where they can be nothing else.
    Not(Option<Failure>),
}

/// Finds two versions of a profile.
pub(super) async fn pair(
    global: &Global,
    before: &str,
    after: &str,
    profile: Option<&str>,
) -> Result<Found, Failure> {
    let must_be = profile.is_some() || [before, after].iter().any(|name| is_word(name));
    let config = match load(global) {
        Ok(config) => config,
        Err(error) => return Ok(Found::Not(must_be.then_some(error))),
    };
    let profiles = config.runner.profiles.iter().map(|one| one.name.clone());
    let profiles: Vec<String> = match profile {
        Some(profile) => vec![profile.to_owned()],
        None => profiles.collect(),
    };
    let state = match State::open(&config.runner.state.url).await {
        Ok(state) => state,
        Err(error) => return Ok(Found::Not(must_be.then(|| error.into()))),
    };
    let mut found = Vec::new();
    let mut known = Vec::new();
    for profile in &profiles {
        let rows = state.policy_versions(profile).await?;
        known.extend(rows.iter().map(|row| row.name.clone()));
        let both = (
            version(&config, profile, &rows, before)?,
            version(&config, profile, &rows, after)?,
        );
        if let (Some(before), Some(after)) = both {
            found.push((profile, before, after));
        }
    }
    if found.len() > 1 {
        let profiles: Vec<&str> = found.iter().map(|(profile, ..)| profile.as_str()).collect();
        return Err(Failure::Config(format!(
            "the profiles {} have both versions; say which one is meant with --profile",
            profiles.join(", ")
        )));
    }
    if let Some((_, before, after)) = found.pop() {
        return Ok(Found::Both(before, after));
    }
    let is_one = |name: &str| {
        is_word(name)
            || known
                .iter()
                .any(|version| version.eq_ignore_ascii_case(name))
    };
    if !must_be && !is_one(before) && !is_one(after) {
        return Ok(Found::Not(None));
    }
    let known = match &known[..] {
        [] => format!(
            "of them, only {FILES} is known: what accounts have is noted by the first run after a job of the kind policy-rollout is \
             for the profile"
        ),
        names => format!("known are {DEPLOYED}, {FILES}, {}", names.join(", ")),
    };
    Ok(Found::Not(Some(Failure::Config(format!(
        "not both {before} and {after} are versions of the policies of one profile ({}); {known}",
        profiles.join(", "),
    )))))
}

/// Whether some profile has a version of this name, or the name stands for one.
pub(super) async fn is_known(global: &Global, name: &str) -> bool {
    if is_word(name) {
        return true;
    }
    let Ok(config) = load(global) else {
        return false;
    };
    let Ok(state) = State::open(&config.runner.state.url).await else {
        return false;
    };
    for profile in &config.runner.profiles {
        let rows = state.policy_versions(&profile.name).await;
        if rows.is_ok_and(|rows| named(&rows, name).is_some()) {
            return true;
        }
    }
    false
}

fn is_word(name: &str) -> bool {
    matches!(name, DEPLOYED | FILES)
}

/// The version of a profile that an argument names; none when it has no such version.
fn version(
    config: &Loaded,
    profile: &str,
    rows: &[VersionRow],
    asked: &str,
) -> Result<Option<Version>, Failure> {
    let good = rows.iter().find(|row| row.good);
    let version = match (asked, named(rows, asked)) {
        // A version that somebody called so is that one.
        (_, Some(row)) => Some(row.version()?),
        (DEPLOYED, None) => good.map(VersionRow::version).transpose()?,
        (FILES, None) => Some(of_files(config, profile)?),
        _ => None,
    };
    Ok(version.map(|version| Version {
        asked: asked.to_owned(),
        version,
    }))
}

/// The version of this name, or with a digest that begins so.
fn named<'a>(rows: &'a [VersionRow], asked: &str) -> Option<&'a VersionRow> {
    let by_name = rows.iter().find(|row| row.name == asked);
    by_name.or_else(|| {
        let asked = asked.to_ascii_lowercase();
        let is_long = asked.len() >= DIGITS;
        let mut rows = rows.iter();
        rows.find(|row| is_long && row.digest.starts_with(&asked))
    })
}

fn of_files(config: &Loaded, profile: &str) -> Result<PolicyVersion, Failure> {
    let policies = config
        .profile_policies(profile)
        .map_err(|errors| Failure::Config(errors.to_string()))?;
    PolicyVersion::new(None, &policies, config.runner.partition()).map_err(|error| {
        Failure::Config(format!("the policies of {profile} cannot be used: {error}"))
    })
}

/// The document on stdout.
#[derive(Serialize)]
struct Versions<'a> {
    before: Named<'a>,
    after: Named<'a>,
    verdict: Verdict,
    policies: Vec<Policy<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    asked: &'a str,
    name: &'a str,
    digest: String,
}

#[derive(Serialize)]
struct Policy<'a> {
    purpose: String,
    #[serde(flatten)]
    report: Report<'a>,
}

impl Version {
    fn named(&self) -> Named<'_> {
        Named {
            asked: &self.asked,
            name: &self.version.name,
            digest: self.version.digest(),
        }
    }

    /// What it grants for a purpose, over all managed policies together.
    fn grants(&self, purpose: &PolicyPurpose) -> Result<Grants, Failure> {
        let Some(document) = self.version.document(purpose) else {
            return Ok(Grants::nothing());
        };
        Grants::from_value(document.to_value()).map_err(|error| {
            Failure::Failed(format!("version {}, {purpose}: {error}", self.version.name))
        })
    }
}

/// Compares two versions, policy by policy.
pub(super) fn diff(global: &Global, before: &Version, after: &Version) -> Result<u8, Failure> {
    let purposes = before.version.purposes().chain(after.version.purposes());
    let mut purposes: Vec<&PolicyPurpose> = purposes.collect();
    purposes.sort_unstable();
    purposes.dedup();
    let mut compared: Vec<(&PolicyPurpose, Comparison)> = Vec::new();
    for purpose in purposes {
        let comparison = compare(&before.grants(purpose)?, &after.grants(purpose)?);
        compared.push((purpose, comparison));
    }
    let verdict = together(compared.iter().map(|(_, comparison)| comparison.verdict));
    if global.output == Output::Json {
        print_json(&Versions {
            before: before.named(),
            after: after.named(),
            verdict,
            policies: compared
                .iter()
                .map(|(purpose, comparison)| Policy {
                    purpose: purpose.key(),
                    report: Report::new(
                        [&before.asked, &after.asked]
                            .map(|asked| format!("{asked}/{}", purpose.key())),
                        comparison,
                    ),
                })
                .collect(),
        })?;
    } else {
        let called = |one: &Version| match &one.version.name {
            name if *name == one.asked => name.clone(),
            name => format!("{} ({name})", one.asked),
        };
        let mut text = format!("{} -> {}: {verdict}\n", called(before), called(after));
        for (purpose, comparison) in &compared {
            text.push_str(&format!("\n{purpose}\n{}", words(comparison)));
        }
        print(&text);
    }
    Ok(if verdict.is_real() { 3 } else { 0 })
}

/// What became of all policies together.
fn together(verdicts: impl Iterator<Item = Verdict> + Clone) -> Verdict {
    let has = |wanted| verdicts.clone().any(|verdict| verdict == wanted);
    match (has(Verdict::Widened), has(Verdict::Narrowed)) {
        _ if has(Verdict::Changed) => Verdict::Changed,
        (true, true) => Verdict::Changed,
        (true, false) => Verdict::Widened,
        (false, true) => Verdict::Narrowed,
        (false, false) if has(Verdict::Cosmetic) => Verdict::Cosmetic,
        (false, false) => Verdict::Equal,
    }
}
