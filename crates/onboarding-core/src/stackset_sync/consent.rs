//! What the steps of this kind are about: what must be the same for an earlier plan to still cover them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    actions::SyncAction,
    operation_targets::{OperationTargets, TargetFilter},
};
use crate::{
    canonical::to_canonical_json,
    ids::AwsAccountId,
    plan::{
        Step,
        consent::{Consent, Scope},
    },
};

/// The steps of `stackset-sync`.
#[derive(Debug, Clone, Copy)]
pub struct SyncConsent;

impl Consent for SyncConsent {
    fn scope(&self, step: &Step) -> Scope {
        let whole = || {
            let mut payload = step.payload.clone();
            // How many accounts are worked on beside it decides how fast it goes, not what it does.
            if let Some(payload) = payload.as_object_mut() {
                payload.remove("accounts_at_once");
            }
            Scope::Whole(to_canonical_json(&payload))
        };
        let Ok(action) = serde_json::from_value::<SyncAction>(step.payload.clone()) else {
            return whole();
        };
        let of = |about: &str| Scope::Accounts(format!("{}:{about}", action.name()));
        match &action {
            // Nothing is changed by them.
            SyncAction::AwaitOperation { .. } | SyncAction::DetectDrift { .. } => Scope::Free,
            // One without accounts names units only, and then all of them matter.
            SyncAction::CreateStackInstances { profile, .. } if !step.accounts.is_empty() => {
                of(profile)
            }
            SyncAction::UpdateStackInstances { profile, .. }
            | SyncAction::DeleteStackInstances { profile, .. }
            | SyncAction::RepairStackInstances { profile, .. }
            | SyncAction::EnrollAccount { profile, .. } => of(profile),
            SyncAction::DeleteStacks {
                profile, because, ..
            } => of(&format!("{}:{profile}", because.code())),
            // What it changes is a fact that it was planned on.
            SyncAction::EnrollManagementAccount {
                profile, account, ..
            } => Scope::Whole(format!("{}:{profile}:{account}", action.name())),
            // Which policies, and what they say, are facts that it was planned on: one that is gone by now takes none of the
            // others along.
            SyncAction::RemoveStrayPolicies { role, .. } => {
                Scope::Whole(format!("{}:{role}", action.name()))
            }
            SyncAction::ActivateTrustedAccess
            | SyncAction::CreateStackSet { .. }
            | SyncAction::UpdateStackSet { .. }
            | SyncAction::CreateStackInstances { .. }
            | SyncAction::LinkSpotAccount { .. }
            | SyncAction::RenameSpotAccount { .. }
            | SyncAction::EnableCostIntelligence { .. }
            | SyncAction::GrantAccess { .. }
            | SyncAction::SetUpBillingEngine { .. } => whole(),
        }
    }

    fn also(&self, step: &Step) -> Option<String> {
        let action = serde_json::from_value(step.payload.clone()).ok()?;
        match action {
            // CloudFormation keeps the new definition when its rollout stops half-way; what is left are outdated instances.
            SyncAction::UpdateStackSet {
                profile,
                definition: true,
                ..
            } => Some(format!("update-stack-instances:{profile}")),
            // One account goes through several reasons until it is enrolled.
            SyncAction::EnrollAccount { profile, .. } => Some(format!("enroll-account:{profile}")),
            _ => None,
        }
    }

    fn narrowed(&self, step: &Step, accounts: &BTreeSet<AwsAccountId>) -> Option<Step> {
        let mut action: SyncAction = serde_json::from_value(step.payload.clone()).ok()?;
        match &mut action {
            SyncAction::CreateStackInstances { targets, .. }
            | SyncAction::UpdateStackInstances { targets, .. }
            | SyncAction::DeleteStackInstances { targets, .. }
            | SyncAction::RepairStackInstances { targets, .. } => only(targets, accounts),
            SyncAction::DeleteStacks {
                targets, stacks, ..
            } => {
                only(targets, accounts);
                stacks.retain(|account, _| accounts.contains(account));
            }
            _ => return None,
        }
        let payload: Value = serde_json::to_value(&action).ok()?;
        Some(Step {
            accounts: accounts.iter().copied().collect(),
            payload,
            ..step.clone()
        })
    }
}

/// Narrows the targets of an operation to these accounts.
fn only(targets: &mut OperationTargets, accounts: &BTreeSet<AwsAccountId>) {
    targets.filter = TargetFilter::Intersection;
    targets.accounts = accounts.iter().copied().collect();
}
