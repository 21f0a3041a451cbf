//! A plan as text that a person can review: each step with why, how much it can hurt, what it changes, what it takes, and
//! its accounts.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Estimate, Plan, Risk, Step, Summary, consent::ConsentedStep},
};

use super::{findings, table};

/// How many accounts of a step are shown before it says how many more there are.
const MOST_ACCOUNTS: usize = 20;

/// How many lines of what a step changes are shown: a first rollout grants all that Spot needs.
const MOST_CHANGES: usize = 60;

/// The plan for people; `how` is the command that applies it.
#[must_use]
pub fn text(plan: &Plan, how: Option<&str>) -> String {
    let mut text = String::new();
    let rows: BTreeMap<AwsAccountId, &AccountRow> =
        plan.accounts.iter().map(|row| (row.account, row)).collect();
    for (number, one) in plan.steps.iter().enumerate() {
        step(&mut text, number + 1, one, |account| {
            let row = rows.get(&account)?;
            Some(format!("{}  ({})  {}", row.name, row.ou_path, row.reason))
        });
    }
    text.push_str(&table::coverage(&plan.accounts));
    let shown = findings::beside(&plan.findings, &plan.accounts);
    text.push_str(&table::problems(
        &plan.accounts,
        (&plan.findings, &shown),
        true,
    ));
    text.push('\n');
    text.push_str(&table::beside(&shown));
    text.push_str(&table::refusals(&plan.refusals));
    let is_void = plan.is_refused();
    if plan.steps.is_empty() && !is_void {
        text.push_str("Nothing to do.\n");
    } else if !plan.steps.is_empty() {
        let of = |risk: Risk| plan.steps.iter().filter(|step| step.risk == risk).count();
        let total = total(plan);
        let takes = match total.is_nothing() {
            true => String::new(),
            false => format!(": {}", takes(total)),
        };
        let _ = writeln!(
            text,
            "{} steps ({} of high, {} of medium, {} of low risk){takes}",
            plan.steps.len(),
            of(Risk::High),
            of(Risk::Medium),
            of(Risk::Low),
        );
        if let Some(how) = how {
            let _ = writeln!(text, "Apply it: {how}");
        }
    }
    let summary = Summary::of(&plan.accounts, &plan.accounts, true);
    let _ = writeln!(
        text,
        "planned: {} targeted = {} ok + {} planned + {} pending + {} failed + {} skipped",
        summary.targeted,
        summary.ok,
        summary.planned,
        summary.pending,
        summary.failed,
        summary.skipped
    );
    text
}

/// The steps of a plan that was kept, in the same form.
#[must_use]
pub fn kept(steps: &[ConsentedStep]) -> String {
    let mut text = String::new();
    for (number, one) in steps.iter().enumerate() {
        step(&mut text, number + 1, &one.step, |account| {
            Some(one.due.get(&account)?.to_string())
        });
    }
    text
}

fn step(
    text: &mut String,
    number: usize,
    step: &Step,
    about: impl Fn(AwsAccountId) -> Option<String>,
) {
    let risk = match step.risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "HIGH",
    };
    let _ = writeln!(text, "{number}. {}  (risk: {risk})", step.id);
    let _ = writeln!(text, "   why: {}", step.reason);
    for (index, change) in step.changes.iter().take(MOST_CHANGES).enumerate() {
        let head = if index == 0 { "changes:" } else { "        " };
        let _ = writeln!(text, "   {head} {change}");
    }
    if step.changes.len() > MOST_CHANGES {
        let more = step.changes.len() - MOST_CHANGES;
        let _ = writeln!(
            text,
            "            and {more} more lines; --output json has all"
        );
    }
    if !step.estimate.is_nothing() {
        let _ = writeln!(text, "   takes: {}", takes(step.estimate));
    }
    for needed in &step.preconditions {
        let words = match needed.strip_prefix("step:") {
            Some(step) => format!("{step} succeeds"),
            None => format!("{needed} is the same"),
        };
        let _ = writeln!(text, "   only if: {words}");
    }
    if !step.accounts.is_empty() {
        let _ = writeln!(text, "   accounts: {}", step.accounts.len());
    }
    for account in step.accounts.iter().take(MOST_ACCOUNTS) {
        let _ = match about(*account) {
            Some(words) => writeln!(text, "     {account}  {words}"),
            None => writeln!(text, "     {account}"),
        };
    }
    if step.accounts.len() > MOST_ACCOUNTS {
        let more = step.accounts.len() - MOST_ACCOUNTS;
        let _ = writeln!(
            text,
            "     and {more} more; a plan that is written to a file has all"
        );
    }
    text.push('\n');
}

/// All steps together. Those of one order go side by side.
fn total(plan: &Plan) -> Estimate {
    let mut total = Estimate::default();
    for beside in plan.steps.chunk_by(|one, next| one.order == next.order) {
        total.aws_calls += beside
            .iter()
            .map(|step| step.estimate.aws_calls)
            .sum::<u64>();
        total.spot_calls += beside
            .iter()
            .map(|step| step.estimate.spot_calls)
            .sum::<u64>();
        total.seconds += beside
            .iter()
            .map(|step| step.estimate.seconds)
            .max()
            .unwrap_or(0);
    }
    total
}

fn takes(estimate: Estimate) -> String {
    format!(
        "about {}, {} calls to AWS, {} to Spot",
        humantime::format_duration(Duration::from_secs(estimate.seconds)),
        estimate.aws_calls,
        estimate.spot_calls
    )
}
