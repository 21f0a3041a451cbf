//! Tables for people: coverage by organizational unit, the accounts that need a person and why, and what a run did.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use onboarding_core::{
    ids::AwsAccountId,
    inventory::DriftStatus,
    orphan_cleanup,
    plan::{AccountRow, Finding, IamVerdict, Refusal, Verdicts},
    status::{Reason, Standing},
};

use super::{
    coverage::{self, Coverage},
    findings,
};
use crate::engine::{RunReport, StepOutcome};

/// How many accounts a list shows before it says how many more there are.
const MOST_SHOWN: usize = 20;

/// How many characters of a detail a list shows.
const MOST_CHARACTERS: usize = 300;

/// How many characters of what mends a finding a list shows.
const MOST_CHARACTERS_OF_A_FIX: usize = 700;

/// An empty table in our style: no frame, as wide as its content, at most as wide as the terminal.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| Cell::new(title.to_uppercase())));
    table
}

/// A table as text, without white space at the ends of lines.
#[must_use]
pub fn render(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
        text.push('\n');
    }
    text
}

fn number(count: usize) -> Cell {
    let text = if count == 0 {
        "-".to_owned()
    } else {
        count.to_string()
    };
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Whether it is a plugin that says where accounts stand.
fn is_of_plugin(rows: &[AccountRow]) -> bool {
    rows.iter().any(|row| row.reason.is_of_plugin())
}

/// Coverage by organizational unit, with a line of totals.
#[must_use]
pub fn coverage(rows: &[AccountRow]) -> String {
    let fine = match is_of_plugin(rows) {
        true => "settled",
        false => "enrolled",
    };
    let mut table = table(&[
        "organizational unit",
        "accounts",
        fine,
        "pending",
        "failed",
        "skipped",
        "why skipped",
    ]);
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut add = |name: &str, coverage: &Coverage| {
        let why: Vec<String> = coverage
            .skipped
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        table.add_row(vec![
            Cell::new(name),
            number(coverage.targeted),
            number(coverage.enrolled),
            number(coverage.pending),
            number(coverage.failed),
            number(coverage.skipped_total()),
            Cell::new(why.join(", ")),
        ]);
    };
    for (path, of_ou) in &coverage::by_ou(rows) {
        add(path, of_ou);
    }
    let total = coverage::total(rows);
    table.add_row(vec![
        Cell::new("total"),
        number(total.targeted),
        number(total.enrolled),
        number(total.pending),
        number(total.failed),
        number(total.skipped_total()),
        Cell::new(""),
    ]);
    render(&table)
}

/// The accounts of a ledger, one line each.
#[must_use]
pub fn ledger<'a>(rows: impl IntoIterator<Item = &'a AccountRow>) -> String {
    let mut table = table(&[
        "account",
        "name",
        "organizational unit",
        "state",
        "spot account",
        "detail",
    ]);
    for row in rows {
        table.add_row(vec![
            row.account.to_string(),
            row.name.to_string(),
            row.ou_path.to_string(),
            row.reason.to_string(),
            row.spot_account
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            row.detail.as_deref().unwrap_or_default().to_owned(),
        ]);
    }
    render(&table)
}

/// The accounts whose Spot account is not simply in use, and what mends each reason that no finding tells of.
fn orphans(rows: &[AccountRow], shown: &[&Finding]) -> String {
    let is_listed = |row: &&AccountRow| row.reason != Reason::InUse;
    let count = rows.iter().filter(is_listed).count();
    if count == 0 {
        return String::new();
    }
    let mut text = format!(
        "\n{}",
        ledger(rows.iter().filter(is_listed).take(MOST_SHOWN))
    );
    if count > MOST_SHOWN {
        let _ = writeln!(
            text,
            "and {} more; `--output json` lists all",
            count - MOST_SHOWN
        );
    }
    let found = findings::by_account(shown.iter().copied());
    let found = |row: &AccountRow| found.get(&row.account).map_or(&[][..], Vec::as_slice);
    let fixes = rows
        .iter()
        .filter_map(|row| Some((row.reason, findings::own_fix(row, found(row))?)));
    let fixes: BTreeMap<Reason, &str> = fixes.collect();
    for (index, (reason, fix)) in fixes.into_iter().enumerate() {
        let space = if index == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{space}{reason}: fix: {fix}");
    }
    text
}

