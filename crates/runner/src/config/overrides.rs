//! `--set key=value`: which file an option changes, and that none changes a guard rail.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{error::SetError, job::JobKind, nearest::nearest, schema};

/// Keys that `--set` cannot change, nor anything below them: what limits or protects is changed in a file, where a
/// change is seen and reviewed. The last part may end in `*`.
pub const GUARD_RAILS: [&str; 22] = [
    "removal",
    "remediation",
    "protected_accounts",
    "prerequisites",
    "profiles",
    "plugins",
    "enrollment.deletion",
    "enrollment.direct_ceiling",
    "enrollment.served_by",
    "approval",
    "plan_lifetime",
    "params.apply",
    "params.apply_removals",
    "params.grants",
    "params.fix",
    "params.max_*",
    "params.grace_period",
    "params.protected_*",
    "params.default_account",
    "params.remake",
    "params.remove_outside_targets",
    "params.duplicates",
];

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
        if let Some(key) = leaves(table.get_ref(), "")
            .into_iter()
            .find(|leaf| is_guard_rail(leaf))
        {
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
    JobKind::ALL
        .into_iter()
        .flat_map(|kind| schema::properties(schema::job(kind)))
        .map(|(name, _)| name)
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
        parts.all(|(rail, part)| match rail.strip_suffix('*') {
            Some(start) => part.starts_with(start),
            None => part == rail,
        })
    })
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
            "params.max_removals.anything=1",
        ] {
            assert!(
                matches!(read_one(option), Err(SetError::GuardRail { .. })),
                "{option}: {:?}",
                read_one(option)
            );
        }
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
