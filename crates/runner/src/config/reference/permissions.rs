//! What the identities of the home account may do, for people: the tables that their policies are made from.

use std::fmt::Write as _;

use onboarding_core::iam_policy::{FUNCTION_PERMISSIONS, PERMISSIONS, Permission, Scope};

use super::page::GENERATED;

/// `docs/reference/permissions.md`.
pub(super) fn page() -> String {
    let mut page = format!(
        "{GENERATED}# Permissions\n\nEach statement of the policies in the home account, by its id: what it is scoped to, and \
         why no narrower. `runner iam-policy` prints the runner's with the names of a configuration; no statement has an \
         action with a `*`.\n\n## The runner\n\n"
    );
    statements(&mut page, PERMISSIONS);
    page.push_str(
        "\n`sts:GetCallerIdentity` needs no permission. What the runner may do in other accounts is the policies of the \
         audit role and, where there is one, the remediation role (`runner template render --audit-role`, `--remediation-role`).\n\n## The Lambda function\n\nBeside these, it may write to its own log group.\n\n",
    );
    statements(&mut page, FUNCTION_PERMISSIONS);
    page
}

/// One table: a row for each statement and each reason to have its actions.
fn statements(page: &mut String, table: &[Permission]) {
    page.push_str("| statement | scoped to | needed when | actions |\n|---|---|---|---|\n");
    let mut told: Vec<Scope> = Vec::new();
    for permission in table {
        let scope = permission.scope;
        if told.contains(&scope) {
            continue;
        }
        told.push(scope);
        for (index, one) in table.iter().filter(|one| one.scope == scope).enumerate() {
            let (id, words) = match index {
                0 => (format!("`{}`", scope.sid()), scope.words()),
                _ => (String::new(), ""),
            };
            let actions: Vec<String> = one.actions.iter().map(|name| format!("`{name}`")).collect();
            let asked = one
                .asked_by
                .map_or_else(String::new, |call| format!(" (for `{call}`)"));
            let _ = writeln!(
                page,
                "| {id} | {words} | {} | {}{asked} |",
                one.need.words(),
                actions.join(", ")
            );
        }
    }
}