/// The accounts that are not as they should be, grouped by reason, with what mends them. Those are left out that a finding tells of which
/// is shown, and, where steps are `planned`, those that a step works on and nobody else has to.
#[must_use]
pub fn problems(
    rows: &[AccountRow],
    (findings, shown): (&[Finding], &[&Finding]),
    planned: bool,
) -> String {
    let mut text = String::new();
    let [found, shown] = [
        findings::by_account(findings),
        findings::by_account(shown.iter().copied()),
    ];
    let mut by_reason: BTreeMap<_, Vec<(&AccountRow, Option<&str>)>> = BTreeMap::new();
    for row in rows {
        let [found, shown] =
            [&found, &shown].map(|of| of.get(&row.account).map_or(&[][..], Vec::as_slice));
        // Of one that a step works on, a finding may tell something else than what the step is for.
        if row.standing != Standing::Due && findings::telling(row, shown).is_some() {
            continue;
        }
        let told = findings::telling(row, found).and_then(|finding| finding.fix.as_deref());
        let fix = told.or_else(|| findings::own_fix(row, found));
        let fix = fix.filter(|_| !planned || row.standing != Standing::Due);
        let needs_person = row.reason.is_finding() || row.standing == Standing::Failed;
        if needs_person || fix.is_some() {
            let rows = by_reason.entry((!needs_person, row.reason)).or_default();
            rows.push((row, fix));
        }
    }
    for ((_, reason), rows) in by_reason {
        let _ = writeln!(text, "\n{reason}: {}", reason.explanation());
        let fixes: BTreeSet<&str> = rows.iter().filter_map(|(_, fix)| *fix).collect();
        let common = fixes.first().filter(|_| fixes.len() == 1);
        if let Some(fix) = common {
            let _ = writeln!(text, "  fix: {fix}");
        }
        let first = rows.first().and_then(|(row, _)| row.detail.as_deref());
        let mut others = rows.iter().skip(1).peekable();
        let is_same =
            others.peek().is_some() && others.all(|(row, _)| row.detail.as_deref() == first);
        if let Some(detail) = first.filter(|_| is_same) {
            let _ = writeln!(text, "  {}", shortened(detail));
        }
        for (row, fix) in rows.iter().take(MOST_SHOWN) {
            let _ = write!(text, "  {}  {}  ({})", row.account, row.name, row.ou_path);
            let _ = match row.detail.as_ref().filter(|_| !is_same) {
                Some(detail) => writeln!(text, "\n      {}", shortened(detail)),
                None => writeln!(text),
            };
            if let Some(fix) = fix.filter(|_| common.is_none()) {
                let _ = writeln!(text, "      fix: {fix}");
            }
        }
        if rows.len() > MOST_SHOWN {
            let _ = writeln!(
                text,
                "  and {} more; `runner status --output json` lists all",
                rows.len() - MOST_SHOWN
            );
        }
    }
    text
}

/// A detail that fits into a list: AWS's reasons can be very long, and `runner status --account` shows them whole.
fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}

/// Findings beside where accounts stand: those about accounts by reason, the others in a line each.
#[must_use]
pub fn beside(shown: &[&Finding]) -> String {
    let (of_accounts, general): (Vec<&Finding>, Vec<&Finding>) = shown
        .iter()
        .copied()
        .partition(|finding| finding.account.is_some());
    let mut text = grouped(of_accounts.into_iter());
    for finding in general {
        let severity = findings::severity(finding.severity);
        let _ = writeln!(text, "{severity}: {} ({})", finding.message, finding.reason);
        fix(&mut text, "  ", finding);
    }
    text
}

/// What mends a finding, in a line of its own.
fn fix(text: &mut String, indent: &str, finding: &Finding) {
    match finding.fix.as_deref() {
        // A command that was cut off would be dangerous to run.
        Some(fix) if fix.chars().count() > MOST_CHARACTERS_OF_A_FIX => {
            let _ = writeln!(
                text,
                "{indent}fix: needs a person; `--output json` has the commands"
            );
        }
        Some(fix) => {
            let fix = fix.replace('\n', &format!("\n{indent}     "));
            let _ = writeln!(text, "{indent}fix: {fix}");
        }
        None => {}
    }
}

/// Findings, the worst first: what was found, since when it is there, and what mends it.
fn grouped<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut text = String::new();
    for group in findings::groups(findings) {
        let (severity, count) = (findings::severity(group.severity), group.findings.len());
        let _ = writeln!(text, "{severity}: {} ({count})", group.reason);
        for finding in group.findings.iter().take(MOST_SHOWN) {
            let _ = write!(text, "  ");
            if let Some(account) = finding.account {
                let name = finding.account_name.as_deref().unwrap_or("-");
                let path = finding.ou_path.as_deref().unwrap_or("-");
                let _ = write!(text, "{account}  {name}  ({path})  ");
            }
            if let Some(since) = findings::since(finding) {
                let _ = write!(text, "since {since}");
            }
            let _ = writeln!(text, "\n      {}", shortened(&finding.message));
            if let Some(recorded) = finding.recorded {
                let _ = writeln!(text, "      {}", findings::as_recorded(recorded));
            }
            if let Some(drift) = finding.cloudformation {
                let _ = writeln!(text, "      CloudFormation says {}", findings::said(drift));
            }
            fix(&mut text, "      ", finding);
        }
        if count > MOST_SHOWN {
            let more = count - MOST_SHOWN;
            let _ = writeln!(text, "  and {more} more; `--output json` lists all");
        }
        text.push('\n');
    }
    text
}

