//! `--set key=value`: which file an option changes, and that none changes a guard rail.

use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{error::SetError, job::JobKind, nearest::nearest, schema};

/// Keys that `--set` cannot change, nor anything below them: what limits or protects is changed in a file, where a
/// change is seen and reviewed. Of a job's `params`, nothing can be changed that [`free_params`] does not name.
pub const GUARD_RAILS: [&str; 16] = [
    "removal",
    "remediation",
    "protected_accounts",
    "prerequisites",
    "profiles",
    "plugins",
    "enrollment.deletion",
    "enrollment.direct_ceiling",
    "enrollment.served_by",
    "enrollment.other_stacks",
    "spot.principal",
    "audit.principals",
    "audit.organization_id",
    "kind",
    "approval",
    "plan_lifetime",
];

/// Those parameters of a job that `--set` can change: what is looked at, how much of it, and at what pace. All others, and those that
/// will be added, limit, protect, or say what counts as fine. `None` is any external kind, whose settings only the plugin knows.
pub fn free_params(kind: Option<JobKind>) -> &'static [&'static str] {
    match kind {
        Some(JobKind::StacksetSync) => &["profiles"],
        Some(JobKind::DriftAudit) => &[
            "profiles",
            "depth",
            "ask_spot",
            "concurrency",
            "cloudformation_drift",
            "cloudformation_drift_max_age",
        ],
        Some(JobKind::Enroll) => &["profiles", "depth", "ask_spot", "concurrency"],
        Some(JobKind::OrphanCleanup) => &[],
        // What Spot is asked, its gates are.
        Some(JobKind::PolicyRollout) => &["concurrency"],
        None => &["profiles", "settings"],
    }
}

/// The `--set` options, checked and sorted by what they change; each as it was given and as TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    /// Those for `runner.toml`.
    pub(super) runner: Vec<(String, String)>,
    /// Those for the job that is asked for.
    pub(super) job: Vec<(String, String)>,
}

/// Reads `--set` options. Keys of `runner.toml` and of job files have no first part in common, so that the key says
/// which file is meant.
pub(super) fn read(sets: &[String], dir: &Path) -> Result<Overrides, SetError> {
    let mut overrides = Overrides::default();
    for text in sets {
        let malformed = || SetError::Malformed { text: text.clone() };
        let (key, value) = text.split_once('=').ok_or_else(malformed)?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty()
            || !key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        {
            return Err(malformed());
        }
        let toml = as_toml(key, value);
        let table = DeTable::parse(&toml).map_err(|_| malformed())?;
        let first = key.split('.').next().unwrap_or_default();
        let is_job = job_keys().any(|known| known == first);
        let is_runner = runner_keys().any(|known| known == first);
        if !is_job && !is_runner {
            let hint = nearest(first, runner_keys().chain(job_keys()))
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            return Err(SetError::UnknownKey {
                text: text.clone(),
                key: first.to_owned(),
                hint,
            });
        }
        // A parameter that is free for one kind waits until the kind is known.
        let guarded = |leaf: &String| {
            let guards: Vec<bool> = kinds().filter_map(|kind| guards(kind, leaf)).collect();
            is_guard_rail(leaf) || (!guards.is_empty() && !guards.contains(&false))
        };
        if let Some(key) = leaves(table.get_ref(), "").into_iter().find(guarded) {
            let file = if is_job {
                dir.join("jobs")
            } else {
                dir.join("runner.toml")
            };
            return Err(SetError::GuardRail { key, file });
        }
        let target = if is_job {
            &mut overrides.job
        } else {
            &mut overrides.runner
        };
        target.push((text.clone(), toml));
    }
    Ok(overrides)
}

/// Checks the options for a job when its kind is known: what is free for one kind may be a guard rail of another.
pub(super) fn check_params(
    kind: Option<JobKind>,
    overrides: &[(String, String)],
    file: &Path,
) -> Result<(), SetError> {
    for (text, toml) in overrides {
        let malformed = |_| SetError::Malformed { text: text.clone() };
        let table = DeTable::parse(toml).map_err(malformed)?;
        let guarded = |leaf: &String| guards(kind, leaf) == Some(true);
        if let Some(key) = leaves(table.get_ref(), "").into_iter().find(guarded) {
            let file = file.to_owned();
            return Err(SetError::GuardRail { key, file });
        }
    }
    Ok(())
}

