//! `drift-audit`: what is, beside what should be, account by account. It changes nothing, so its plan has no steps: findings
//! say what differs, and what mends it.
//!
//! Four sources are compared: AWS Organizations, the stack instances, Spot, and, at full depth, what IAM has in each account.
//! The first three are those that `stackset-sync` plans with, and its own plan says what it would do about them. What could
//! not be read is a finding, never fine.

mod at_spot;
mod mending;
mod reason;
mod suppression;

use std::collections::{BTreeMap, BTreeSet};

pub use reason::AuditReason;
pub use suppression::Suppression;

use self::mending::Mending;
use crate::{
    custom_resource::Naming,
    desired::{Desired, Purpose},
    drift::{Drift, DriftKind, Subject, findings},
    ids::{AwsAccountId, Region, SpotAccountId},
    inventory::AccountState,
    plan::{AccountRow, Audited, Finding, Plan, Severity, Step},
    stackset_sync::{self, PlanError, SyncObserved},
    status::{Reason, Standing},
};

/// The kind's name, as in job files.
pub const KIND: &str = "drift-audit";

/// What mends a finding that `stackset-sync` would mend.
const BY_SYNC: &str = stackset_sync::KIND;

/// What mends one that only says, in its message, what a person does.
const BY_PERSON: &str = "needs a person";

/// Everything that an audit knows.
#[derive(Debug, Clone)]
pub struct AuditObserved {
    /// What `stackset-sync` looks at.
    pub sync: SyncObserved,
    /// How IAM's truth differs, for every account that was asked, empty where nothing differs; none when no account was to
    /// be asked.
    pub drifts: Option<BTreeMap<AwsAccountId, Vec<Drift>>>,
    /// The Spot accounts that Cost Intelligence is switched on for; none when it was not asked.
    pub cost_intelligence: Option<BTreeSet<SpotAccountId>>,
    /// How the Spot accounts of each profile are named, of profiles that name them, by the profile's name.
    pub namings: BTreeMap<String, Naming>,
    /// The profiles that want Cost Intelligence, by name.
    pub wants_cost_intelligence: BTreeSet<String>,
    /// Where the stack sets are.
    pub home: HomePlace,
}

/// Where the stack sets are, as the AWS CLI is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePlace {
    /// Their Region.
    pub region: Region,
    /// Whether they are managed from a delegated administrator's account.
    pub is_delegated: bool,
}

/// Judges. The numbers of the result add up like those of any plan: an account that is not as it should be is left out, for
/// its reason.
///
/// # Errors
/// The configuration contradicts itself or the organization: see [`PlanError`].
pub fn plan(
    observed: &AuditObserved,
    desired: &Desired,
    suppressions: &[Suppression],
) -> Result<Plan, PlanError> {
    let mut plan = stackset_sync::plan(&observed.sync, desired)?;
    for finding in plan.findings.iter_mut().filter(|one| one.fix.is_none()) {
        let waits = finding.reason == Reason::RetryLater.code();
        finding.fix = Some(if waits { BY_SYNC } else { BY_PERSON }.to_owned());
    }
    let steps = std::mem::take(&mut plan.steps);
    let of_steps = steps.iter().filter_map(|step| of_step(step, desired));
    plan.findings.extend(of_steps);
    for refusal in std::mem::take(&mut plan.refusals) {
        let message = format!("{BY_SYNC} would be refused: {}", refusal.message);
        let finding = AuditReason::Refused.of(&refusal.guard, message, Some(BY_PERSON));
        plan.findings.push(finding);
    }
    let targeted = plan.accounts.iter().filter(|row| row.targeted);
    let due: Vec<Finding> = targeted.filter_map(of_row).collect();
    plan.findings.extend(due);
    still_deployed(observed, desired, &mut plan);
    at_spot::findings(observed, &mut plan);
    in_iam(observed, desired, &mut plan);
    suppression::apply(suppressions, observed.sync.now, &mut plan.findings);
    settle(&mut plan);
    plan.findings.sort();
    plan.findings.dedup_by(|one, other| one.id == other.id);
    Ok(plan)
}

/// What a step of `stackset-sync` about a whole stack set says is not as it should be.
fn of_step(step: &Step, desired: &Desired) -> Option<Finding> {
    let audit = desired.audit.as_ref();
    let is_audit_role =
        || audit.is_some_and(|audit| step.id.split(':').nth(1) == Some(&audit.name));
    let reason = match step.action.as_str() {
        "create-stack-set" => AuditReason::StackSetMissing,
        "update-stack-set" => AuditReason::StackSetDiffers,
        "activate-trusted-access" => AuditReason::TrustedAccessOff,
        "grant-access" => AuditReason::AccessMissing,
        "set-up-billing-engine" => AuditReason::BillingEngineOff,
        "await-operation" => AuditReason::OperationRunning,
        "create-stack-instances" | "update-stack-instances" if is_audit_role() => {
            AuditReason::AuditRoleMissing
        }
        // The accounts of these have findings of their own.
        _ => return None,
    };
    let mut message = step.reason.clone();
    if !step.changes.is_empty() {
        message = format!("{message}: {}", step.changes.join("; "));
    }
    Some(reason.of(&step.id, message, Some(BY_SYNC)))
}