/// Findings of earlier runs that this one did not look for again.
fn not_looked_at(left: &[Finding]) -> String {
    let mut text = String::new();
    if left.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "not looked at in this run, as earlier ones saw it ({}):",
        left.len()
    );
    for finding in left.iter().take(MOST_SHOWN) {
        let severity = findings::severity(finding.severity);
        let since = findings::since(finding).unwrap_or_default();
        let last = findings::last(finding).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {severity}: {}  since {since}, not looked at since {last}",
            finding.id
        );
    }
    if left.len() > MOST_SHOWN {
        let more = left.len() - MOST_SHOWN;
        let _ = writeln!(text, "  and {more} more; `--output json` lists all");
    }
    text.push('\n');
    text
}

/// The findings of an audit.
#[must_use]
pub fn findings(report: &RunReport) -> String {
    let mut text = grouped(report.findings().iter());
    for line in findings::audited(report) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(plan) = report.plan() {
        text.push_str(&verdicts(&plan.verdicts));
    }
    text
}

/// How often IAM and CloudFormation say what.
fn verdicts(verdicts: &BTreeMap<AwsAccountId, Verdicts>) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut counts: BTreeMap<(IamVerdict, DriftStatus), usize> = BTreeMap::new();
    for one in verdicts.values() {
        *counts
            .entry((one.iam, one.cloudformation.status))
            .or_default() += 1;
    }
    let mut table = table(&["in iam", "by cloudformation", "accounts"]);
    for ((iam, cloudformation), count) in counts {
        table.add_row(vec![
            Cell::new(iam.code()),
            Cell::new(cloudformation.code()),
            number(count),
        ]);
    }
    format!("\n{}", render(&table))
}

/// What guard rails refused.
#[must_use]
pub fn refusals(refusals: &[Refusal]) -> String {
    let mut text = String::new();
    for refusal in refusals {
        let scope = if refusal.whole_plan {
            "nothing was changed"
        } else {
            "this part was left out"
        };
        let _ = writeln!(
            text,
            "refused by {} ({scope}): {}",
            refusal.guard, refusal.message
        );
    }
    text
}

/// A whole run.
#[must_use]
pub fn run(report: &RunReport) -> String {
    let mut text = String::new();
    if let Some(held) = &report.held {
        text.push_str(&super::plan::kept(&held.steps));
    }
    if let Some(plan) = report
        .plan_before
        .as_ref()
        .filter(|plan| report.dry_run && plan.has_due_steps())
    {
        text.push_str("Steps that would be applied:\n");
        let mut steps = table(&["step", "accounts", "risk", "why"]);
        for step in &plan.steps {
            let risk = format!("{:?}", step.risk).to_lowercase();
            steps.add_row(vec![
                Cell::new(&step.id),
                number(step.accounts.len()),
                Cell::new(risk),
                Cell::new(&step.reason),
            ]);
        }
        text.push_str(&render(&steps));
        text.push('\n');
    }
    if !report.steps.is_empty() {
        let mut steps = table(&["step", "accounts", "outcome", "note"]);
        for step in &report.steps {
            let attempts = match (step.outcome, step.attempts) {
                (StepOutcome::Failed, attempts) if attempts > 1 => {
                    format!(" ({attempts} attempts)")
                }
                _ => String::new(),
            };
            steps.add_row(vec![
                Cell::new(&step.id),
                number(step.accounts),
                Cell::new(format!("{}{attempts}", step.outcome.code())),
                Cell::new(step.note.as_deref().unwrap_or_default()),
            ]);
        }
        text.push_str(&render(&steps));
        text.push('\n');
    }
    let shown = findings::shown(report);
    if !report.accounts().is_empty() {
        text.push_str(&coverage(report.accounts()));
        text.push_str(&if report.kind == orphan_cleanup::KIND {
            orphans(report.accounts(), &shown)
        } else {
            let planned = report.dry_run || report.held.is_some();
            let found = (report.findings(), &*shown);
            problems(report.accounts(), found, planned)
        });
        text.push('\n');
    }
    for moved in &report.moved {
        let accounts = match moved.accounts.len() {
            0 => String::new(),
            count => format!(", {count} accounts"),
        };
        let _ = writeln!(
            text,
            "skipped (moved): {}{accounts}: {}",
            moved.step, moved.why
        );
    }
    text.push_str(&if findings::shows_accounts(report) {
        findings(report)
    } else {
        beside(&shown)
    });
    text.push_str(&not_looked_at(report.not_looked_at()));
    text.push_str(&refusals(report.refusals()));
    if let Some(held) = &report.held {
        let _ = writeln!(
            text,
            "The plan waits for an approval until {}: runner runs approve {}",
            held.expires_at, held.run_id
        );
    }
    for left in &report.left_behind {
        let _ = writeln!(text, "left behind: {left}");
    }
    let summary = report.summary();
    let _ = writeln!(
        text,
        "{}: {} targeted = {} ok ({} changed, {} unchanged) + {} planned + {} pending + {} failed + {} skipped",
        report.status().code(),
        summary.targeted,
        summary.ok,
        summary.changed,
        summary.unchanged,
        summary.planned,
        summary.pending,
        summary.failed,
        summary.skipped
    );
    let calls: u64 = report.api_calls.values().sum();
    let _ = writeln!(
        text,
        "run {} took {:.1} s and {calls} API calls",
        report.run_id,
        report.duration.as_secs_f64()
    );
    text
}
