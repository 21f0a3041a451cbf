//! `enroll`: brings every targeted account to enrolled, whatever it lacks, one minimal action for each reason. It takes the stack
//! sets as they are: making and changing them is the business of `stackset-sync`.
//!
//! What lacks its stack gets it, as `stackset-sync` would; what has one and is not as it should be is put right by what costs
//! the account least: a call at Spot, its role written again in place, and only where neither can do it, a stack made anew.
//! `drift-audit` plans the same with what it found, when it is asked to fix.

mod mended;
mod mending;

use std::collections::BTreeSet;

pub use mended::mended;
pub(crate) use mending::Mending;

use crate::{
    desired::Desired,
    drift::DriftKind,
    drift_audit::{self, AuditObserved},
    ids::AwsAccountId,
    plan::Plan,
    stackset_sync::{self, PlanError, repairs},
    status::Reason,
};

/// The kind's name, as in job files.
pub const KIND: &str = "enroll";

/// Plans a run.
///
/// # Errors
/// The configuration contradicts itself or the organization: see [`PlanError`].
pub fn plan(observed: &AuditObserved, desired: &Desired) -> Result<Plan, PlanError> {
    let mut plan = steps(observed, desired, KIND, &|_| true, &|_| false)?;
    // What a person must do is told; what this run does is in its steps.
    let worked_on = worked_on(&plan);
    let mut found = drift_audit::in_iam(observed, desired, &mut plan);
    found.extend(drift_audit::at_spot::of_names_and_products(observed, &plan));
    // Whose stack is being changed by somebody else's operation is for an audit to look at, after that.
    let passed_by: BTreeSet<AwsAccountId> = plan
        .accounts
        .iter()
        .filter(|row| matches!(row.reason, Reason::Enrolling | Reason::RollingOut))
        .map(|row| row.account)
        .filter(|account| {
            let read = observed.drifts.as_ref();
            read.is_some_and(|read| !read.contains_key(account))
        })
        .collect();
    found.retain(|finding| {
        let is_passed_by = finding
            .account
            .is_some_and(|account| passed_by.contains(&account));
        !is_passed_by || finding.reason != DriftKind::RoleUnreadable.code()
    });
    found.retain(|finding| {
        let is_worked_on = finding
            .account
            .is_some_and(|account| worked_on.contains(&account));
        !is_worked_on || finding.fix.as_deref() != Some(KIND)
    });
    plan.findings.extend(found);
    plan.findings.sort();
    drift_audit::drifted(&mut plan);
    plan.unjudged = drift_audit::unjudged(observed, &plan);
    Ok(plan)
}

/// The plan of what mends these accounts, in steps of a kind, but for findings that are accepted, by id.
pub(crate) fn steps(
    observed: &AuditObserved,
    desired: &Desired,
    kind: &str,
    includes: &dyn Fn(AwsAccountId) -> bool,
    is_accepted: &dyn Fn(&str) -> bool,
) -> Result<Plan, PlanError> {
    let mending = Mending::new(observed, desired, includes).accepting(is_accepted);
    let mut plan = stackset_sync::plan_accounts(&observed.sync, desired, &mending)?;
    repairs::of_kind(&mut plan, kind);
    Ok(plan)
}

/// The accounts of a plan's steps.
#[must_use]
pub fn worked_on(plan: &Plan) -> BTreeSet<AwsAccountId> {
    plan.steps
        .iter()
        .flat_map(|step| step.accounts.iter().copied())
        .collect()
}
