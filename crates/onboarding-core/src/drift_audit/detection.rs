//! CloudFormation's own drift detection beside ours: when it is asked again, and what both say of an account.
//!
//! It is an operation of the stack set, during which others wait, so it is not started while another one is going on. It changes
//! nothing, and it does not see all: a policy that somebody added is IN_SYNC to it. What it says never hides what IAM has.

use std::collections::BTreeMap;

use super::{AuditObserved, AuditReason, HomePlace, KIND, about};
use crate::{
    desired::{Desired, Profile, Purpose},
    drift::{Drift, DriftKind},
    ids::AwsAccountId,
    inventory::{DETECTION_PREFIX, DriftStatus, StackInstance},
    plan::{Estimate, Finding, IamVerdict, Plan, Risk, Step, Verdicts},
    stackset_sync::{ObservedProfile, SyncAction},
};

/// That CloudFormation is asked, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// How old, in seconds, its last look may be before it is asked to look again.
    pub max_age: i64,
}

/// After everything that changes stacks: it then tells of the outcome.
const ORDER: u32 = 70;

/// Where instances of accounts are found.
fn enrollments<'a>(
    observed: &'a AuditObserved,
    desired: &'a Desired,
) -> impl Iterator<Item = (&'a Profile, &'a ObservedProfile)> {
    let profiles = desired.profiles.iter().zip(&observed.sync.profiles);
    profiles.filter(|(profile, state)| profile.purpose == Purpose::Enrollment && state.is_ours)
}

/// The detections that are due.
pub(super) fn steps(observed: &AuditObserved, desired: &Desired) -> Vec<Step> {
    let Some(detection) = observed.detection else {
        return Vec::new();
    };
    let is_due = |state: &ObservedProfile| {
        let checked = state
            .stack_set
            .as_ref()
            .and_then(|set| set.drift_checked_at);
        let age = |at: i64| observed.sync.now.saturating_sub(at).max(0);
        let is_old = checked.is_none_or(|at| age(at) >= detection.max_age);
        is_old && state.running.is_empty() && !state.instances.is_empty()
    };
    let due = enrollments(observed, desired).filter(|(_, state)| is_due(state));
    due.map(|(profile, state)| {
        let action = SyncAction::DetectDrift {
            profile: profile.name.clone(),
            instances: state.instances.len(),
        };
        Step {
            id: format!("{}:{}", action.name(), profile.name),
            kind: KIND.to_owned(),
            action: action.name().to_owned(),
            accounts: Vec::new(),
            reason: format!(
                "CloudFormation looks for drift in {} stacks of {}; it changes none, and other operations wait meanwhile",
                state.instances.len(),
                profile.stack_set
            ),
            risk: Risk::Low,
            order: ORDER,
            preconditions: Vec::new(),
            changes: Vec::new(),
            estimate: Estimate::default(),
            // Our payloads are plain data with text keys, which JSON can always carry.
            payload: serde_json::to_value(&action).unwrap_or_default(),
        }
    })
    .collect()
}

/// Puts CloudFormation's word beside ours: in the rows of accounts that have a stack, and in what was found in their IAM. That
/// it found something is a finding of its own.
pub(super) fn compare(observed: &AuditObserved, desired: &Desired, plan: &mut Plan) {
    if observed.detection.is_none() {
        return;
    }
    let instances: BTreeMap<(&str, AwsAccountId), (&Profile, &StackInstance)> =
        enrollments(observed, desired)
            .flat_map(|(profile, state)| {
                let instances = state.instances.iter();
                instances.map(move |one| ((&*profile.name, one.account), (profile, one)))
            })
            .collect();
    let mut found = Vec::new();
    for row in plan.accounts.iter().filter(|row| row.targeted) {
        let Some((profile, instance)) = instances.get(&(&*row.profile, row.account)) else {
            continue;
        };
        let verdicts = Verdicts {
            iam: in_iam(observed, row.account),
            cloudformation: instance.drift,
        };
        plan.verdicts.insert(row.account, verdicts);
        if instance.drift.status == DriftStatus::Drifted {
            found.push(about(
                row,
                drifted(&observed.home, profile, instance, verdicts),
            ));
        }
    }
    for finding in &mut plan.findings {
        let is_of_iam = DriftKind::ALL
            .iter()
            .any(|kind| kind.code() == finding.reason);
        let verdicts = finding.account.and_then(|id| plan.verdicts.get(&id));
        if let Some(verdicts) = verdicts.filter(|_| is_of_iam) {
            finding.cloudformation = Some(verdicts.cloudformation);
        }
    }
    plan.findings.extend(found);
}

fn in_iam(observed: &AuditObserved, account: AwsAccountId) -> IamVerdict {
    let drifts = observed.drifts.as_ref();
    let drifts = drifts.and_then(|drifts| drifts.get(&account));
    match drifts.map(Vec::as_slice) {
        None => IamVerdict::NotRead,
        Some([]) => IamVerdict::AsMeant,
        Some(drifts) if drifts.iter().any(Drift::is_unread) => IamVerdict::Unreadable,
        Some(_) => IamVerdict::Differs,
    }
}

fn drifted(
    home: &HomePlace,
    profile: &Profile,
    instance: &StackInstance,
    verdicts: Verdicts,
) -> Finding {
    let iam = match verdicts.iam {
        IamVerdict::AsMeant => "in IAM its role is as it is meant, so it is another resource",
        IamVerdict::Differs => "its role differs in IAM as well",
        IamVerdict::Unreadable => "its role could not be read in IAM",
        IamVerdict::NotRead => "IAM was not read",
    };
    let stack = instance.stack_id.as_deref().unwrap_or_default();
    let message = format!(
        "CloudFormation's drift detection found that its stack {stack} is not as its template says; {iam}"
    );
    let call_as = if home.is_delegated {
        " --call-as DELEGATED_ADMIN"
    } else {
        ""
    };
    // The last operation is the detection itself, unless something came after it.
    let operation = instance.last_operation_id.as_deref();
    let operation = operation
        .filter(|id| id.starts_with(DETECTION_PREFIX))
        .unwrap_or("<the operation that found it>");
    let fix = format!(
        "needs a person, in the home account, to see which resource: aws cloudformation list-stack-instance-resource-drifts \
         --region {}{call_as} --stack-set-name {} --stack-instance-account {} --stack-instance-region {} --operation-id {operation}",
        home.region, profile.stack_set, instance.account, instance.region
    );
    let drift = AuditReason::CloudFormationDrifted;
    Finding {
        resource: instance.stack_id.as_deref().map(str::to_owned),
        expected: Some(DriftStatus::InSync.code().to_owned()),
        actual: Some(instance.drift.status.code().to_owned()),
        cloudformation: Some(instance.drift),
        ..drift.of(&instance.account.to_string(), message, Some(&fix))
    }
}
