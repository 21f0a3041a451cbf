//! Stack instances of accounts that no profile targets: where that is asked for, they go with their stacks, so that roles and
//! policies go with them, before the Spot account does.

use super::{
    candidates::{Candidate, Stand},
    observed::CleanupObserved,
    verdict::Why,
};
use crate::{
    desired::{Desired, Purpose},
    plan::{Estimate, Plan, Risk, Step},
    stackset_sync::{self, SyncAction, operation_targets::by_account},
};

/// In the place of the removals of `stackset-sync`.
const REMOVE: u32 = 50;

/// Adds the steps, one for each instance.
pub(super) fn steps(
    observed: &CleanupObserved,
    desired: &Desired,
    candidates: &[Candidate<'_>],
    plan: &mut Plan,
) {
    let is_chosen = |one: &&Candidate<'_>| {
        let is_chosen = matches!(one.stand, Stand::Chosen { .. });
        is_chosen && one.why == Why::OutsideTargets
    };
    let organization = &observed.sync.organization;
    let root = organization.units.iter().find(|unit| unit.parent.is_none());
    for candidate in candidates.iter().filter(is_chosen) {
        let account = candidate.judged.account;
        let profiles = desired.profiles.iter().zip(&observed.sync.profiles);
        for (profile, state) in profiles.filter(|(one, _)| one.purpose == Purpose::Enrollment) {
            let mut instances = state.instances.iter();
            let Some(instance) = instances.find(|instance| instance.account == account) else {
                continue;
            };
            let unit = instance.targeted_ou.clone();
            let Some(unit) = unit.or_else(|| root.map(|root| root.id.clone())) else {
                continue;
            };
            for targets in by_account(std::slice::from_ref(&unit), &[account]) {
                let action = SyncAction::DeleteStackInstances {
                    profile: profile.name.clone(),
                    targets,
                    with_stacks: true,
                };
                plan.steps.push(Step {
                    id: format!("delete-stack:{}:{account}", profile.name),
                    kind: stackset_sync::KIND.to_owned(),
                    action: action.name().to_owned(),
                    accounts: vec![account],
                    reason: format!(
                        "no profile targets AWS account {} any more",
                        super::named(candidate)
                    ),
                    risk: Risk::High,
                    order: REMOVE,
                    preconditions: Vec::new(),
                    changes: vec![format!(
                        "- the stack of {} in account {account}, with its role and policies",
                        profile.stack_set
                    )],
                    estimate: Estimate {
                        aws_calls: 6,
                        spot_calls: 0,
                        seconds: 120,
                    },
                    payload: serde_json::to_value(action).unwrap_or_default(),
                });
            }
        }
    }
}
