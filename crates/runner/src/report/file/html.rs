//! One HTML page that needs nothing else: no script, and nothing is fetched.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use onboarding_core::plan::{AccountRow, Finding, Severity};

use super::{needs_attention, standing};
use crate::{
    engine::RunReport,
    report::{
        coverage::{self, Coverage},
        findings,
    },
};

const STYLE: &str = include_str!("report.css");

pub(super) fn document(report: &RunReport, ended: Timestamp) -> String {
    let title = format!("{}: {}", report.job, report.status().code());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 {
                        (report.job) " "
                        span class={ "badge " (report.status().code()) } { (report.status().code()) }
                    }
                    p.facts {
                        (report.kind) " · run " code { (report.run_id) }
                        " · ended " (ended.strftime("%Y-%m-%d %H:%M:%S UTC"))
                        " · took " (format!("{:.1} s", report.duration.as_secs_f64()))
                        @if report.dry_run { " · dry run: nothing was changed" }
                    }
                }
                @if let Some(error) = &report.error { p.error { (error.chain()) } }
                @for refusal in report.refusals() {
                    p.error { "Refused by " b { (refusal.guard) } ": " (refusal.message) }
                }
                @for left in &report.left_behind { p.error { "Left behind: " (left) } }
                (totals(report))
                (units(report.accounts()))
                (findings(report, ended))
                (accounts("Accounts that need a person", report, true))
                (steps(report))
                (accounts("All other accounts", report, false))
                (calls(report))
            }
        }
    };
    page.into_string()
}

/// The counts, which add up.
fn totals(report: &RunReport) -> Markup {
    let summary = report.summary();
    let parts = [
        ("changed", "ok", summary.changed),
        ("unchanged", "ok", summary.unchanged),
        ("planned", "due", summary.planned),
        ("pending", "pending", summary.pending),
        ("failed", "failed", summary.failed),
        ("skipped", "skipped", summary.skipped),
    ];
    html! {
        section {
            ul.totals {
                li { b { (summary.targeted) } "targeted" }
                @for (index, (name, class, count)) in parts.into_iter().enumerate() {
                    li class={ "sign " (class) } data-sign=(if index == 0 { "=" } else { "+" }) {
                        b { (count) } (name)
                    }
                }
            }
        }
    }
}

/// Coverage by organizational unit, as bars.
fn units(rows: &[AccountRow]) -> Markup {
    let by_ou = coverage::by_ou(rows);
    if by_ou.is_empty() {
        return Markup::default();
    }
    let total = coverage::total(rows);
    html! {
        section {
            h2 { "Coverage by organizational unit" }
            table.coverage {
                thead { tr { th { "Organizational unit" } th { "Accounts" } th.wide { "Coverage" } th { "Enrolled" } th { "Why skipped" } } }
                tbody {
                    @for (path, counts) in &by_ou { (unit(path, counts)) }
                }
                tfoot { (unit("Total", &total)) }
            }
            p.legend {
                @for (class, text) in [("ok", "enrolled"), ("pending", "pending or due"), ("failed", "failed"), ("skipped", "skipped")] {
                    span class={ "key " (class) } {} (text)
                }
            }
        }
    }
}

fn unit(path: &str, counts: &Coverage) -> Markup {
    let parts = [
        ("ok", "enrolled", counts.enrolled),
        ("pending", "pending", counts.pending),
        ("failed", "failed", counts.failed),
        ("skipped", "skipped", counts.skipped_total()),
    ];
    let why: Vec<String> = counts
        .skipped
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    html! {
        tr {
            th { (path) }
            td.number { (counts.targeted) }
            td.wide {
                div.bar {
                    @for (class, name, count) in parts {
                        @if count > 0 {
                            div class=(class) style=(format!("flex-grow:{count}")) title=(format!("{count} {name}")) {}
                        }
                    }
                }
            }
            td.number { (percent(counts.enrolled, counts.targeted)) }
            td { (why.join(", ")) }
        }
    }
}

/// Rounded down: only all are 100 %.
fn percent(part: usize, whole: usize) -> String {
    match whole {
        0 => "–".to_owned(),
        whole => format!("{} %", part.saturating_mul(100) / whole),
    }
}

/// The findings, the worst first; how many there are by severity and age, where there are some about accounts.
fn findings(report: &RunReport, ended: Timestamp) -> Markup {
    let groups = findings::groups(findings::shown(report).into_iter());
    let left = report.not_looked_at();
    let audited = findings::audited(report);
    if groups.is_empty() && left.is_empty() {
        return html! {
            @if !audited.is_empty() { section { h2 { "Findings" } p { "None: " (audited.join("; ")) "." } } }
        };
    }
    html! {
        section {
            h2 { "Findings" }
            @if !audited.is_empty() { p { (audited.join("; ")) "." } }
            @if findings::shows_accounts(report) { (by_age(report, ended)) }
            table {
                thead { tr { th { "Severity" } th { "Reason" } th { "Account" } th { "Since" } th { "Last seen" } th { "What was found, and what to do" } } }
                tbody {
                    @for finding in groups.iter().flat_map(|group| &group.findings) { (one(finding, "")) }
                    @for finding in left { (one(finding, "not looked at since ")) }
                }
            }
        }
    }
}

