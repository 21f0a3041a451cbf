//! The stack instances that go before their Spot accounts do. No others: an instance of an account whose Spot account waits, is
//! protected or is in use stays until that one goes.
//!
//! Of accounts that are gone, by the steps of `stackset-sync`, which keep the stacks. Of accounts that no profile targets, where
//! that is asked for, with their stacks, so that roles and policies go with them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    candidates::{Candidate, Stand},
    observed::CleanupObserved,
    verdict::Why,
};
use crate::{
    desired::{Desired, Purpose},
    ids::AwsAccountId,
    plan::{Estimate, Plan, Risk, Step, consent::Consent as _},
    stackset_sync::{self, StackRemoval, SyncAction, SyncConsent, operation_targets::by_account},
};

/// In the place of the removals of `stackset-sync`.
const REMOVE: u32 = 50;

/// How many stack instances of each account `stackset-sync` would take out.
pub(super) fn removals(sync: &Plan) -> BTreeMap<AwsAccountId, usize> {
    let mut removals = BTreeMap::new();
    for step in sync.steps.iter().filter(|step| is_removal(step)) {
        let accounts: BTreeSet<_> = step.accounts.iter().collect();
        for account in accounts {
            *removals.entry(*account).or_default() += 1;
        }
    }
    removals
}

/// Whether a step of `stackset-sync` takes out stack instances of accounts that are gone.
fn is_removal(step: &Step) -> bool {
    step.action == "delete-stack-instances"
}

/// Adds the steps of `stackset-sync` for the accounts that are gone and whose Spot account is deleted.
pub(super) fn of_gone(sync: &Plan, candidates: &[Candidate<'_>], plan: &mut Plan) {
    let chosen = candidates.iter().filter(|one| is_chosen(one));
    let chosen: BTreeSet<AwsAccountId> = chosen
        .filter(|one| matches!(one.why, Why::Departed | Why::Closed))
        .map(|one| one.judged.account)
        .collect();
    for step in sync.steps.iter().filter(|step| is_removal(step)) {
        let accounts = step.accounts.iter().copied();
        let accounts: BTreeSet<_> = accounts.filter(|one| chosen.contains(one)).collect();
        if accounts.is_empty() {
            continue;
        }
        let narrowed = SyncConsent.narrowed(step, &accounts);
        plan.steps.extend(narrowed.map(|step| Step {
            reason: format!(
                "{} accounts left the organization or are closed, and their Spot accounts are deleted; their stacks are kept",
                accounts.len()
            ),
            ..step
        }));
    }
}

/// Adds the steps for the accounts that no profile targets, one for each instance.
pub(super) fn outside(
    observed: &CleanupObserved,
    desired: &Desired,
    candidates: &[Candidate<'_>],
    plan: &mut Plan,
) {
    let organization = &observed.sync.organization;
    let root = organization.units.iter().find(|unit| unit.parent.is_none());
    let candidates = candidates.iter().filter(|one| is_chosen(one));
    for candidate in candidates.filter(|one| one.why == Why::OutsideTargets) {
        let account = candidate.judged.account;
        let owner = candidate.judged.known.owner.as_ref();
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
                let action = SyncAction::DeleteStacks {
                    profile: profile.name.clone(),
                    targets,
                    because: StackRemoval::OutsideTargets,
                    stacks: owner
                        .map(|owner| (account, owner.stack.clone()))
                        .into_iter()
                        .collect(),
                    accounts_at_once: 1,
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
                        aws_calls: 8,
                        spot_calls: 4,
                        seconds: 120,
                    },
                    payload: serde_json::to_value(action).unwrap_or_default(),
                });
            }
        }
    }
}

fn is_chosen(candidate: &Candidate<'_>) -> bool {
    matches!(candidate.stand, Stand::Chosen { .. })
}