/// The finding of an account that `stackset-sync` would work on, or is worked on.
fn of_row(row: &AccountRow) -> Option<Finding> {
    let severity = match row.reason {
        Reason::Enrolling => Severity::Info,
        Reason::InstanceOutdated | Reason::EnrollmentUnfinished => Severity::Warning,
        Reason::MissingInstance
        | Reason::InstanceFailed
        | Reason::EnrollmentFailed
        | Reason::ExternalIdMissing => Severity::Error,
        // Left out on purpose, or for a reason that is not this program's to judge.
        _ => return None,
    };
    let message = match &row.detail {
        Some(detail) => format!("{}: {detail}", row.reason.explanation()),
        None => row.reason.explanation().to_owned(),
    };
    let finding = Finding {
        id: format!("{}:{}", row.reason, row.account),
        severity,
        reason: row.reason.code().to_owned(),
        message,
        fix: Some(BY_SYNC.to_owned()),
        ..Finding::default()
    };
    Some(about(row, finding))
}

/// A finding, about an account.
fn about(row: &AccountRow, finding: Finding) -> Finding {
    Finding {
        account: Some(row.account),
        account_name: Some(row.name.to_string()),
        ou_path: Some(row.ou_path.to_string()),
        ..finding
    }
}

/// Stack instances of accounts that are suspended, closed or gone.
fn still_deployed(observed: &AuditObserved, desired: &Desired, plan: &mut Plan) {
    let organization = &observed.sync.organization;
    let profiles = desired.profiles.iter().zip(&observed.sync.profiles);
    for (profile, state) in profiles.filter(|(profile, _)| profile.purpose == Purpose::Enrollment) {
        for instance in &state.instances {
            let account = organization.account(instance.account);
            let (reason, words, fix) = match account.map(|account| account.state) {
                None => (
                    AuditReason::DepartedStillDeployed,
                    "it left the organization",
                    Some(BY_SYNC),
                ),
                Some(AccountState::Closed | AccountState::PendingClosure) => (
                    AuditReason::ClosedStillDeployed,
                    "it is closed, or being closed",
                    Some(BY_SYNC),
                ),
                Some(AccountState::Suspended) => (
                    AuditReason::SuspendedStillDeployed,
                    "AWS suspended it; it may come back",
                    None,
                ),
                Some(_) => continue,
            };
            let message = format!(
                "{words}, and stack set {} has an instance for it",
                profile.stack_set
            );
            plan.findings.push(Finding {
                account: Some(instance.account),
                account_name: account.map(|account| account.name.to_string()),
                ou_path: account.map(|account| organization.path(account.parent)),
                resource: Some(profile.stack_set.to_string()),
                ..reason.of(&instance.account.to_string(), message, fix)
            });
        }
    }
}

/// How the roles of the accounts that were asked differ.
fn in_iam(observed: &AuditObserved, desired: &Desired, plan: &mut Plan) {
    let Some(drifts) = &observed.drifts else {
        return;
    };
    let mending = Mending::new(observed, desired);
    let is_unread = |drifts: &&Vec<Drift>| {
        let mut drifts = drifts.iter();
        drifts.any(|drift| drift.kind == DriftKind::RoleUnreadable)
    };
    let unreadable = drifts.values().filter(is_unread).count();
    plan.audited = Some(Audited {
        asked: drifts.len(),
        read: drifts.len() - unreadable,
        unreadable,
    });
    let mut found = Vec::new();
    for row in &plan.accounts {
        let drifts = drifts.get(&row.account).map_or(&[][..], Vec::as_slice);
        let subject = Subject {
            account: row.account,
            name: Some(&row.name),
            ou_path: Some(&row.ou_path),
        };
        for (drift, finding) in drifts.iter().zip(findings(subject, drifts)) {
            found.push(Finding {
                fix: Some(mending.of(row.account, &drift.fix)),
                ..finding
            });
        }
    }
    plan.findings.extend(found);
}

/// Lets the rows say what the findings do. Nothing is due: an audit works on nothing.
fn settle(plan: &mut Plan) {
    let mut reasons: BTreeMap<AwsAccountId, BTreeSet<&str>> = BTreeMap::new();
    for finding in &plan.findings {
        if let Some(account) = finding.account
            && finding.severity >= Severity::Warning
        {
            reasons.entry(account).or_default().insert(&finding.reason);
        }
    }
    for row in &mut plan.accounts {
        match row.standing {
            Standing::Ok => {
                if let Some(reasons) = reasons.get(&row.account) {
                    row.standing = Standing::Skipped;
                    row.reason = Reason::Drifted;
                    let reasons: Vec<&str> = reasons.iter().copied().collect();
                    row.detail = Some(reasons.join(", ").into());
                }
            }
            Standing::Due | Standing::Pending | Standing::Failed => {
                row.standing = Standing::Skipped;
            }
            Standing::Skipped => {}
        }
    }
}
