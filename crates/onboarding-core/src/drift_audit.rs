//! `drift-audit`: what is, beside what should be, account by account. It changes nothing, so its plan has no steps: findings
//! say what differs, and what mends it. Asked to fix, it has the steps of [`enroll`] for the accounts that it found something
//! about, and takes away the policies that somebody gave their roles.
//!
//! Four sources are compared: AWS Organizations, the stack instances, Spot, and, at full depth, what IAM has in each account.
//! The first three are those that `stackset-sync` plans with, and its own plan says what it would do about them. What could
//! not be read is a finding, never fine.

pub(crate) mod at_spot;
mod detection;
mod management;
mod reason;
mod recorders;
mod remedy;
mod strays;
mod suppression;
mod token;
mod unjudged;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use at_spot::Connection;
pub use detection::Detection;
pub use reason::AuditReason;
pub use suppression::Suppression;
pub use token::TokenAge;
pub(crate) use unjudged::unjudged;

use self::remedy::Remedies;
use crate::{
    custom_resource::Naming,
    desired::{Desired, Profile, Purpose},
    drift::{Collected, Drift, Fix, SeenAt, Subject, findings},
    enroll,
    ids::{AwsAccountId, Region, RoleArn, SpotAccountId, StackId},
    inventory::AccountState,
    plan::{AccountRow, Audited, Finding, Plan, Recorded, Severity, Step},
    stackset_sync::{self, ObservedProfile, PlanError, SyncObserved, past_links::LEFTOVER},
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
    pub drifts: Option<Arc<BTreeMap<AwsAccountId, Vec<Drift>>>>,
    /// When AWS Config saw that; none when no aggregator was asked.
    pub seen: Option<Seen>,
    /// The Spot accounts that Cost Intelligence is switched on for, and whether it works there; none when it was not asked.
    pub cost_intelligence: Option<BTreeMap<SpotAccountId, Connection>>,
    /// Whether Spot is asked which role it uses, and for validations, at full depth.
    pub asks_spot: bool,
    /// Why Spot's validation of Cost Intelligence has not passed, for accounts that it was asked for.
    pub validations: BTreeMap<AwsAccountId, String>,
    /// How the Spot accounts of each profile are named, of profiles that name them, by the profile's name.
    pub namings: BTreeMap<String, Naming>,
    /// The profiles that want Cost Intelligence, by name.
    pub wants_cost_intelligence: BTreeSet<String>,
    /// The links that we made, from our state.
    pub owned: BTreeMap<AwsAccountId, OwnedLink>,
    /// Where the stack sets are.
    pub home: HomePlace,
    /// Whether CloudFormation's own drift detection is asked beside ours.
    pub detection: Option<Detection>,
    /// What is known of the Spot token.
    pub token: TokenAge,
}

/// When AWS Config saw what its aggregator told.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Of the accounts of which it told a difference.
    pub accounts: Arc<BTreeMap<AwsAccountId, SeenAt>>,
    /// Of all that it told.
    pub collected: Collected,
}

