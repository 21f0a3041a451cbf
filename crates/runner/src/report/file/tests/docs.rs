//! The worked examples of the documentation show what the program prints: their words are those of now.

use std::{fs, path::PathBuf};

use super::{kinds::kinds, *};
use crate::report::table;

/// The pages with examples, with their names.
fn pages() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md"), root.join("docs/plans.md")];
    let jobs = fs::read_dir(root.join("docs/jobs")).unwrap();
    pages.extend(jobs.map(|page| page.unwrap().path()));
    let named = pages.into_iter().map(|page| {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(page).unwrap())
    });
    named.collect()
}

#[test]
fn examples_in_the_documentation_have_the_words_of_the_program() {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let coverage = table::coverage(&[]);
    let header = words(coverage.lines().next().unwrap());
    let (mut reasons, mut findings, mut headers) = (0, 0, 0);
    for (page, text) in pages() {
        let lines: Vec<&str> = text.lines().collect();
        for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
            let at = format!("{page}: {line}");
            let Some((code, told)) = line.split_once(": ") else {
                if line.starts_with("ORGANIZATIONAL UNIT") {
                    assert_eq!(words(line), header, "{at}");
                    headers += 1;
                }
                continue;
            };
            let is_kind = |kind: &&str| told.starts_with(&format!("{kind} ("));
            if ["error", "warning", "info"].contains(&code) && told.ends_with(')') {
                let is_general = told.contains(" soaks ");
                assert!(is_general || kinds().iter().any(is_kind), "{at}");
                findings += 1;
            } else if let Some(reason) = Reason::of_code(code) {
                let fix = format!("fix: {}", reason.fix().unwrap_or_default());
                let is_told = told == reason.explanation() || told == fix;
                assert!(is_told, "{at}");
                let is_mended = !next.starts_with("  fix: ") || next.trim() == fix;
                assert!(is_mended, "{at}: {next}");
                reasons += 1;
            }
        }
    }
    assert!(
        reasons > 5 && findings > 5 && headers > 5,
        "no examples are read"
    );
}
