//! The generated reference: JSON Schemas and pages, made from the same types and tables that the program runs on.
//!
//! The output depends on nothing but the code, so that a check can compare it with what is committed.

mod exit_codes;
mod metrics;
mod page;
mod permissions;

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{JobKind, schema};
use crate::plugin::protocol;

/// Writes `docs/reference/*.md` and `schemas/**/*.json` below `dir`.
///
/// # Errors
/// A file or directory could not be written.
pub fn write_all(dir: &Path) -> io::Result<()> {
    for (path, content) in files() {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

/// Every generated file: its path and its content.
#[must_use]
pub fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        (
            "schemas/runner.json".to_owned(),
            format!("{:#}\n", schema::runner()),
        ),
        (
            "schemas/jobs/external.json".to_owned(),
            format!("{:#}\n", schema::external()),
        ),
        (
            "schemas/plugins/requests.json".to_owned(),
            format!("{:#}\n", protocol::requests().to_value()),
        ),
        (
            "schemas/plugins/answers.json".to_owned(),
            format!("{:#}\n", protocol::answers().to_value()),
        ),
        (
            "docs/reference/configuration.md".to_owned(),
            page::configuration(),
        ),
        ("docs/reference/metrics.md".to_owned(), metrics::page()),
        ("docs/reference/reasons.md".to_owned(), page::reasons()),
        (
            "docs/reference/exit-codes.md".to_owned(),
            exit_codes::page(),
        ),
        (
            "docs/reference/permissions.md".to_owned(),
            permissions::page(),
        ),
    ]);
    for kind in JobKind::ALL {
        files.insert(
            format!("schemas/jobs/{kind}.json"),
            format!("{:#}\n", schema::job(kind)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_the_same_every_time() {
        assert_eq!(files(), files());
    }

    #[test]
    fn everything_that_is_configurable_is_described() {
        fn check(schema: &serde_json::Value, path: &str) {
            for (name, below) in schema::properties(schema) {
                let path = format!("{path}.{name}");
                assert!(
                    below["description"].is_string(),
                    "{path} has no description"
                );
                for (variant, description) in schema::variants(below) {
                    let is_kind = path == ".kind";
                    assert!(
                        is_kind || !description.is_empty(),
                        "{path} = {variant:?} has no description"
                    );
                }
                for alternative in schema::alternatives(below) {
                    assert!(
                        !alternative.description.is_empty(),
                        "{path}.{} has no description",
                        alternative.name
                    );
                }
                let inner = if below["items"].is_object() {
                    &below["items"]
                } else {
                    below
                };
                check(inner, &path);
            }
        }
        check(schema::runner(), "");
        for kind in JobKind::ALL {
            check(schema::job(kind), "");
        }
        check(schema::external(), "");
    }

    #[test]
    fn the_pages_have_every_key_and_reason() {
        let files = files();
        let configuration = &files["docs/reference/configuration.md"];
        for key in [
            "`region`",
            "`spot-hosted`",
            "`exclude_accounts`",
            "`operation_timeout`",
            "`\"14d\"`",
        ] {
            assert!(configuration.contains(key), "{key}");
        }
        for reason in onboarding_core::status::Reason::ALL {
            assert!(
                files["docs/reference/reasons.md"].contains(&format!("| `{reason}` |")),
                "{reason}"
            );
        }
    }
}
