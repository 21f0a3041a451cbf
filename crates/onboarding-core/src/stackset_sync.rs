//! Planning of `stackset-sync`: what the stack sets must be, which accounts lack their stack instance, which failed
//! ones are due again, and which instances may be taken out.
//!
//! Guarantees: pure; the same observation gives the same plan; applying a plan and observing again gives a plan with
//! no due step; nothing is removed from a protected account or against a [`guard`].

mod access;
mod account_roles;
pub mod actions;
mod billing_engine;
pub mod clocks;
mod consent;
pub mod definition;
pub mod estimate;
pub mod guard;
pub mod ledger;
pub mod mend;
pub mod observed;
pub mod operation_targets;
pub mod spot_links;
pub mod targets;

mod nearest_path;
pub mod past_links;
pub mod repairs;
mod steps;
pub mod stray_policies;

pub use actions::{DeployedInstance, InstanceOperation, StackRemoval, SyncAction};
pub use consent::SyncConsent;
pub use mend::{Mend, MendKind, MendOf, Mender};
pub use observed::{
    BillingRegistration, ObservedProfile, PlainStack, RetryState, RunningOperation, SyncObserved,
};
pub use operation_targets::{OperationTargets, TargetFilter};

use crate::{
    desired::{Deployment, Desired, Purpose},
    plan::{AccountRow, Finding, Plan, Refusal, Severity},
    status::{Reason, Standing},
};

use past_links::PastLinks;
use repairs::Repairs;

/// The kind of the job.
pub const KIND: &str = "stackset-sync";

/// A configuration that contradicts itself or the organization. Nothing is applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A target names a root or organizational unit that is not there.
    #[error(
        "profile {profile:?} names {target:?}, which this organization does not have{nearest}; correct it in the profile's targets"
    )]
    UnknownOu {
        /// The profile.
        profile: String,
        /// The name as configured.
        target: String,
        /// ` (nearest: …)`, or empty.
        nearest: String,
    },
    /// A unit that protects whatever is below it, and is not there: nothing would be protected.
    #[error(
        "protected_ous names {target:?}, which is not one organizational unit of this organization; correct it, by the unit's id or \
         its whole path of names"
    )]
    UnknownProtectedUnit {
        /// The name as configured.
        target: String,
    },
    /// A path of names that fits several organizational units.
    #[error(
        "profile {profile:?} names {target:?}, which fits several organizational units ({candidates}); name one by its id"
    )]
    AmbiguousOu {
        /// The profile.
        profile: String,
        /// The path as configured.
        target: String,
        /// The ids that it fits.
        candidates: String,
    },
    /// An account that is listed but is not in the organization.
    #[error(
        "profile {profile:?} lists account {account}, which is not in this organization; remove it from the profile's targets"
    )]
    UnknownAccount {
        /// The profile.
        profile: String,
        /// The account.
        account: String,
    },
    /// Two profiles on one account.
    #[error(
        "profiles {first:?} and {second:?} both target {accounts}; an account has one profile: exclude it from one of them"
    )]
    Overlap {
        /// One profile.
        first: String,
        /// The other.
        second: String,
        /// The accounts, the first few of them.
        accounts: String,
    },
    /// StackSets may not deploy to the organization.
    #[error(
        "trusted access between CloudFormation StackSets and AWS Organizations is off; switch it on in the management account \
         (CloudFormation console, StackSets, \"Activate trusted access\"), or set prerequisites.activate_trusted_access = true"
    )]
    TrustedAccessOff,
    /// A management account that is to be enrolled and is not targeted.
    #[error(
        "profile {profile:?} has management_account = true and does not target the management account {account}; list it in the \
         profile's targets.accounts"
    )]
    ManagementNotTargeted {
        /// The profile.
        profile: String,
        /// The management account.
        account: String,
    },
    /// Auto-deployment together with a selection that it ignores.
    #[error(
        "profile {profile:?} asks for deployment = \"auto\" together with tags, excludes or listed accounts, which AWS ignores \
         when it deploys by itself; set deployment = \"runner\", or target organizational units only"
    )]
    AutoIgnoresSelection {
        /// The profile.
        profile: String,
    },
}

/// Plans a run.
///
/// # Errors
/// The configuration contradicts itself or the organization: see [`PlanError`].
pub fn plan(observed: &SyncObserved, desired: &Desired) -> Result<Plan, PlanError> {
    plan_extent(observed, desired, Extent::All)
}

/// Plans what the accounts lack, and nothing of the stack sets themselves: what they differ in is a finding, and they are taken as
/// they are. `mender` says what is wrong with accounts that have their stack.
///
/// # Errors
/// As [`plan`].
pub fn plan_accounts(
    observed: &SyncObserved,
    desired: &Desired,
    mender: &dyn Mender,
) -> Result<Plan, PlanError> {
    plan_extent(observed, desired, Extent::Accounts(mender))
}

/// What is planned.
#[derive(Clone, Copy)]
enum Extent<'a> {
    /// Everything.
    All,
    /// What single accounts lack.
    Accounts(&'a dyn Mender),
}