/// The option as TOML. A value that is not TOML is taken as text, so that no shell quoting is needed for the plain case.
fn as_toml(key: &str, value: &str) -> String {
    let toml = format!("{key} = {value}\n");
    if DeTable::parse(&toml).is_ok() {
        return toml;
    }
    format!("{key} = {}\n", toml::Value::String(value.to_owned()))
}

fn runner_keys() -> impl Iterator<Item = &'static str> {
    schema::properties(schema::runner()).map(|(name, _)| name)
}

fn job_keys() -> impl Iterator<Item = &'static str> {
    kinds()
        .flat_map(|kind| schema::properties(schema_of(kind)))
        .map(|(name, _)| name)
}

/// Every kind that is built in, and what stands for the others.
fn kinds() -> impl Iterator<Item = Option<JobKind>> {
    JobKind::ALL.into_iter().map(Some).chain([None])
}

fn schema_of(kind: Option<JobKind>) -> &'static Value {
    kind.map_or_else(schema::external, schema::job)
}

/// The dotted paths of everything that a table sets; an empty table is its own leaf.
fn leaves(table: &DeTable<'_>, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in table {
        let name = key.get_ref();
        let below = if path.is_empty() {
            name.to_string()
        } else {
            format!("{path}.{name}")
        };
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => found.extend(leaves(inner, &below)),
            _ => found.push(below),
        }
    }
    found
}

/// Whether setting this path would change a guard rail: it is one, is below one, or has one below it.
fn is_guard_rail(path: &str) -> bool {
    GUARD_RAILS.iter().any(|rail| {
        let mut parts = rail.split('.').zip(path.split('.'));
        parts.all(|(rail, part)| part == rail)
    })
}

