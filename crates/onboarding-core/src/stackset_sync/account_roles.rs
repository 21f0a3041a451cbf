//! The stack sets of the roles that the runner itself uses in accounts, the audit role and the remediation role: the same steps as
//! for a profile, over the accounts of all profiles; the remediation role's also over those of the units that `[remediation]`
//! names.
//!
//! Where an account stands is decided by its enrollment alone: one without these roles is enrolled all the same, and
//! what cannot be done for want of one is said as one finding.

use super::{
    ObservedProfile, PlanError, SyncObserved, ledger, spot_links, steps,
    targets::{self, ResolvedProfile},
};
use crate::{
    desired::{Desired, Profile, Purpose},
    plan::{Finding, Plan, Severity},
    status::Reason,
};

/// How many accounts a finding names.
const NAMED: usize = 5;

/// Adds the steps and the finding of one of the roles.
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
    let (code, role, nothing) = match profile.purpose {
        Purpose::RemediationRole => (
            "remediation-role-lacking",
            "remediation role",
            "nothing can be taken away",
        ),
        Purpose::Enrollment | Purpose::AuditRole => {
            ("audit-role-lacking", "audit role", "nothing can be read")
        }
    };
    plan.findings.push(Finding {
        id: code.to_owned(),
        severity: Severity::Warning,
        reason: code.to_owned(),
        message: format!(
            "{} accounts lack the current {role} ({named}{more}), so {nothing} in them: {}, {why}",
            lacking.len(),
            first.reason
        ),
        fix: first.reason.fix().map(str::to_owned),
        ..Finding::default()
    });
    Ok(())
}

/// Says that nothing is planned for the remediation role, for the units that it is also in are not known.
pub(super) fn unresolved(error: &PlanError, plan: &mut Plan) {
    let code = "remediation-role-units";
    plan.findings.push(Finding {
        id: code.to_owned(),
        severity: Severity::Error,
        reason: code.to_owned(),
        message: format!(
            "a unit of remediation.organizational_units is not known ({error}), so the remediation role stays as and where it is"
        ),
        fix: Some("correct remediation.organizational_units, then run stackset-sync".to_owned()),
        ..Finding::default()
    });
}

/// Whether the enrollment of the account is reported for the same reason.
fn is_reported(reason: Reason) -> bool {
    reason == Reason::StateUnknown
}