/// A link that we made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedLink {
    /// The role that was linked.
    pub role: RoleArn,
    /// The stack that asked for it.
    pub stack: StackId,
    /// Whether it was somebody else's before.
    pub adopted: bool,
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
    fixes: bool,
) -> Result<Plan, PlanError> {
    let mut plan = stackset_sync::plan(&observed.sync, desired)?;
    let needs_fix = |one: &&mut Finding| one.fix.is_none() && one.severity > Severity::Info;
    for finding in plan.findings.iter_mut().filter(needs_fix) {
        finding.fix = Some(BY_PERSON.to_owned());
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
    let due: Vec<Finding> = targeted.filter_map(|row| of_row(observed, row)).collect();
    plan.findings.extend(due);
    still_deployed(observed, desired, &mut plan);
    at_spot::findings(observed, &mut plan);
    plan.findings.extend(token::findings(observed, desired));
    let found = in_iam(observed, desired, &mut plan);
    plan.findings.extend(found);
    detection::compare(observed, desired, &mut plan);
    let accepted = suppression::accepted(suppressions, observed.sync.now, &plan.findings);
    let accepted = |id: &str| accepted.contains(id);
    let mending = enroll::steps(observed, desired, enroll::KIND, &|_| true, &accepted)?;
    let mut mended = enroll::worked_on(&mending);
    // Its stack is brought up to date, and nothing else of it is mended.
    mended.remove(&observed.sync.organization.management_account);
    by_enroll(&mended, &mut plan.findings);
    held_back(observed, &accepted, &mut plan.findings);
    suppression::apply(suppressions, observed.sync.now, &mut plan.findings);
    let failed = match fixes {
        true => fix(observed, desired, &accepted, &mut plan)?,
        false => Vec::new(),
    };
    plan.steps.extend(detection::steps(observed, desired));
    settle(&mut plan);
    for row in failed {
        let found = plan
            .accounts
            .iter_mut()
            .find(|one| one.account == row.account);
        if let Some(found) = found {
            *found = row;
        }
    }
    plan.findings.sort();
    plan.findings.dedup_by(|one, other| one.id == other.id);
    plan.unjudged = unjudged(observed, &plan);
    Ok(plan)
}

/// The reasons of findings that [`enroll`] mends where it works on the account.
const BY_ENROLL: [&str; 5] = [
    "not-linked",
    "role-missing",
    "role-trust-differs",
    "misnamed",
    "product-off",
];

/// Says which findings `enroll` mends.
fn by_enroll(mended: &BTreeSet<AwsAccountId>, findings: &mut [Finding]) {
    for finding in findings {
        let is_worked_on = finding
            .account
            .is_some_and(|account| mended.contains(&account));
        if is_worked_on && BY_ENROLL.contains(&&*finding.reason) {
            finding.fix = Some(enroll::KIND.to_owned());
        }
    }
}

/// Says of findings that `enroll` would mend by writing a role as a whole that it does not, where that would undo what is accepted.
fn held_back(
    observed: &AuditObserved,
    is_accepted: &dyn Fn(&str) -> bool,
    findings: &mut [Finding],
) {
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    // The management account's role is nothing that `enroll` writes.
    let management = observed.sync.organization.management_account;
    let members = observed.drifts.iter().flat_map(|drifts| drifts.iter());
    for (account, drifts) in members.filter(|(account, _)| **account != management) {
        let written = drifts.iter().filter(|drift| drift.fix == Fix::ReDeploy);
        let (accepted, left): (Vec<String>, Vec<String>) = written
            .map(|drift| drift.id(*account))
            .partition(|id| is_accepted(id));
        if let Some(accepted) = accepted.first() {
            held.extend(left.into_iter().map(|id| (id, accepted.clone())));
        }
    }
    for finding in findings {
        if let Some(accepted) = held.get(&finding.id) {
            finding.fix = Some(format!(
                "{BY_PERSON}: `enroll` would write the whole role again, and so undo {accepted}, which is accepted; mend this one \
                 by hand, or accept neither"
            ));
        }
    }
}

/// What a step of `stackset-sync` about a whole stack set says is not as it should be.
fn of_step(step: &Step, desired: &Desired) -> Option<Finding> {
    let of = |role: Option<&Profile>| {
        role.is_some_and(|role| step.id.split(':').nth(1) == Some(&role.name))
    };
    let remediation = desired.remediation.as_ref();
    let remediation = remediation.map(|remediation| &remediation.profile);
    let reason = match step.action.as_str() {
        "create-stack-set" => AuditReason::StackSetMissing,
        "update-stack-set" => AuditReason::StackSetDiffers,
        "activate-trusted-access" => AuditReason::TrustedAccessOff,
        "grant-access" => AuditReason::AccessMissing,
        "set-up-billing-engine" => AuditReason::BillingEngineOff,
        "await-operation" => AuditReason::OperationRunning,
        "create-stack-instances" | "update-stack-instances" if of(desired.audit.as_ref()) => {
            AuditReason::AuditRoleMissing
        }
        "create-stack-instances" | "update-stack-instances" if of(remediation) => {
            AuditReason::RemediationRoleMissing
        }
        // The accounts of these have findings of their own.
        _ => return None,
    };
    Some(reason.of(&step.id, step.told(), Some(BY_SYNC)))
}

/// The finding of an account that `stackset-sync` would work on, or is worked on.
fn of_row(observed: &AuditObserved, row: &AccountRow) -> Option<Finding> {
    let severity = match row.reason {
        Reason::Enrolling => Severity::Info,
        Reason::RollingOut if is_worked_on(observed, row) => Severity::Info,
        // Left half-way, until a person or the next run goes on with it.
        Reason::RollingOut | Reason::InstanceOutdated | Reason::EnrollmentUnfinished => {
            Severity::Warning
        }
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
        fix: row.reason.fix().map(str::to_owned),
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

/// How the roles of the accounts that were asked differ, with what mends it.
pub(crate) fn in_iam(observed: &AuditObserved, desired: &Desired, plan: &mut Plan) -> Vec<Finding> {
    let Some(drifts) = &observed.drifts else {
        return Vec::new();
    };
    let remedies = Remedies::new(observed, desired);
    let is_unread = |drifts: &&Vec<Drift>| drifts.iter().any(Drift::is_unread);
    let unreadable = drifts.values().filter(is_unread).count();
    let collected = observed.seen.as_ref().map(|seen| seen.collected);
    let mut audited = Audited {
        asked: drifts.len(),
        read: drifts.len() - unreadable,
        unreadable,
        by_aggregator: collected.is_some(),
        oldest_status: collected.and_then(|collected| collected.oldest),
        untold_recorders: collected.map_or(0, |collected| collected.untold_recorders),
    };
    let mut found = Vec::new();
    for row in &plan.accounts {
        let known = drifts.get(&row.account);
        let passed_by = known.is_none() && is_to_be_read(observed, row);
        let (why, way_out) = why_unread(observed, row);
        let unread = match passed_by {
            true => {
                audited.asked += 1;
                audited.unreadable += 1;
                vec![Drift::unreadable(row.account, why)]
            }
            false => Vec::new(),
        };
        let drifts = known.unwrap_or(&unread);
        let subject = Subject {
            account: row.account,
            name: Some(&row.name),
            ou_path: Some(&row.ou_path),
        };
        for (drift, finding) in drifts.iter().zip(findings(subject, drifts)) {
            let removed = || {
                let removal = remedies.removal(row, drift);
                removal.map(|_| strays::BY_FIX.to_owned())
            };
            let fix = management::remedy(observed, desired, row.account, drift)
                .or_else(|| passed_by.then(|| way_out.to_owned()))
                .or_else(removed)
                .unwrap_or_else(|| remedies.of(row.account, drift));
            found.push(Finding {
                fix: Some(fix),
                recorded: recorded(observed, row.account, drift),
                ..finding
            });
        }
    }
    found.extend(recorders::finding(&audited));
    plan.audited = Some(audited);
    found
}

/// Whether an account's role should have been read: it counts as enrolled by us, or is, and its stack is being changed or was left
/// half-way, so that its role is there and nobody says what it may do.
fn is_to_be_read(observed: &AuditObserved, row: &AccountRow) -> bool {
    let sync = &observed.sync;
    // Its link is one that we made.
    let linked = row.spot_account.as_ref();
    let is_linked = linked.is_some() && linked == sync.owned_links.get(&row.account);
    let is_ours = is_linked && !sync.kept_links.contains(&row.account);
    row.targeted
        && match row.reason {
            Reason::Enrolled => row.standing == Standing::Ok,
            Reason::Enrolling | Reason::RollingOut => is_ours,
            _ => false,
        }
}

/// The profiles whose rollout may be giving an account another version right now.
fn changing(
    observed: &AuditObserved,
    account: AwsAccountId,
) -> impl Iterator<Item = &ObservedProfile> {
    let profiles = observed.sync.profiles.iter();
    profiles.filter(move |profile| {
        let rollout = profile.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.is_changing(account))
    })
}

/// Whether a rollout works on an account: an operation that it was asked for is going on.
fn is_worked_on(observed: &AuditObserved, row: &AccountRow) -> bool {
    changing(observed, row.account).any(|profile| !profile.running.is_empty())
}

/// Why the role of an account that is ours was not looked at, and what a person does about that.
fn why_unread(observed: &AuditObserved, row: &AccountRow) -> (String, &'static str) {
    let is_changing = changing(observed, row.account).next().is_some();
    let (why, way_out) = match row.reason {
        _ if is_worked_on(observed, row) => (
            "it may be given another version of the policies right now",
            "nothing: an audit after that operation looks at it",
        ),
        _ if is_changing || row.reason == Reason::RollingOut => (
            "a rollout of policies has left it half-way, so that nobody can say which version it should have",
            "policy-rollout, which goes on with it or takes it back; an audit after that looks at it",
        ),
        Reason::Enrolling => (
            "its stack is being changed, or is to be by the operation that is going on",
            "nothing: an audit after that operation looks at it",
        ),
        _ => (
            "none of its stacks is current and has made its link",
            "needs a person: see in its stack set why its stack instance is not current (`runner status`, and CloudFormation in the \
             home account); `runner exec stackset-sync` brings one up to date",
        ),
    };
    let detail = row
        .detail
        .as_deref()
        .filter(|_| row.reason == Reason::RollingOut);
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    (format!("it was not looked at: {why}{detail}"), way_out)
}

/// When AWS Config saw what differs, where its aggregator told it.
fn recorded(observed: &AuditObserved, account: AwsAccountId, drift: &Drift) -> Option<Recorded> {
    let seen = observed.seen.as_ref()?.accounts.get(&account)?;
    let policy = seen.policies.get(&drift.resource);
    Some(Recorded {
        captured_at: policy.copied().or(seen.role),
        collected_at: seen.collected,
    })
}

/// Plans what mends the accounts that something was found about, and was not accepted.
fn fix(
    observed: &AuditObserved,
    desired: &Desired,
    is_accepted: &dyn Fn(&str) -> bool,
    plan: &mut Plan,
) -> Result<Vec<AccountRow>, PlanError> {
    let findings = plan.findings.iter();
    let found: BTreeSet<AwsAccountId> = findings
        .filter(|finding| finding.severity >= Severity::Warning)
        .filter_map(|finding| finding.account)
        .collect();
    let includes = |account| found.contains(&account);
    let mending = enroll::steps(observed, desired, KIND, &includes, is_accepted)?;
    plan.steps = mending.steps;
    plan.refusals = mending.refusals;
    strays::plan(observed, desired, plan);
    // What this run tried, and could not mend.
    let failed = mending.accounts.into_iter();
    Ok(failed
        .filter(|row| row.standing == Standing::Failed)
        .collect())
}

/// Lets the rows of accounts that are enrolled say what the findings do.
pub(crate) fn drifted(plan: &mut Plan) {
    let worked_on = enroll::worked_on(plan);
    let mut reasons: BTreeMap<AwsAccountId, BTreeSet<&str>> = BTreeMap::new();
    for finding in &plan.findings {
        if let Some(account) = finding.account
            && finding.severity >= Severity::Warning
            // Its enrollment is as it should be.
            && finding.reason != LEFTOVER
        {
            reasons.entry(account).or_default().insert(&finding.reason);
        }
    }
    for row in plan
        .accounts
        .iter_mut()
        .filter(|row| row.standing == Standing::Ok)
    {
        if let Some(reasons) = reasons.get(&row.account) {
            row.standing = left(row, &worked_on);
            row.reason = Reason::Drifted;
            let reasons: Vec<&str> = reasons.iter().copied().collect();
            row.detail = Some(reasons.join(", ").into());
        }
    }
}

/// Lets the rows say what the findings do. Nothing is due but what the plan has steps for.
fn settle(plan: &mut Plan) {
    drifted(plan);
    let worked_on = enroll::worked_on(plan);
    for row in &mut plan.accounts {
        let is_worked_on = left(row, &worked_on) == Standing::Due;
        match row.standing {
            Standing::Ok => {}
            Standing::Failed if is_worked_on => {}
            // Enrollment leaves it to a person; a repair does not.
            Standing::Skipped if is_worked_on => row.standing = Standing::Due,
            Standing::Due | Standing::Pending | Standing::Failed => {
                row.standing = left(row, &worked_on);
            }
            Standing::Skipped => {}
        }
    }
}

/// How an account stands that is not as it should be.
fn left(row: &AccountRow, worked_on: &BTreeSet<AwsAccountId>) -> Standing {
    if row.targeted && worked_on.contains(&row.account) {
        Standing::Due
    } else {
        Standing::Skipped
    }
}