fn plan_extent(
    observed: &SyncObserved,
    desired: &Desired,
    extent: Extent<'_>,
) -> Result<Plan, PlanError> {
    let resolved = targets::resolve(&observed.organization, &observed.account_tags, desired)?;
    let links = spot_links::SpotLinks::new(&observed.spot_accounts);
    let past_links = PastLinks::new(observed);
    let mut plan = Plan::default();
    let mut removed = 0;
    steps::trusted_access(observed, desired, &mut plan)?;
    for (index, profile) in desired.profiles.iter().enumerate() {
        let Some(state) = observed.profiles.get(index) else {
            continue;
        };
        let deployment = targets::effective_deployment(profile)?;
        if observed.unserved && deployment == Deployment::Auto {
            refuse_all(
                &mut plan,
                "live-consumer",
                format!(
                    "AWS deploys to new accounts of profile {:?} by itself, and nobody serves what their stacks ask for between \
                     runs: start `runner provider` on this state first (or deploy the function, with enrollment.served_by = \
                     \"lambda\"), or set the profile's deployment = \"runner\"; enrollment.served_by = \"run\" says that such \
                     stacks are meant to fail until a run",
                    profile.name
                ),
            );
        }
        let context = steps::ProfileContext {
            observed,
            desired,
            profile,
            state,
            resolved: &resolved.profiles[index],
            deployment,
        };
        steps::direct::check(&context)?;
        let rows = match extent {
            Extent::All => {
                let update = steps::stack_set(&context, &mut plan);
                let mut rows = ledger::rows(&context, &links, update);
                past_links.hold_back(&context, &mut rows);
                steps::direct::accounts(&context, &rows, &mut plan);
                steps::instances(&context, &rows, update, &mut plan);
                steps::removals(&context, &rows, &mut removed, &mut plan);
                rows
            }
            Extent::Accounts(mender) => {
                let mut rows = ledger::rows(&context, &links, false);
                if steps::stack_set_as_it_is(&context, &mut plan) {
                    past_links.hold_back(&context, &mut rows);
                    let repairs = Repairs::decide(
                        &context,
                        mender,
                        &mut rows,
                        &resolved.union.targeted,
                        &mut removed,
                        &mut plan,
                    );
                    steps::direct::accounts(&context, &rows, &mut plan);
                    steps::instances(&context, &rows, false, &mut plan);
                    repairs.plan(&context, &mut rows, &mut plan);
                } else {
                    steps::left_to_stackset_sync(&mut rows);
                }
                rows
            }
        };
        plan.accounts.extend(rows.into_iter().map(|row| row.row));
    }
    steps::direct::ceiling(desired, &mut plan);
    if let Extent::All = extent {
        let remediation = desired.remediation.as_ref();
        let remediation = remediation.map(|remediation| &remediation.profile);
        let roles = [
            desired.audit.as_ref().zip(observed.audit.as_ref()),
            remediation.zip(observed.remediation.as_ref()),
        ];
        let organization = &observed.organization;
        let widest = targets::with_leftover_units(organization, desired, &resolved.union);
        for (profile, state) in roles.into_iter().flatten() {
            let targets = match (profile.purpose, &widest) {
                (Purpose::RemediationRole, Ok(widest)) => widest,
                // The accounts that are enrolled do not wait for it.
                (Purpose::RemediationRole, Err(error)) => {
                    account_roles::unresolved(error, &mut plan);
                    continue;
                }
                (Purpose::Enrollment | Purpose::AuditRole, _) => &resolved.union,
            };
            account_roles::plan(observed, desired, (profile, state), targets, &mut plan)?;
        }
    }
    // Before rows are merged: a leftover instance of one profile is a finding beside a proper one of another.
    let needing: Vec<Finding> = plan
        .accounts
        .iter()
        // What a step works on needs nobody.
        .filter(|row| row.reason.is_finding() && row.standing != Standing::Due)
        .map(finding)
        .collect();
    plan.findings.extend(needing);
    // One row per account: the profile that targets it before one that leaves it out or has a leftover instance of it.
    plan.accounts
        .sort_by_key(|row| (row.account, row.reason.is_left_out(), !row.targeted));
    plan.accounts.dedup_by_key(|row| row.account);
    let past = past_links.findings(&plan);
    plan.findings.extend(past);
    past_links.tell(&mut plan);
    if let Extent::All = extent {
        access::plan(observed, desired, &mut plan);
        billing_engine::plan(observed, desired, &links, &mut plan);
    }
    plan.findings.sort();
    plan.steps
        .sort_by(|a, b| (a.order, &a.id).cmp(&(b.order, &b.id)));
    steps::connect(&mut plan);
    steps::share_accounts(&mut plan);
    if plan.is_refused() {
        plan.steps.clear();
    }
    Ok(plan)
}

/// The finding of an account that is not as it should be and is left out.
fn finding(row: &AccountRow) -> Finding {
    let severity = match row.reason {
        Reason::OutsideTargets | Reason::RetryLater => Severity::Warning,
        _ => Severity::Error,
    };
    let message = match &row.detail {
        Some(detail) => format!("{}: {detail}", row.reason.explanation()),
        None => row.reason.explanation().to_owned(),
    };
    Finding {
        id: format!("{}:{}", row.reason, row.account),
        severity,
        account: Some(row.account),
        account_name: Some(row.name.to_string()),
        ou_path: Some(row.ou_path.to_string()),
        reason: row.reason.code().to_owned(),
        message,
        fix: row.reason.fix().map(str::to_owned),
        ..Finding::default()
    }
}

/// A refusal that voids the whole plan.
fn refuse_all(plan: &mut Plan, guard: &str, message: String) {
    plan.refusals.push(Refusal {
        guard: guard.to_owned(),
        message,
        whole_plan: true,
    });
}