/// Whether a kind guards this path below `params`, or all of `params`; none when it has no such parameter: its schema says so, and
/// what may have been meant.
fn guards(kind: Option<JobKind>, path: &str) -> Option<bool> {
    let mut parts = path.split('.');
    if parts.next() != Some("params") {
        return None;
    }
    let Some(name) = parts.next() else {
        return Some(true);
    };
    let mut known = schema::properties(&schema_of(kind)["properties"]["params"]);
    known
        .any(|(known, _)| known == name)
        .then(|| !free_params(kind).contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(option: &str) -> Result<Overrides, SetError> {
        read(&[option.to_owned()], Path::new("config"))
    }

    #[test]
    fn no_guard_rail_can_be_set() {
        for option in [
            "removal.max_removals=1000",
            "removal.max_shrink=100%",
            "removal.closed_grace=0s",
            "removal={ max_removals = 1000 }",
            "removal={}",
            "remediation.max_roles=1000",
            "remediation.enabled=true",
            "remediation.leftover_stacks=true",
            "protected_accounts=[]",
            "prerequisites.activate_trusted_access=true",
            "profiles=[]",
            "enrollment.deletion=stack",
            "enrollment.direct_ceiling=100000",
            "enrollment={ deletion = \"stack\" }",
            "enrollment=1",
            "approval=never",
            "params.apply=true",
            "params.apply_removals=true",
            "params.grants=[\"spot-token\"]",
            "plugins.path=[\"/tmp\"]",
            "plugins.call_timeout=1h",
            "params={ apply = true }",
            "params={}",
            "params.max_deletions=1000",
            "params.max_percent=100%",
            "params.grace_period=0s",
            "params.max_gap=1000d",
            "params.protected_ous=[]",
            "params.default_account=act-1",
            "params.remake=[\"spot-account-gone\"]",
            "params.remove_outside_targets=true",
            "params.duplicates=[]",
            "params.max_deletions.anything=1",
            "params.iam=false",
            "params={ iam = false }",
            "params={ \"iam\" = false }",
            "params.waves=[{ name = \"all\" }]",
            "params.window={ hours = \"00:00-23:59\" }",
            "params.window.hours=00:00-23:59",
            "params.suppress=[]",
            "params.aggregator.max_age=1000d",
            "params={ aggregator = { name = \"other\" } }",
            "params.unused_after=1000d",
            "params.token_max_age=1000d",
            "params={ depth = \"full\", suppress = [] }",
            "kind=enroll",
            "enrollment.other_stacks=[\"*\"]",
            "spot.principal=arn:aws:iam::123456789012:root",
            "audit.principals=[]",
        ] {
            assert!(
                matches!(read_one(option), Err(SetError::GuardRail { .. })),
                "{option}: {:?}",
                read_one(option)
            );
        }
    }

    /// What somebody decided of each parameter of each kind: `+` when `--set` can change it.
    fn decided(kind: Option<JobKind>) -> &'static [&'static str] {
        match kind {
            Some(JobKind::StacksetSync) => &["+profiles"],
            Some(JobKind::DriftAudit) => &[
                "+profiles",
                "+depth",
                "+ask_spot",
                "aggregator",
                "+concurrency",
                "unused_after",
                "+cloudformation_drift",
                "+cloudformation_drift_max_age",
                "token_max_age",
                "fix",
                "remake",
                "suppress",
            ],
            Some(JobKind::Enroll) => {
                &["+profiles", "+depth", "+ask_spot", "+concurrency", "remake"]
            }
            Some(JobKind::OrphanCleanup) => &[
                "apply",
                "grace_period",
                "max_gap",
                "max_deletions",
                "max_per_day",
                "max_percent",
                "protected_ous",
                "protected_names",
                "default_account",
                "remove_outside_targets",
                "duplicates",
            ],
            Some(JobKind::PolicyRollout) => &[
                "profile",
                "version",
                "waves",
                "window",
                "iam",
                "ask_spot",
                "+concurrency",
            ],
            None => &["+profiles", "grants", "apply_removals", "+settings"],
        }
    }

    /// A parameter that nobody has decided of fails this test; it is a guard rail until somebody does.
    #[test]
    fn every_parameter_of_every_kind_is_either_free_or_a_guard_rail() {
        for kind in kinds() {
            let params = &schema_of(kind)["properties"]["params"];
            let known: Vec<&str> = schema::properties(params).map(|(name, _)| name).collect();
            let decided = decided(kind).iter();
            let names: Vec<&str> = decided
                .clone()
                .map(|name| name.trim_start_matches('+'))
                .collect();
            assert_eq!(known, names, "{kind:?}");
            for decided in decided {
                let name = decided.trim_start_matches('+');
                let options = [
                    (format!("params.{name}"), format!("params.{name} = 1\n")),
                    (
                        format!("params.{name}.below"),
                        format!("params.{name}.below = 1\n"),
                    ),
                    ("params".to_owned(), format!("params = {{ {name} = 1 }}\n")),
                ];
                for option in options {
                    let checked = check_params(kind, std::slice::from_ref(&option), Path::new("x"));
                    let is_free = decided.starts_with('+');
                    assert_eq!(checked.is_ok(), is_free, "{kind:?}: {}", option.1);
                }
            }
        }
    }

    #[test]
    fn what_is_free_for_one_kind_only_waits_for_the_kind() {
        let asked = read_one("params.ask_spot=false").unwrap().job;
        let check = |kind| check_params(Some(kind), &asked, Path::new("jobs/x.toml"));
        assert_eq!(check(JobKind::DriftAudit), Ok(()));
        let refused = check(JobKind::PolicyRollout).unwrap_err().to_string();
        assert!(refused.contains("params.ask_spot"), "{refused}");
        assert!(refused.contains("jobs/x.toml"), "{refused}");
        // What no kind has is left to the schema, which says what may have been meant.
        assert!(read_one("params.dpeth=full").is_ok());
    }

    #[test]
    fn the_key_says_which_file_is_meant() {
        let runner = read_one("enrollment.consumers=4").unwrap();
        assert_eq!((runner.runner.len(), runner.job.len()), (1, 0));
        let job = read_one("params.profiles=[\"prod\"]").unwrap();
        assert_eq!((job.runner.len(), job.job.len()), (0, 1));
        assert!(!runner_keys().any(|key| job_keys().any(|other| other == key)));
    }

    #[test]
    fn a_plain_word_needs_no_quotes() {
        assert_eq!(
            read_one("aws.region=eu-west-1").unwrap().runner[0].1,
            "aws.region = \"eu-west-1\"\n"
        );
        assert_eq!(
            read_one("enrollment.consumers=4").unwrap().runner[0].1,
            "enrollment.consumers = 4\n"
        );
    }

    #[test]
    fn malformed_and_unknown_options_are_refused() {
        for option in [
            "aws.region",
            "=1",
            "aws region=1",
            "aws..region=1",
            "aws.region=1\nremoval.max_removals=9",
        ] {
            assert!(
                matches!(
                    read_one(option),
                    Err(SetError::Malformed { .. } | SetError::GuardRail { .. })
                ),
                "{option}"
            );
        }
        assert!(matches!(
            read_one("enrolment.consumers=4"),
            Err(SetError::UnknownKey { .. })
        ));
    }
}