/// A finding; what stands before when it was seen last.
fn one(finding: &Finding, last: &str) -> Markup {
    html! {
        tr {
            td { (severity(finding.severity)) }
            td { code { (finding.reason) } }
            td {
                @if let Some(account) = finding.account { code { (account) } }
                @if let Some(name) = &finding.account_name { " " (name) }
            }
            td { (findings::since(finding).unwrap_or_default()) }
            td { (last) (findings::last(finding).unwrap_or_default()) }
            td {
                (finding.message)
                @if let Some(recorded) = finding.recorded {
                    br; (findings::as_recorded(recorded))
                }
                @if let Some(drift) = finding.cloudformation {
                    br; "CloudFormation says " (findings::said(drift))
                }
                @if let Some(fix) = &finding.fix { br; b { "Fix: " } (fix) }
            }
        }
    }
}

/// Findings by severity and age.
fn by_age(report: &RunReport, ended: Timestamp) -> Markup {
    let shown = findings::shown(report);
    html! {
        table {
            thead { tr { th { "Seen first" } @for (age, _) in findings::AGES { th { (age) } } } }
            tbody {
                @for one in [Severity::Error, Severity::Warning, Severity::Info] {
                    tr {
                        td { (severity(one)) }
                        @for count in findings::ages(shown.iter().copied(), one, ended) {
                            td.number { (count) }
                        }
                    }
                }
            }
        }
    }
}

fn severity(severity: Severity) -> Markup {
    let class = match severity {
        Severity::Info => "skipped",
        Severity::Warning => "pending",
        Severity::Error => "failed",
    };
    let word = findings::severity(severity);
    html! { span class={ "badge " (class) } { (word) } }
}

/// Accounts by reason: those that need a person open, the others folded.
fn accounts(title: &str, report: &RunReport, attention: bool) -> Markup {
    let found = findings::by_account(report.findings());
    let fix = |row: &AccountRow| {
        let found = found.get(&row.account).map_or(&[][..], Vec::as_slice);
        findings::fix(row, found)
    };
    let rows = report.accounts().iter();
    let mut by_reason: BTreeMap<_, Vec<&AccountRow>> = BTreeMap::new();
    for row in rows.filter(|row| needs_attention(row) == attention) {
        by_reason.entry(row.reason).or_default().push(row);
    }
    if by_reason.is_empty() {
        return Markup::default();
    }
    html! {
        section {
            h2 { (title) }
            @for (reason, rows) in by_reason {
                details open[attention] {
                    summary { code { (reason) } " " span.count { (rows.len()) } " " (reason.explanation()) }
                    table {
                        thead { tr { th { "Account" } th { "Name" } th { "Organizational unit" } th { "State" } th { "Spot account" } th { "Detail" } th { "Fix" } } }
                        tbody {
                            @for row in rows {
                                tr {
                                    td { code { (row.account) } }
                                    td { (row.name) }
                                    td { (row.ou_path) }
                                    td { (standing(row)) @if !row.targeted { ", not targeted" } }
                                    td { @if let Some(id) = &row.spot_account { code { (id) } } }
                                    td { (row.detail.as_deref().unwrap_or_default()) }
                                    td { (fix(row).unwrap_or_default()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was done, or would be.
fn steps(report: &RunReport) -> Markup {
    let planned = report.plan_before.as_ref().filter(|_| report.dry_run);
    let planned = planned.map_or(&[][..], |plan| &plan.steps);
    if planned.is_empty() && report.steps.is_empty() {
        return Markup::default();
    }
    html! {
        section {
            h2 { @if report.dry_run { "Steps that would be applied" } @else { "Steps" } }
            table {
                thead { tr { th { "Step" } th { "Accounts" } th { @if report.dry_run { "Risk" } @else { "Outcome" } } th { "Why, or what was done" } } }
                tbody {
                    @for step in planned {
                        tr {
                            td { code { (step.id) } }
                            td.number { (step.accounts.len()) }
                            td { (format!("{:?}", step.risk).to_lowercase()) }
                            td { (step.reason) }
                        }
                    }
                    @for step in &report.steps {
                        tr {
                            td { code { (step.id) } }
                            td.number { (step.accounts) }
                            td { (step.outcome.code()) }
                            td { (step.note.as_deref().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}

/// The calls that the run made.
fn calls(report: &RunReport) -> Markup {
    let total: u64 = report.api_calls.values().sum();
    html! {
        section {
            details {
                summary { "API calls " span.count { (total) } }
                table {
                    tbody {
                        @for (operation, count) in &report.api_calls {
                            tr { td { code { (operation) } } td.number { (count) } }
                        }
                    }
                }
            }
        }
    }
}
