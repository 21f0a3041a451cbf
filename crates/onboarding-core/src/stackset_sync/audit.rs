//! The audit role's stack set: the same steps as for a profile, over the accounts of all profiles.
//!
//! Where an account stands is decided by its enrollment alone: one without the audit role is enrolled all the same, and
//! what cannot be read for want of it is said as one finding.

use super::{
    ObservedProfile, PlanError, SyncObserved, ledger, spot_links, steps,
    targets::{self, ResolvedProfile},
};
use crate::{
    desired::{Desired, Profile},
    plan::{Finding, Plan, Severity},
    status::Reason,
};

/// How many accounts a finding names.
const NAMED: usize = 5;

/// Adds the steps and the finding of the audit role.
pub(super) fn plan(
    observed: &SyncObserved,
    desired: &Desired,
    (profile, state): (&Profile, &ObservedProfile),
    resolved: &ResolvedProfile,
    plan: &mut Plan,
) -> Result<(), PlanError> {
    let context = steps::ProfileContext {
        observed,
        desired,
        profile,
        state,
        resolved,
        deployment: targets::effective_deployment(profile)?,
    };
    let update = steps::stack_set(&context, plan);
    let links = spot_links::SpotLinks::new(&[]);
    let rows = ledger::rows(&context, &links, update);
    steps::instances(&context, &rows, update, plan);
    // The instances of an account are counted once, with its enrollment.
    steps::removals(&context, &rows, &mut 0, plan);
    let lacking: Vec<_> = rows
        .iter()
        .map(|row| &row.row)
        .filter(|row| row.targeted && row.reason.is_finding() && !is_reported(row.reason))
        .collect();
    let Some(first) = lacking.first() else {
        return Ok(());
    };
    let named = lacking
        .iter()
        .take(NAMED)
        .map(|row| row.account.to_string());
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match lacking.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    let why = first
        .detail
        .as_deref()
        .unwrap_or(first.reason.explanation());
    plan.findings.push(Finding {
        id: "audit-role-lacking".to_owned(),
        severity: Severity::Warning,
        account: None,
        account_name: None,
        ou_path: None,
        reason: "audit-role-lacking".to_owned(),
        message: format!(
            "{} accounts lack the current audit role ({named}{more}), so nothing can be read in them: {}, {why}",
            lacking.len(),
            first.reason
        ),
..Finding::default()
});
    Ok(())
}

/// Whether the enrollment of the account is reported for the same reason.
fn is_reported(reason: Reason) -> bool {
    reason == Reason::StateUnknown
}
