//! The exit codes, for people. The engine's `exit_code` decides them.

use std::fmt::Write as _;

use super::page::GENERATED;

/// Each code, what it means, and what a script does about it; the strongest first.
const EXIT_CODES: [(u8, &str, &str); 7] = [
    (
        130,
        "interrupted by SIGINT or SIGTERM",
        "run again: it continues",
    ),
    (
        2,
        "usage or configuration error",
        "mend what the message names; nothing was changed",
    ),
    (
        5,
        "prerequisites or credentials are missing",
        "mend what the message names, then run again",
    ),
    (
        4,
        "refused by a guard rail, or waiting for approval",
        "read what was refused and why; nothing of it was done",
    ),
    (
        1,
        "failed, or some accounts failed or are still pending",
        "look at the report, then run again",
    ),
    (
        3,
        "findings, or changes pending: a dry run found some, or a rollout waits for its moment (status `pending`)",
        "read the findings; nothing failed in this run",
    ),
    (0, "done, nothing wrong", "nothing"),
];

/// `docs/reference/exit-codes.md`.
pub(super) fn page() -> String {
    let mut page = format!(
        "{GENERATED}# Exit codes\n\nWhen several apply, the one that stands first here is given. An account that needs a \
         person, or that failed in an earlier run and whose next try is not due (`retry-later`), is skipped with a finding \
         (3), not failed (1).\n\n| code | meaning | what to do |\n|---|---|---|\n"
    );
    for (code, meaning, advice) in EXIT_CODES {
        let _ = writeln!(page, "| {code} | {meaning} | {advice} |");
    }
    page
}
